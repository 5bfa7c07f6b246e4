"""README's table of commands: it names all, and its examples are run."""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from pathlib import Path

import click
import pytest
import requests

from biomaj_download.cli import COMMANDS, main

README = (Path(__file__).parents[2] / "README.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| .* \| `biomaj-download (.*)` \|$", README, re.MULTILINE)
LINES = re.compile(r"^ +(?:.*/)?biomaj-download (.*)$|`biomaj-download ([^`]*)`", re.MULTILINE)
#: These stay until they are told to stop: test_cli.py and test_running.py start and stop them.
SERVERS = ("serve", "consumer", "web")
SERVER_OF_README = "https://ftp.ncbi.nlm.nih.gov"


def tells_sessions(url: str) -> bool:
    """Say whether a service has the routes for sessions."""
    return requests.get(f"{url}/api/download/sessions", timeout=10).ok


@pytest.fixture
def tar_gz(nginx) -> Path:
    """The file of README's examples."""
    path = nginx.root / "blast/db/taxdb.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("taxdb.btd")
        entry.size = 1000
        archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def test_readme_names_each_command():
    assert [name for name, _ in ROWS] == list(COMMANDS)
    assert all(example.split()[0] == name for name, example in ROWS)


def test_each_command_line_of_readme_can_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yml").touch()
    lines = LINES.findall(README)
    read = 0
    for words in ((first or second).partition(" #")[0] for first, second in lines):
        given = shlex.split(words)
        if given and given[0] in COMMANDS and len(given) > 1:
            read_words(given)
            read += 1

    assert read > len(SERVERS)


def read_words(words: list[str]) -> None:
    """Have click read the words of a command, which then does nothing.

    Raises:
        UsageError: there is no such option, or something is missing.
    """
    context = main.make_context("biomaj-download", words)
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert command is not None, words
        if "..." in rest or any(word.isupper() for word in rest):
            return  # `dead show ID`: a form, not an example
        context = command.make_context(name, rest, parent=context)


def test_the_examples_of_readme_do_what_they_say(
    run, service, nginx, tar_gz, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    here = {SERVER_OF_README: nginx.url, "/tmp/db": "home", "/tmp/biomaj-download": "data"}

    for name, example in ROWS:
        if name in SERVERS:
            continue
        if name in ("status", "watch", "cancel") and not tells_sessions(service):
            continue
        words = shlex.split(re.sub("|".join(here), lambda found: here[found[0]], example))
        result = run(*words)

        assert result.exit_code == 0, f"{example}\n{result.output}"
    assert (tmp_path / "db/taxdb.tar.gz").read_bytes() == tar_gz.read_bytes()
