"""Names that a shell would obey; and that there is none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import biomaj_download
from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.errors import DownloadError
from tests.contract.downloader import ONCE

PACKAGE = Path(biomaj_download.__file__).parent
#: What runs text in a shell, or unpacks what a server sent.
FORBIDDEN = {
    "system",
    "popen",
    "getoutput",
    "getstatusoutput",
    "extract",
    "extractall",
    "unpack_archive",
}


def test_no_shell_is_called_and_nothing_is_extracted():
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                is_shell = any(keyword.arg == "shell" for keyword in node.keywords)
                is_code = isinstance(node.func, ast.Name) and name in ("eval", "exec")
                if name in FORBIDDEN or is_shell or is_code:
                    found.append(f"{path.name}:{node.lineno} {name}")

    assert found == []


@pytest.mark.parametrize(
    "name", ["$(touch X)", "`touch X`", "a;touch X", "a|touch X", "a\ntouch X"]
)
def test_a_command_in_a_remote_name_is_a_name(rsync_server, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = rsync_server.root / "commands"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"data")
    downloader = RSYNCDownload(rsync_server.url, "commands")
    downloader.set_options({**ONCE, "verify": "off"})

    try:
        downloader.set_files_to_download([name])
        downloader.download(str(tmp_path / "home"))
    except DownloadError:
        assert "\n" in name
    else:
        assert (tmp_path / "home" / name).read_bytes() == b"data"
    (folder / name).unlink()

    assert not (tmp_path / "X").exists()


@pytest.mark.parametrize("value", ["x' -o ProxyCommand='touch X", 'x" -o ProxyCommand="touch X'])
@pytest.mark.parametrize("option", ["ssh_key_file", "ssh_hosts_file"])
def test_an_option_of_a_bank_is_one_word_of_ssh(tmp_path, monkeypatch, option, value):
    monkeypatch.chdir(tmp_path)
    downloader = RSYNCDownload("127.0.0.1:1", "/data")
    downloader.set_options({**ONCE, option: value})

    with pytest.raises(DownloadError):
        downloader.list()

    assert not (tmp_path / "X").exists()


@pytest.mark.parametrize(
    "server", ["-oProxyCommand=touch X", "$(touch X)", "a;touch X", "`touch X`"]
)
@pytest.mark.parametrize("directory", ["", "/data"])
def test_a_server_of_a_message_is_no_option_and_no_command(
    tmp_path, monkeypatch, server, directory
):
    monkeypatch.chdir(tmp_path)
    downloader = RSYNCDownload(server, directory)
    downloader.set_options(ONCE)

    with pytest.raises(DownloadError):
        downloader.list()

    assert not (tmp_path / "X").exists()
