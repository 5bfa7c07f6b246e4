"""Processes lend each other the connections of a host, and get back what is theirs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer import hosts, segments, shared
from biomaj_download.transfer.engine import Engine
from biomaj_download.transfer.hosts import Host, Transfer
from biomaj_download.transfer.places import Common, Places
from biomaj_download.transfer.request import TransferRequest
from tests.background import start
from tests.contract.downloader import ONCE
from tests.servers.faulty_http import Answer
from tests.servers.process import poll

HOST = "http://h:80"
FORK = multiprocessing.get_context("fork")
MIB = 1024 * 1024
BODY = os.urandom(24 * MIB)
#: 3 MiB a second by each connection.
SLOW = Answer(
    body=BODY,
    headers={"Date": "Tue, 24 Nov 2026 12:00:00 GMT"},
    etag='"v1"',
    pause_seconds=0.02,
    pause_every_bytes=64 * 1024,
)


@pytest.fixture
def common() -> Common:
    """Five connections among two processes: three and two."""
    return Common(TransferSettings(http_connections_per_host=5), 2)


@contextmanager
def other_process(work) -> Iterator[tuple[multiprocessing.connection.Connection, int]]:
    """Fork a process that does a piece of work, and tells of it when it is asked."""
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=work, args=(theirs,), daemon=True)
    child.start()
    try:
        yield ours, child.pid
    finally:
        child.kill()
        child.join()


def answering(places: Places):
    """Do with these places what comes, and say how that ended."""

    def work(connection) -> None:
        while True:
            connection.send(getattr(places, connection.recv())())

    return work


def ask(connection, word):
    connection.send(word)
    assert connection.poll(10)
    return connection.recv()


def test_what_another_process_does_not_use_is_borrowed_until_it_wants_it(common):
    mine, others = common.at(HOST, 0), common.at(HOST, 1)
    with other_process(answering(others)) as (other, _):
        assert not mine.borrow()  # who has not taken its own needs no more
        assert mine.take()
        assert mine.borrow()
        assert mine.borrowed == 2
        assert not mine.borrow()
        assert not mine.are_wanted()

        assert not ask(other, "take")
        assert mine.are_wanted()
        mine.give_back()

        assert mine.borrowed == 0
        assert not mine.borrow()  # it is for the one that wants it
        assert ask(other, "take")
        assert not mine.borrow()
        ask(other, "release")
        assert mine.borrow()
        assert not mine.are_wanted()


def test_hosts_are_borrowed_one_by_one(common):
    mine, elsewhere = common.at(HOST, 0), common.at("http://other:80", 1)
    with other_process(answering(elsewhere)) as (other, _):
        assert ask(other, "take")
        assert mine.take()

        assert mine.borrow()


def test_who_is_killed_has_given_back_all(common):
    mine, others = common.at(HOST, 0), common.at(HOST, 1)
    with other_process(answering(others)) as (other, pid):
        assert ask(other, "take")
        assert ask(other, "borrow")
        assert not mine.take()

        os.kill(pid, signal.SIGKILL)

        assert any(mine.take() for _ in poll(5))
        assert mine.borrow()


def test_a_place_is_given_back_when_nothing_runs_there_any_more(common):
    mine, others = common.at(HOST, 0), common.at(HOST, 1)
    host = Host(HOST, 3, places=mine)
    ordinary = Transfer(TransferRequest(url=HOST), host)
    piece = Transfer(TransferRequest(url=HOST, is_piece=True), host)
    with other_process(answering(others)) as (other, _):
        assert started(host, ordinary) == 3
        host.borrow()
        assert started(host, ordinary) == 0
        assert started(host, piece) == 2
        host.settle()
        assert (host.connections, host.most, host.surplus()) == (5, 5, 0)

        ask(other, "take")
        assert (host.surplus(), host.most) == (2, 3)
        host.ended(piece)
        host.settle()
        still_borrowed = host.borrowed
        host.ended(piece)
        host.settle()

        assert still_borrowed == 2
        assert host.borrowed == 0
        assert ask(other, "take")


def test_who_waits_no_more_asks_no_more(common):
    mine, others = common.at(HOST, 0), common.at(HOST, 1)
    with other_process(answering(others)) as (other, _):
        assert mine.take()
        assert mine.borrow()
        assert not ask(other, "take")

        ask(other, "release")

        assert not mine.are_wanted()


def test_an_engine_that_ends_leaves_all_to_other_processes(common, faulty_http):
    url = faulty_http.add("/a", Answer(body=b"x" * 1000, stall_after=500))
    name = faulty_http.url
    engine = Engine(TransferSettings(http_connections_per_host=1), lambda name: common.at(name, 0))
    engine.submit(TransferRequest(url=url))
    assert any(engine.free_places(url, may_borrow=True) == 2 for _ in poll(5))
    with other_process(answering(common.at(name, 1))) as (other, _):
        assert not ask(other, "take")

        engine.close()

        assert ask(other, "take")
        assert ask(other, "borrow")


def test_a_host_in_trouble_gets_no_more_than_its_share(common):
    host = Host(HOST, 3, places=common.at(HOST, 0))
    piece = Transfer(TransferRequest(url=HOST, is_piece=True), host)
    host.waiting.append(piece)
    assert host.take() is piece
    host.started(piece)
    host.borrow()

    host.lower_to_half(piece, 503)
    host.settle()
    host.borrow()

    assert (host.limit, host.borrowed) == (1, 0)


def started(host, transfer) -> int:
    """Start as many as there is room for; return how many."""
    number = 0
    host.waiting.append(transfer)
    while host.take() is not None:
        host.started(transfer)
        host.waiting.append(transfer)
        number += 1
    host.waiting.clear()
    return number


@pytest.fixture
def two_processes(monkeypatch) -> Iterator[Common]:
    """This process, which has one connection of two, and such pieces as its files have."""
    pieces = replace(segments._PIECES["http"], least_bytes=MIB, most_bytes=MIB)
    monkeypatch.setitem(segments._PIECES, "http", pieces)
    monkeypatch.setattr(segments, "FAST_BYTES_A_SECOND", 10**12)
    monkeypatch.setattr(hosts, "LENDS_AFTER_SECONDS", 0.5)
    common = Common(TransferSettings(http_connections_per_host=2), 2)
    shared.close()
    shared.join(common, 0)
    shared.set_up(TransferSettings(http_connections_per_host=1, segments_from_bytes=2 * MIB))
    yield common
    shared.close()
    shared._shared.places_at = None
    shared.set_up(TransferSettings())


def fetch(server, name, folder) -> None:
    downloader = CurlDownload("http", f"{server.host}:{server.port}", "/")
    downloader.set_options(ONCE)
    downloader.set_files_to_download([name])
    downloader.download(str(folder))


def at_once(server) -> int:
    """Return how many connections brought the large file."""
    return len({request.connection for request in server.requests_for("/large.dat")})


def second_process(common, server, folder):
    """Fetch a small file when told to, and say how long it took."""

    def work(connection) -> None:
        shared.join(common, 1)
        shared.set_up(TransferSettings(http_connections_per_host=1))
        while True:
            name = connection.recv()
            started = time.monotonic()
            fetch(server, name, folder)
            connection.send(time.monotonic() - started)

    return work


def test_a_lone_large_file_has_the_connections_of_all_processes(
    two_processes, faulty_http, tmp_path
):
    faulty_http.add("/large.dat", SLOW)
    faulty_http.add("/small.dat", Answer(body=b"small"))
    with other_process(second_process(two_processes, faulty_http, tmp_path)) as (other, _):
        large = start(lambda: fetch(faulty_http, "large.dat", tmp_path))
        assert any(at_once(faulty_http) > 1 for _ in poll(5))

        seconds = ask(other, "small.dat")  # it wants its own back
        large_goes_on = not large.done()
        large.result(30)

        assert large_goes_on
        assert seconds < 2.5
        assert (tmp_path / "small.dat").read_bytes() == b"small"
        assert (tmp_path / "large.dat").read_bytes() == BODY


@pytest.mark.parametrize(("slow_bytes_a_second", "most"), [(10**9, 9), (0, 5)])
def test_many_connections_get_more_only_where_each_is_slow(
    two_processes, faulty_http, tmp_path, monkeypatch, slow_bytes_a_second, most
):
    monkeypatch.setattr(segments, "SLOW_BYTES_A_SECOND", slow_bytes_a_second)
    monkeypatch.setattr(segments, "_SETTLED_SECONDS", 0.2)
    shared.join(Common(TransferSettings(http_connections_per_host=8), 2), 0)
    shared.set_up(TransferSettings(http_connections_per_host=4, segments_from_bytes=2 * MIB))
    faulty_http.add("/large.dat", SLOW)

    fetch(faulty_http, "large.dat", tmp_path)

    assert most - 1 <= at_once(faulty_http) <= most  # the first one is lost
    assert (tmp_path / "large.dat").read_bytes() == BODY


def test_what_was_lent_is_borrowed_again(two_processes, faulty_http, tmp_path):
    faulty_http.add("/large.dat", SLOW)
    faulty_http.add("/small.dat", Answer(body=b"small"))
    with other_process(second_process(two_processes, faulty_http, tmp_path)) as (other, _):
        ask(other, "small.dat")

        large = start(lambda: fetch(faulty_http, "large.dat", tmp_path))
        time.sleep(0.3)
        while_used = at_once(faulty_http)
        assert any(at_once(faulty_http) > 1 for _ in poll(10))
        large.result(30)

        assert while_used == 1
        assert (tmp_path / "large.dat").read_bytes() == BODY
