"""Index pages of real web servers, each in all its forms; nginx's are in the contract as well."""

from __future__ import annotations

import os

import pytest

from biomaj_download.download.curl import CurlDownload
from tests.contract.downloader import MODIFIED, ODD_NAMES, ONCE
from tests.servers.apache import FORMS, ApacheServer
from tests.servers.lighttpd import LighttpdServer

LONG_NAME = "Homo_sapiens.GRCh38.dna_sm.primary_assembly.fa.gz"
SIZES = {
    "one.dat": 0,
    "two.txt": 972,
    "three.gz": 12_345,
    LONG_NAME: 2_345_678,
    **dict.fromkeys(ODD_NAMES, 17),
}


def fill(root):
    """Make a bank of these files, with a directory that holds one more."""
    folder = root / "bank"
    if folder.exists():
        return
    (folder / "sub dir").mkdir(parents=True)
    for name, size_bytes in {**SIZES, "sub dir/four.dat": 4}.items():
        path = folder / name
        with path.open("wb") as file:
            file.truncate(size_bytes)
        os.utime(path, (MODIFIED.timestamp(), MODIFIED.timestamp()))


@pytest.fixture(scope="module")
def apache(start_server):
    return start_server(ApacheServer)


@pytest.fixture(scope="module")
def lighttpd(start_server):
    return start_server(LighttpdServer)


def look(server, path):
    """List, match everything and say name, size and day of what was found."""
    fill(server.root)
    downloader = CurlDownload("http", f"{server.host}:{server.port}", path)
    downloader.set_options(ONCE)
    files, directories = downloader.list()
    downloader.match(["**/*"], files, directories)
    return {
        file["name"].lstrip("/"): (file["size"], file["year"], file["month"], file["day"])
        for file in downloader.files_to_download
    }


EXPECTED = {name: (size, 2024, 2, 29) for name, size in {**SIZES, "sub dir/four.dat": 4}.items()}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_apaches_index_is_read(apache, form):
    assert look(apache, f"/{form}/bank") == EXPECTED


def test_lighttpds_index_is_read(lighttpd):
    assert look(lighttpd, "/bank") == EXPECTED


@pytest.mark.parametrize("form", ["", "/rounded", "/json"])
def test_nginxs_indexes_are_read(nginx, form):
    assert look(nginx, f"{form}/bank") == EXPECTED


@pytest.mark.parametrize("form", FORMS)
def test_a_long_name_of_apaches_is_downloaded_whole(apache, form, tmp_path):
    fill(apache.root)
    downloader = CurlDownload("http", f"{apache.host}:{apache.port}", f"/{form}/bank")
    zeros = {"skip_check_uncompress": "true", "check_content": "false"}
    downloader.set_options({**ONCE, **zeros})
    files, directories = downloader.list()
    downloader.match(["^Homo"], files, directories)

    downloader.download(str(tmp_path))

    # (Apache marks a .gz as encoded: it stays as it is.)
    assert (tmp_path / LONG_NAME).stat().st_size == SIZES[LONG_NAME]
