from __future__ import annotations

import pytest

from biomaj_download.command.addresses import (
    SCHEMES,
    file_downloader,
    read_address,
    read_addresses,
    tree_downloader,
)
from biomaj_download.errors import OptionError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user with accounts at two hosts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("BIOMAJ_DOWNLOAD_CREDENTIALS", raising=False)
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine h login u password p\nmachine other login o password q\n")
    netrc.chmod(0o600)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("ftp://h/d/f", "u:p"),
        ("ftp://h:2121/d/f", "u:p"),
        ("ftp://u@h/d/f", "u:p"),
        ("sftp://somebody@h/d/f", "somebody:"),
        ("https://elsewhere/f", None),
    ],
)
def test_an_account_comes_from_netrc(url, credentials):
    assert file_downloader(read_address(url), {}).credentials == credentials


def test_the_environment_goes_before_netrc_but_to_one_host_only(monkeypatch):
    monkeypatch.setenv("BIOMAJ_DOWNLOAD_CREDENTIALS", "e:f")

    assert file_downloader(read_address("ftp://h/d/f"), {}).credentials == "e:f"
    with pytest.raises(OptionError, match="expected addresses of one host"):
        read_addresses(["ftp://h/d/f", "ftp://other/d/g"])


@pytest.mark.parametrize(
    "url", ["h/f", "gopher://h/f", "http:///f", "http://h:many/f", "http://[h/f", "ftp://u:p@h/f"]
)
def test_what_is_no_address_is_refused_without_its_password(url):
    with pytest.raises(OptionError, match="expected") as told:
        read_address(url)

    assert "u:p" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "protocol", "server", "directory"),
    [
        ("ftp://h:2121/a%20b/c/", "ftp", "h:2121", "/a b/c/"),
        ("https://h/pub/", "https", "h", "/pub/"),
        ("rsync://h:873/module/x/y/", "rsync", "rsync://h:873/module", "x/y"),
        ("file:///srv/db/", "local", "", "/srv/db/"),
        ("irods://h:1247/zone/home/", "irods", "h", "/zone/home/"),
    ],
)
def test_each_scheme_has_its_downloader(url, protocol, server, directory):
    downloader = tree_downloader(read_address(url), {})

    assert (downloader.protocol, downloader.server) == (protocol, server)
    assert downloader.rootdir.rstrip("/") == directory.rstrip("/")


def test_irods_gets_the_account_as_parameters():
    downloader = tree_downloader(read_address("irods://h:1247/zone/home/"), {})

    assert downloader.param == {"user": "u", "password": "p", "port": "1247"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_file_of_each_scheme_keeps_its_name(scheme):
    host = "" if scheme == "file" else "h"
    downloader = file_downloader(read_address(f"{scheme}://{host}/module/d/a%20b.dat"), {})

    (file,) = downloader.files_to_download
    assert (file.get("save_as") or file["name"]) == "a b.dat"


def test_the_query_of_an_http_address_is_asked_for():
    downloader = file_downloader(read_address("http://h/get.cgi?id=7&f=x"), {})

    assert downloader.files_to_download[0]["name"] == "/get.cgi?id=7&f=x"
    assert downloader.files_to_download[0]["save_as"] == "get.cgi"
