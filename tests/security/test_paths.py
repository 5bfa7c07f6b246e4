"""Names that lead out of `local_dir`, and links on the way: from messages, listings and servers."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.direct import DirectHTTPDownload
from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.errors import (
    AccessDenied,
    DownloadError,
    OptionError,
    PublishError,
    UnsafePath,
)
from biomaj_download.publish import final_path, opened_place
from tests.contract.downloader import ONCE
from tests.servers.faulty_http import Answer, FaultyHttpServer
from tests.servers.pyftpd import PyftpdServer
from tests.servers.rsyncd import RsyncServer

EVIL = b"evil"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nothing may reach, with a file that must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Files of this host that are downloaded by the protocol `local`."""
    folder = tmp_path / "origin"
    (folder / "sub").mkdir(parents=True)
    (folder / "precious").write_bytes(EVIL)
    (folder / "sub" / "precious").write_bytes(EVIL)
    return folder


def untouched(outside: Path) -> bool:
    names = [path.name for path in outside.iterdir()]
    return names == ["precious"] and (outside / "precious").read_text() == "precious"


def by_http(server: FaultyHttpServer) -> CurlDownload:
    downloader = CurlDownload("http", f"{server.host}:{server.port}", "/")
    downloader.set_options({**ONCE, "verify": "off"})
    return downloader


def local(origin: Path, **how: bool) -> LocalDownload:
    downloader = LocalDownload(str(origin), **how)
    downloader.set_options(ONCE)
    return downloader


NAMES = [
    "../outside/precious",
    "sub/../../outside/precious",
    "..",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\x1b[2Jb",
    "a\x7fb",
    "\ud800",
    "a" * 256,
    "é" * 128,
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["name", "save_as"])
def test_a_message_cannot_name_a_file_outside(home, outside, faulty_http, field, name):
    downloader = by_http(faulty_http)
    downloader.set_files_to_download([{"name": "a.dat", field: name}])

    with pytest.raises(UnsafePath):
        downloader.download(str(home))

    assert untouched(outside)
    assert list(home.iterdir()) == []


def test_an_absolute_name_ends_below_the_directory(home, outside, faulty_http):
    path = str(outside / "precious")
    faulty_http.add("/a.dat", Answer(body=EVIL))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download([{"name": "a.dat", "save_as": path}])

    downloader.download(str(home))

    assert untouched(outside)
    assert (home / path.lstrip("/")).read_bytes() == EVIL


@pytest.mark.parametrize("name", ["../outside/precious", "/etc/cron.d/evil", "a\x1bb", ".."])
def test_a_page_of_links_cannot_name_a_file_outside(home, outside, faulty_http, name):
    row = f'<a href="{name}">{name}</a> 2024-01-01 10:00 4'
    faulty_http.add("/", Answer(body=f"<pre>{row}\n</pre>".encode(), headers=HTML))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download([])

    bring_all_that_is_listed(downloader, home)

    assert untouched(outside)
    assert [path for path in home.rglob("*") if path.is_file()] == []


HTML = {"Content-Type": "text/html"}


def bring_all_that_is_listed(downloader: CurlDownload, home: Path) -> None:
    """Do what BioMAJ does with a listing, as far as it comes."""
    try:
        files, directories = downloader.list()
        downloader.match(["^.*$", "^../.*$"], files, directories)
        downloader.download(str(home))
    except DownloadError:
        return


@pytest.mark.parametrize("command", ["MLSD", "LIST"])
@pytest.mark.parametrize("name", ["../outside/precious", "..", "/etc/cron.d/evil"])
def test_an_ftp_listing_cannot_name_a_file_outside(home, outside, name, command):
    listing = {
        "MLSD": f"type=file;size=4;modify=20240101000000; {name}\r\n",
        "LIST": f"-rw-r--r-- 1 ftp ftp 4 Jan 01 2024 {name}\r\n",
    }
    text = listing[command] + listing[command].replace(name, "fine.dat")
    with PyftpdServer(lists=text.encode(), without=without(command)) as server:
        downloader = CurlDownload("ftp", f"{server.host}:{server.port}", "/")
        downloader.set_options({**ONCE, "verify": "off"})

        names = [file["name"] for file in downloader.list()[0]]
        bring_all_that_is_listed(downloader, home)

    assert "fine.dat" in names
    assert untouched(outside)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def without(command: str) -> tuple[str, ...]:
    return ("MLSD",) if command == "LIST" else ()


def test_neither_a_redirection_nor_a_content_disposition_names_the_file(home, outside, faulty_http):
    target = faulty_http.add(
        "/evil",
        Answer(
            body=EVIL,
            headers={"Content-Disposition": "attachment; filename=../outside/precious"},
        ),
    )
    faulty_http.add("/a.dat", Answer(status=302, headers={"Location": target}))
    downloader = DirectHTTPDownload("http", f"{faulty_http.host}:{faulty_http.port}")
    downloader.set_options(ONCE)
    downloader.set_files_to_download(["a.dat"])

    downloader.download(str(home))

    assert untouched(outside)
    assert [path.name for path in home.iterdir()] == ["a.dat"]


def test_a_link_below_the_directory_is_not_followed(home, outside, origin):
    (home / "sub").symlink_to(outside)
    downloader = local(origin)
    downloader.set_files_to_download([{"name": "sub/precious"}])

    with pytest.raises(UnsafePath, match="sub: expected a directory, got a link"):
        downloader.download(str(home))

    assert untouched(outside)


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere_else(home, outside, origin):
    """No look and no use of it later: who is swift, between the two, gains nothing."""
    ended = threading.Event()
    number = itertools.count()

    def swap() -> None:
        while not ended.is_set():
            with suppress(OSError):
                (home / "sub").rename(home / f"aside-{next(number)}")
                (home / "sub").symlink_to(outside)
                (home / "sub").unlink()

    (home / "sub").mkdir()
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(200):
            downloader = local(origin)
            downloader.is_durable = False
            downloader.set_files_to_download([{"name": "sub/precious"}])
            try:
                downloader.download(str(home))
            except PublishError:
                continue
    finally:
        ended.set()
        swapper.join()

    assert untouched(outside)


def test_what_was_opened_is_written_to_whatever_its_path_means_by_now(home, outside):
    with opened_place(home, final_path(home, "sub/a.dat")) as place:
        (home / "sub").rename(home / "aside")
        (home / "sub").symlink_to(outside)
        place.write_bytes(EVIL)

    assert untouched(outside)
    assert (home / "aside" / "a.dat").read_bytes() == EVIL


@pytest.mark.parametrize("name", [".precious.part", ".precious.kept", ".precious.kept.new"])
def test_a_link_under_the_name_of_a_part_is_not_written_through(home, outside, name, faulty_http):
    (home / name).symlink_to(outside / "precious")
    faulty_http.add("/precious", Answer(body=EVIL * 1000, etag='"1"'))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download(["precious"])

    downloader.download(str(home))

    assert untouched(outside)
    assert (home / "precious").read_bytes() == EVIL * 1000
    assert not (home / "precious").is_symlink()


@pytest.mark.parametrize("name", [".precious.part", ".precious.kept", ".precious.kept.new"])
def test_a_fifo_under_the_name_of_a_part_keeps_nobody_waiting(home, faulty_http, name):
    os.mkfifo(home / name)
    faulty_http.add("/precious", Answer(body=EVIL * 1000, etag='"1"'))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download(["precious"])

    downloader.download(str(home))

    assert (home / "precious").read_bytes() == EVIL * 1000


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_regular_file_is_not_replaced(home, outside, origin, kind):
    path = home / "precious"
    if kind == "link":
        path.symlink_to(outside / "precious")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = path.lstat()
    downloader = local(origin)
    downloader.set_files_to_download(["precious"])

    with pytest.raises(PublishError, match="home/precious"):
        downloader.download(str(home))

    assert os.path.samestat(path.lstat(), before)
    assert untouched(outside)
    assert [path.name for path in home.iterdir()] == ["precious"]


@pytest.fixture
def rooted(home, origin):
    """Download into a directory, where one root is allowed."""

    def bring(local_dir: Path) -> None:
        downloader = local(origin)
        downloader.storage_roots = [home.resolve()]
        downloader.set_files_to_download(["precious"])
        downloader.download(str(local_dir))

    return bring


def test_files_are_stored_below_the_roots(rooted, home):
    rooted(home / "bank" / "release")

    assert (home / "bank" / "release" / "precious").read_bytes() == EVIL


@pytest.mark.parametrize(
    "way", ["outside", "outside/new", "homeless", "home/../outside", "home/to"]
)
def test_files_are_not_stored_outside_of_the_roots(rooted, home, outside, tmp_path, way):
    (home / "to").symlink_to(outside)

    with pytest.raises(UnsafePath):
        rooted(tmp_path / way)

    assert untouched(outside)
    assert not (tmp_path / "homeless").exists()


@pytest.mark.parametrize("local_dir", ["a\0b", "a\nb"])
def test_a_directory_has_no_control_characters(home, origin, local_dir):
    downloader = local(origin)
    downloader.set_files_to_download(["precious"])

    with pytest.raises(UnsafePath):
        downloader.download(str(home / local_dir))


@pytest.fixture
def confined(origin, outside):
    """A downloader of what lies below `origin`, and nowhere else."""
    (origin / "link").symlink_to(outside / "precious")
    (origin / "inner").symlink_to("sub/precious")

    def open_local(root: Path = origin, **how: bool) -> LocalDownload:
        downloader = local(root, **how)
        downloader.local_roots = [origin.resolve()]
        return downloader

    return open_local


@pytest.mark.parametrize("uses_hardlinks", [True, False])
@pytest.mark.parametrize("name", ["link", "../outside/precious", "sub/../../outside/precious"])
def test_local_reads_nothing_outside_of_its_roots(confined, home, name, uses_hardlinks):
    downloader = confined(use_hardlinks=uses_hardlinks)
    downloader.set_files_to_download([{"name": name, "save_as": "got"}])

    with pytest.raises(AccessDenied, match=r"local\.roots"):
        downloader.download(str(home))

    assert list(home.iterdir()) == []


def test_local_lists_nothing_outside_of_its_roots(confined, outside):
    files, directories = confined().list()

    assert [file["name"] for file in files] == ["inner", "precious"]
    assert [directory["name"] for directory in directories] == ["sub"]
    with pytest.raises(AccessDenied):
        confined(outside).list()


@pytest.mark.parametrize("uses_hardlinks", [True, False])
def test_a_link_of_this_host_brings_the_file_behind_it(confined, home, uses_hardlinks):
    downloader = confined(use_hardlinks=uses_hardlinks)
    downloader.set_files_to_download(["inner"])

    downloader.download(str(home))

    assert not (home / "inner").is_symlink()
    assert (home / "inner").read_bytes() == EVIL


@pytest.mark.parametrize("uses_hardlinks", [True, False])
@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
def test_local_takes_no_devices_and_no_fifos(origin, home, kind, uses_hardlinks):
    name = "odd"
    if kind == "fifo":
        os.mkfifo(origin / name)
    elif kind == "device":
        (origin / name).symlink_to("/dev/zero")
    else:
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(origin / name))
    downloader = local(origin, use_hardlinks=uses_hardlinks)
    downloader.set_files_to_download([name])

    with pytest.raises(DownloadError, match="expected a regular file"):
        downloader.download(str(home))

    assert list(home.iterdir()) == []


def test_rsync_does_not_read_this_host_where_roots_are_set(origin, home):
    downloader = RSYNCDownload(str(origin), "")
    downloader.set_options(ONCE)
    downloader.local_roots = [origin]
    downloader.set_files_to_download(["precious"])

    with pytest.raises(AccessDenied, match=r"local\.roots"):
        downloader.download(str(home))


@pytest.mark.parametrize("server", ["-oProxyCommand=touch here", "host:/etc", "relative"])
def test_rsync_takes_nothing_for_a_directory_of_this_host_that_could_be_a_host(home, server):
    downloader = RSYNCDownload(server, "")
    downloader.set_options(ONCE)

    with pytest.raises(OptionError, match="absolute path"):
        downloader.list()


def test_an_rsync_server_cannot_have_its_links_made_here(rsync_server: RsyncServer, home):
    folder = rsync_server.root / "links"
    folder.mkdir(exist_ok=True)
    (folder / "precious").unlink(missing_ok=True)
    (folder / "precious").symlink_to("file")
    (folder / "file").write_bytes(EVIL)
    downloader = RSYNCDownload(rsync_server.url, "links")
    downloader.set_options({**ONCE, "verify": "off"})
    downloader.set_files_to_download(["precious"])

    downloader.download(str(home))

    assert not (home / "precious").is_symlink()
    assert (home / "precious").read_bytes() == EVIL
