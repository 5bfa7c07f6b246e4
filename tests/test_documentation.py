"""docs/ is built, and what it shows is run or loaded; what is not run says why."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from biomaj_download.download.registry import PROTOCOLS, downloader_class
from biomaj_download.settings import Settings, load_settings
from tests.command.test_readme import read_words
from tests.servers.mirror import HOSTS, Mirrors
from tests.servers.process import free_port

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL
)
#: `json` and `python` are tried where what they show is: in tests/test_events.py.
LANGUAGES = {"console", "ini", "json", "python", "systemd", "yaml"}
TOOLS = Path(sys.executable).parent


class Block(NamedTuple):
    """What a page shows; `why` it is not run, if it is not."""

    language: str
    text: str
    why: str | None


def blocks(page: str, language: str | None = None) -> list[Block]:
    """Return the blocks of a page."""
    found = [
        Block(match["language"], match["text"], match["why"])
        for match in BLOCK.finditer((DOCS / page).read_text())
    ]
    return [block for block in found if language in (None, block.language)]


def pages_with(language: str) -> list[str]:
    """Return the pages that show something that is to be run."""
    return [page for page in PAGES if any(not block.why for block in blocks(page, language))]


def test_the_documentation_is_built_and_asks_for_nothing_from_elsewhere(tmp_path):
    done = subprocess.run(
        [TOOLS / "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    html = "".join(page.read_text() for page in tmp_path.rglob("*.html"))
    assert re.findall(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//[^"]+', html) == []
    assert re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="https?:', html) == []
    assert re.search("<!-- (table|readme):", html) is None
    for said in ("biomaj_download_host_slots", "checksum", "low_speed_time", "stalled"):
        assert said in html


def test_each_page_is_in_the_contents():
    contents = (ROOT / "mkdocs.yml").read_text()

    assert [page for page in PAGES if page not in contents] == []


@pytest.mark.parametrize("page", PAGES)
def test_each_block_has_a_language_that_is_tried(page):
    assert {block.language for block in blocks(page)} <= LANGUAGES
    for block in blocks(page, "console"):
        assert block.text.startswith("$ "), block.text


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_configurations_are_right(page, tmp_path):
    (tmp_path / "biomaj-rabbitmq-password").write_text("secret")
    for number, block in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"{number}.yml"
        path.write_text(block.text)
        environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        assert load_settings(path, environment) != Settings(), block.text or number
        assert yaml.safe_load(block.text).keys() <= Settings.model_fields.keys()


@pytest.mark.parametrize("page", pages_with("ini"))
def test_banks_are_right(page):
    for block in blocks(page, "ini"):
        bank = configparser.ConfigParser(interpolation=None)
        bank.read_string(block.text)
        values = dict(bank["GENERAL"])
        protocol = values["protocol"]
        assert protocol in PROTOCOLS
        re.compile(values["remote.files"])
        known = {option.name for option in downloader_class(protocol).OPTIONS}
        names = values["options.names"].split(",")
        assert set(names) <= known
        assert {f"options.{name}" for name in names} <= values.keys()
        downloader = downloader_class(protocol)(protocol, values["server"], values["remote.dir"])
        downloader.set_options({name: values[f"options.{name}"] for name in names})


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_a_line_can_be_read(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in re.findall(r"`biomaj-download ([^`]+)`", (DOCS / page).read_text()):
        read_words(shlex.split(words))


@pytest.fixture(scope="module")
def mirrors(start_server) -> Mirrors:
    return start_server(Mirrors)


@pytest.mark.parametrize("page", pages_with("console"))
def test_commands_do_what_they_say(page, mirrors, tmp_path):
    """Run a page's commands in order, in one shell, against mirrors of this host."""
    port = str(free_port())
    lines = ["set -eu"]
    for block in blocks(page, "console"):
        if block.why is None:
            lines += [line[2:] for line in block.text.splitlines()]
    script = "\n".join(lines).replace("5000", port)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    # A reader has the server's first line before him when he types the next command.
    waiting = f"until curl -sf http://127.0.0.1:{port}/readyz >/dev/null; do sleep 0.1; done"
    script = re.sub(r"&$", f"&\n{waiting}", script, flags=re.MULTILINE)
    log = tmp_path / "output"
    with mirrors.proxy() as proxy, log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": f"{TOOLS}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "BIOMAJ_DOWNLOAD_URL": f"http://127.0.0.1:{port}",
                "BIOMAJ_STORAGE_RESERVE_BYTES": "0",
                "BIOMAJ_TRANSFER_AUTHORITIES_FILE": str(mirrors.ca_file),
                "BIOMAJ_TRANSFER_PROXIES": json.dumps({"*": proxy.url}),
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code = process.wait(60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, log.read_text()
    asked = {request.target.partition(":")[0] for request in proxy.requests}
    assert asked == {host for host in HOSTS if f"https://{host}/" in script}
    for block in blocks(page, "console"):
        for directory in re.findall(r"^\$ ls (?:-l )?(\S+)$", block.text, re.MULTILINE):
            assert any(path.is_file() for path in (tmp_path / directory).iterdir())
