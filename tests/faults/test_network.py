"""Servers that stall, trickle, refuse, or cannot be found; and one disk that does."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest
from typing_extensions import Self

from tests.servers.biomaj import DownloadConsumer
from tests.servers.cutter import Cutter
from tests.servers.faulty_http import Answer, FaultyHttpServer
from tests.servers.process import MissingServer, free_port, poll

MIB = 2**20
DATE = {"Date": "Wed, 03 Jan 2024 00:00:00 GMT"}
QUICK = {"low_speed_seconds": 3, "ftp_response_timeout_seconds": 3}


def only_error(site) -> str:
    (text,) = site.store.pop_errors("bank", site.session)
    return text


@pytest.mark.fault("11 no byte for longer than low_speed_time")
def test_a_server_stalls(site, faulty_http, tell):
    body = os.urandom(4 * MIB)
    stalls = Answer(body=body, etag='"1"', stall_after=2 * MIB)
    url = faulty_http.add("/a.dat", stalls, Answer(body=body, etag='"1"'))
    site.submit([site.request(url)])

    site.consumer(transfer=QUICK)
    started = time.monotonic()
    progress = site.wait(1)

    again = faulty_http.requests_for("/a.dat")[1]
    tell(
        f"given up and gone on with after {time.monotonic() - started:.0f} s (limit 3 s), at byte"
        f" {again.headers['Range'][6:-1]}"
    )
    assert progress[:2] == (1, None)
    assert site.files() == {"a.dat": body}
    assert again.headers["Range"] == f"bytes={2 * MIB}-"


@pytest.mark.fault("11 one byte a second")
def test_a_server_trickles(site, faulty_http, tell):
    body = b"0123456789" * 10
    trickle = Answer(body=body, pause_seconds=1, pause_every_bytes=1)
    url = faulty_http.add("/a.dat", trickle, Answer(body=body))
    site.submit([site.request(url)])

    site.consumer(transfer=QUICK)
    started = time.monotonic()
    progress = site.wait(1)

    tell(f"given up after {time.monotonic() - started:.0f} s (limit 3 s), came at the 2nd attempt")
    assert progress[:2] == (1, None)
    assert time.monotonic() - started < 30
    assert site.files() == {"a.dat": body}


@pytest.mark.fault("11 a server that accepts and never answers")
@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_a_server_never_answers(site, tell, protocol):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"{protocol}://127.0.0.1:{silent.getsockname()[1]}/a.dat"
        site.submit([site.request(url, stop_condition="stop_after_attempt(2)")])
        site.consumer(transfer={**QUICK, "connect_timeout_seconds": 3})
        started = time.monotonic()
        progress = site.wait(1)
    text = only_error(site)
    tell(f"{protocol}: an error after 2 attempts and {time.monotonic() - started:.0f} s: {text}")
    assert progress[:2] == (1, 1)
    assert site.leftovers() == []


@pytest.mark.fault("11 FTP control connection dies during a long transfer")
def test_an_ftp_control_connection_dies(site, slow_ftp_server, tell):
    body = os.urandom(12 * MIB)
    path = slow_ftp_server.root / "long.dat"
    path.write_bytes(body)
    path.chmod(0o644)
    with Cutter(slow_ftp_server.port, cuts=0) as relay:
        site.submit([site.request(f"ftp://127.0.0.1:{relay.port}/long.dat")])
        site.consumer(transfer=QUICK)
        site.wait_for_part(4 * MIB)
        relay.cut()
        progress = site.wait(1, seconds=90)
    tell(f"progress {progress.done}, errors {progress.errors or 0}, file right")
    assert site.store.pop_errors("bank", site.session) == []
    assert progress[:2] == (1, None)
    assert site.files() == {"long.dat": body}


@pytest.mark.fault("11 FTP data connection refused")
def test_an_ftp_data_connection_is_refused(site, tell):
    with NoDataFtpServer() as server:
        site.submit([site.request(f"ftp://127.0.0.1:{server.port}/a.dat")])
        site.consumer(transfer={**QUICK, "connect_timeout_seconds": 3})
        progress = site.wait(1)
    text = only_error(site)
    tell(f"an error after 3 attempts: {text}")
    assert progress[:2] == (1, 1)
    assert site.leftovers() == []


@pytest.mark.fault("12 the file is replaced on the server between two attempts")
@pytest.mark.parametrize("tells", ["etag", "date"])
def test_a_file_is_replaced_between_two_attempts(site, faulty_http, tell, tells):
    old, new = os.urandom(4 * MIB), os.urandom(4 * MIB)
    versions = {
        "etag": ({"etag": '"old"'}, {"etag": '"new"'}),
        "date": (
            {"modified": "Mon, 01 Jan 2024 00:00:00 GMT", "headers": DATE},
            {"modified": "Tue, 02 Jan 2024 00:00:00 GMT", "headers": DATE},
        ),
    }[tells]
    cut = Answer(body=old, cut_after=2 * MIB, **versions[0])
    url = faulty_http.add("/a.dat", cut, Answer(body=new, **versions[1]))
    site.submit([site.request(url)])

    site.consumer()
    progress = site.wait(1)

    (file,) = site.files().values()
    asked = faulty_http.requests_for("/a.dat")[1].headers.get("If-Range")
    tell(f"asked for the rest If-Range {asked}; got the whole of the new version: {file == new}")
    assert progress[:2] == (1, None)
    assert file == new


@pytest.mark.fault("12 the file is replaced on the server between two segments")
def test_a_file_is_replaced_between_two_segments(site, faulty_http, tell):
    old, new = os.urandom(48 * MIB), os.urandom(48 * MIB)
    slow = Answer(body=old, etag='"old"', pause_seconds=0.01)
    url = faulty_http.add("/a.dat", slow, slow, replace(slow, body=new, etag='"new"'))
    site.submit([site.request(url)])

    limits = {"segments_from_bytes": MIB, "http_connections_per_host": 4}
    site.consumer(transfer=limits, worker={"processes": 1})
    progress = site.wait(1)

    (file,) = site.files().values()
    asked = [request.headers.get("Range") for request in faulty_http.requests_for("/a.dat")]
    tell(
        f"{len(asked)} requests, {len(asked) - asked.count(None)} of them for segments;"
        f" got the whole of the new version: {file == new}"
    )
    assert asked[0] is None
    assert asked[1] is not None
    assert progress[:2] == (1, None)
    assert file == new


@pytest.mark.fault("13 503 once")
def test_a_server_is_busy_once(site, faulty_http, tell):
    url = faulty_http.add("/a.dat", Answer(status=503), Answer(body=b"bytes"))
    site.submit([site.request(url)])

    site.consumer()
    progress = site.wait(1)

    tell(f"progress {progress.done}, errors {progress.errors or 0}, at the second attempt")
    assert (progress[:2], site.files()) == ((1, None), {"a.dat": b"bytes"})


@pytest.mark.fault("13 connection refused for 10 s")
def test_a_server_is_away_for_a_while(site, tell):
    port = free_port()
    policy = {"stop_condition": "stop_after_delay(60)", "wait_policy": "wait_fixed(2)"}
    site.submit([site.request(f"http://127.0.0.1:{port}/a.dat", **policy)])
    site.consumer()
    time.sleep(10)

    with FaultyHttpServer(port=port) as server:
        server.add("/a.dat", Answer(body=b"bytes"))
        progress = site.wait(1)

    tell(f"progress {progress.done}, errors {progress.errors or 0}")
    assert (progress[:2], site.files()) == ((1, None), {"a.dat": b"bytes"})


@pytest.mark.fault("13 DNS fails for 10 s")
def test_a_name_is_not_found_for_a_while(site, faulty_http, start_server, tmp_path, tell):
    names = start_server(NamesOfOneConsumer, tmp_path)
    faulty_http.add("/a.dat", Answer(body=b"bytes"))
    policy = {"stop_condition": "stop_after_delay(60)", "wait_policy": "wait_fixed(2)"}
    url = f"http://databanks.example:{faulty_http.port}/a.dat"
    site.submit([site.request(url, **policy)])
    consumer = site.consumer(names.consumer)
    time.sleep(10)
    before = (site.progress().done, "Could not resolve host" in consumer.log())
    names.add("databanks.example")

    progress = site.wait(1)

    tell(f"progress {progress.done}, errors {progress.errors or 0}")
    assert before == (None, True)
    assert (progress[:2], site.files()) == ((1, None), {"a.dat": b"bytes"})


@pytest.mark.fault("5 a disk write blocks for 3 minutes, heartbeat 10 s")
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_disk_write_blocks(site, faulty_http, tell):
    body = os.urandom(500_000)
    url = faulty_http.add("/a.dat", Answer(body=body))
    os.mkfifo(site.home / ".a.dat.part")  # takes 64 KiB until it is read from
    operation = site.request(url)
    operation.download.remote_file.files[0].metadata.size = len(body)
    site.submit([operation])
    consumer = site.consumer(rabbitmq={"heartbeat_seconds": 10}, worker={"processes": 1})
    reader = os.open(site.home / ".a.dat.part", os.O_RDONLY)
    time.sleep(180)
    lost = consumer.log().count("broker lost")
    connections = site.rabbitmq.rabbitmqctl("list_connections", "name", "state").count("running")

    draining = threading.Thread(target=_drain, args=(reader,))
    draining.start()
    progress = site.wait(1)
    held = site.wait_for_queue(0)
    draining.join()

    tell(
        f"connections lost: {lost}, after 3 minutes; then progress {progress.done}, errors"
        f" {progress.errors or 0}"
    )
    assert (lost, held, progress.done) == (0, 0, 1)
    assert connections > 0


def _drain(descriptor: int) -> None:
    while os.read(descriptor, MIB):
        pass
    os.close(descriptor)


class NoDataFtpServer:
    """An FTP server whose data port nobody listens on."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        port = free_port()
        answers = {
            "USER": "331 password",
            "PASS": "230 welcome",
            "PWD": '257 "/"',
            "EPSV": f"229 Entering Extended Passive Mode (|||{port}|)",
            "PASV": f"227 Entering Passive Mode (127,0,0,1,{port // 256},{port % 256})",
            "TYPE": "200 fine",
            "SIZE": "213 1000",
            "MDTM": "213 20240101000000",
            "RETR": "425 no data connection",
        }
        with client, client.makefile("rw", newline="\r\n") as lines:
            lines.write("220 hello\n")
            lines.flush()
            for line in lines:
                lines.write(answers.get(line[:4].strip().upper(), "500 what") + "\n")
                lines.flush()


class NamesOfOneConsumer:
    """A hosts file that one consumer sees in place of the machine's (mount_namespaces(7))."""

    def __init__(self, folder) -> None:
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            raise MissingServer("a mount namespace must be made by root, with `unshare`")
        self._file = folder / "hosts"
        self._file.write_text("127.0.0.1 localhost\n")
        self.consumer = partial(_Unshared, hosts_file=self._file)

    def add(self, name: str) -> None:
        """Let a name be found."""
        with self._file.open("a") as file:
            file.write(f"127.0.0.1 {name}\n")

    def start(self) -> None:
        """Nothing is to be started."""

    def close(self) -> None:
        """Nothing is to be stopped."""


class _Unshared(DownloadConsumer):
    def __init__(self, *arguments, hosts_file) -> None:
        super().__init__(*arguments)
        self._hosts_file = hosts_file

    def command(self) -> list[str]:
        mount = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mount, str(self._hosts_file), *super().command()]


@pytest.mark.fault("13 503 with Retry-After, for a while")
def test_a_server_names_a_time(site, faulty_http, tell):
    busy = Answer(status=503, headers={"Retry-After": "3"})
    url = faulty_http.add("/a.dat", busy, Answer(body=b"bytes"))
    other = faulty_http.add("/b.dat", Answer(body=b"others"))
    site.submit([site.request(url)])
    site.consumer(worker={"processes": 1})
    for _ in poll(20):
        if faulty_http.requests_for("/a.dat"):
            break
    site.submit([site.request(other)])
    progress = site.wait(2)

    first, second = (one.received_at for one in faulty_http.requests_for("/a.dat"))
    (at_other,) = (one.received_at for one in faulty_http.requests_for("/b.dat"))
    tell(
        f"asked again after {second - first:.1f} s (told: 3 s), and nothing else of that host"
        f" before {at_other - first:.1f} s"
    )
    assert progress[:2] == (2, None)
    assert second - first >= 3
    assert at_other - first >= 3


@pytest.mark.fault("13 421 over 5 connections")
def test_an_ftp_server_turns_connections_away(site, crowded_ftp_server, tell):
    wanted = {}
    for number in range(60):
        path = crowded_ftp_server.root / f"{number}.dat"
        path.write_bytes(os.urandom(100_000))
        path.chmod(0o644)
        wanted[path.name] = path.read_bytes()
    port = crowded_ftp_server.port
    site.submit(
        site.request(f"ftp://127.0.0.1:{port}/{name}", stop_condition="stop_after_attempt(1)")
        for name in wanted
    )

    limits = {"ftp_connections_per_host": 16}
    consumer = site.consumer(transfer=limits, worker={"processes": 1})
    progress = site.wait(60)

    lowered = consumer.log().count("limit lowered")
    tell(
        f"16 at once allowed here: limit lowered {lowered} times, errors {progress.errors or 0} of"
        " 60, at one attempt a file"
    )
    assert lowered > 0
    assert progress[:2] == (60, None)
    assert site.files() == wanted
