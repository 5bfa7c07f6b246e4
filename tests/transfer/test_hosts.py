"""Hosts that ask for less get less, for a while; the others do not notice."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import formatdate
from io import BytesIO

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.errors import BadStatus, Cancelled
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer import hosts, shared
from biomaj_download.transfer.engine import Engine
from biomaj_download.transfer.hosts import Host, Hosts, Transfer
from biomaj_download.transfer.request import TransferRequest
from tests.contract.downloader import ONCE
from tests.servers.faulty_http import Answer, FaultyHttpServer
from tests.servers.process import poll
from tests.servers.pyftpd import PyftpdServer

URL = "ftp://user:secret@ftp.example/a"
NAME = "ftp://ftp.example"
BUSY = Answer(status=503)
#: More than any host in these tests gives.
MANY = TransferSettings(ftp_connections_per_host=16, http_connections_per_host=16)


class Clock:
    """Stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hosts, "time", clock)
    return clock


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(MANY)
    yield engine
    engine.close()


@pytest.fixture
def crowded(crowded_ftp_server):
    """The server that counts connections, with 60 files."""
    for number in range(60):
        path = crowded_ftp_server.root / f"{number}.dat"
        path.write_bytes(b"%d" % number)
        path.chmod(0o644)
    return crowded_ftp_server


def transfer_to(all_hosts: Hosts, url: str = URL, **wishes) -> Transfer:
    transfer = Transfer(TransferRequest(url=url, **wishes), all_hosts.at(url))
    all_hosts.add(transfer)
    return transfer


def start_all(all_hosts: Hosts) -> list[Transfer]:
    """Start all that may start now."""
    started = []
    while transfer := all_hosts.next():
        transfer.host.started(transfer)
        started.append(transfer)
    return started


def busy_host(limit: int, *, running: int) -> tuple[Host, list[Transfer]]:
    all_hosts = Hosts(TransferSettings(ftp_connections_per_host=limit))
    transfers = [transfer_to(all_hosts) for _ in range(running)]
    start_all(all_hosts)
    return transfers[0].host, transfers


def bodies(futures: list[Future], sinks: list[BytesIO]) -> list[bytes]:
    for future in futures:
        future.result(timeout=60)
    return [sink.getvalue() for sink in sinks]


# What a host allows.


def test_hosts_have_their_turns_one_after_the_other():
    all_hosts = Hosts(MANY)
    waiting = {
        url: [transfer_to(all_hosts, url) for _ in range(3)] for url in ("ftp://a", "ftp://b")
    }

    started = start_all(all_hosts)

    assert [transfer.host.name for transfer in started] == ["ftp://a", "ftp://b"] * 3
    assert [transfer for transfer in started if transfer.host.name == "ftp://a"] == waiting[
        "ftp://a"
    ]


def test_host_is_the_same_for_all_its_users_and_paths():
    all_hosts = Hosts(MANY)

    assert all_hosts.at(URL) is all_hosts.at(f"{NAME}/other?query")
    assert all_hosts.at(URL) is not all_hosts.at(f"{NAME}:2121/")


def test_host_gives_a_bank_no_more_than_it_wants():
    all_hosts = Hosts(MANY)
    modest = [transfer_to(all_hosts, max_connections=2) for _ in range(3)]

    assert start_all(all_hosts) == modest[:2]
    assert list(modest[0].host.waiting) == modest[2:]


def test_host_that_pauses_starts_nothing_until_its_time_is_up(clock):
    all_hosts = Hosts(MANY)
    waiting = transfer_to(all_hosts)
    waiting.host.pause(10)
    other = transfer_to(all_hosts, "ftp://b")

    assert start_all(all_hosts) == [other]
    assert all_hosts.next_look_at() == clock.now + 10
    clock.now += 10
    assert all_hosts.next_look_at() is None
    assert start_all(all_hosts) == [waiting]
    assert not waiting.host.is_in_trouble


def test_host_never_pauses_for_longer_than_an_hour(clock):
    host, _ = busy_host(1, running=1)

    host.pause(1e9)

    assert host.paused_until == clock.now + 3600


def test_host_that_pauses_is_not_hurried_by_a_shorter_time(clock):
    host, _ = busy_host(1, running=1)

    host.pause(60)
    host.pause(1)

    assert host.paused_until == clock.now + 60


def test_host_that_turns_one_away_is_given_what_runs_besides_and_one_more_a_minute(clock):
    all_hosts = Hosts(MANY)
    running = [transfer_to(all_hosts) for _ in range(6)]
    host = running[0].host
    start_all(all_hosts)

    assert host.lower_to_others(running[5], 421)
    host.ended(running[5])
    all_hosts.put_back(running[5])

    assert host.limit == 5
    assert start_all(all_hosts) == []
    clock.now += hosts.RAISE_SECONDS
    assert start_all(all_hosts) == [running[5]]
    assert host.limit == 6
    assert host.is_in_trouble


def test_limit_is_the_configured_one_again_after_a_quiet_time(clock):
    all_hosts = Hosts(MANY)
    (transfer,) = [transfer_to(all_hosts)]
    transfer.host.lower_to_others(transfer, 421)

    clock.now += 15 * hosts.RAISE_SECONDS

    assert start_all(all_hosts) == [transfer]
    assert transfer.host.limit == 16
    assert not transfer.host.is_in_trouble


def test_host_that_refuses_again_what_it_is_given_more_is_given_it_ever_later(clock):
    host, transfers = busy_host(2, running=2)
    host.waiting.append(transfers[0])
    waits = []

    for _ in range(6):
        host.lower_to_others(transfers[0], 421)
        waited = 0
        while host.limit == 1:
            clock.now += hosts.RAISE_SECONDS
            waited += 1
            host.take()
        waits.append(waited)

    assert waits == [1, 2, 4, 8, 16, 16]
    clock.now += hosts.FORGOTTEN_SECONDS
    host.lower_to_others(transfers[0], 421)
    clock.now += hosts.RAISE_SECONDS
    host.take()
    assert host.limit == 2


def test_host_that_turns_all_away_is_given_one(clock):
    host, transfers = busy_host(16, running=1)

    assert not host.lower_to_others(transfers[0], 421)
    assert host.limit == 1


def test_transfer_that_is_turned_away_by_a_host_that_served_others_meanwhile_waits_again(clock):
    host, transfers = busy_host(16, running=2)

    host.served += 1
    host.ended(transfers[1])

    assert host.lower_to_others(transfers[0], 421)
    host.ended(transfers[0])
    host.started(transfers[0])
    assert not host.lower_to_others(transfers[0], 421)


def test_host_that_is_overloaded_is_given_half_once_for_all_that_were_on_their_way(clock):
    host, transfers = busy_host(16, running=16)

    for transfer in transfers:
        host.lower_to_half(transfer, 503)
        host.ended(transfer)

    assert host.limit == 8
    host.started(transfers[0])
    host.lower_to_half(transfers[0], 503)
    assert host.limit == 4


def test_host_that_is_overloaded_is_never_given_nothing(clock):
    host, transfers = busy_host(2, running=1)

    for _ in range(3):
        host.lower_to_half(transfers[0], 503)
        host.started(transfers[0])

    assert host.limit == 1


def small_ones(all_hosts: Hosts, number: int) -> list[Transfer]:
    return [transfer_to(all_hosts, "https://web.example/", is_small=True) for _ in range(number)]


def multiplexing_hosts(limit: int, streams: int) -> Hosts:
    settings = TransferSettings(http_connections_per_host=limit, streams_per_connection=streams)
    all_hosts = Hosts(settings)
    all_hosts.at("https://web.example/").multiplexes()
    return all_hosts


def test_small_files_share_connections_where_the_host_speaks_http_2():
    all_hosts = multiplexing_hosts(2, 3)

    small = small_ones(all_hosts, 8)

    assert start_all(all_hosts) == small[:6]
    host = small[0].host
    assert (host.connections, host.is_full) == (2, True)
    host.ended(small[0])
    assert (host.connections, host.is_full) == (2, False)
    assert start_all(all_hosts) == small[6:7]


def test_a_large_file_has_a_connection_of_its_own():
    all_hosts = multiplexing_hosts(2, 3)

    small = small_ones(all_hosts, 2)
    large = [transfer_to(all_hosts, "https://web.example/large") for _ in range(2)]

    assert start_all(all_hosts) == [*small, large[0]]
    assert small[0].host.connections == 2


def test_small_files_have_connections_of_their_own_until_the_host_is_known():
    all_hosts = Hosts(TransferSettings(http_connections_per_host=2))

    small = small_ones(all_hosts, 5)

    assert start_all(all_hosts) == small[:2]
    small[0].host.multiplexes()
    assert [transfer.host.ended(transfer) for transfer in small[:2]] == [-1, -1]
    assert start_all(all_hosts) == small[2:]
    assert small[0].host.connections == 1


def test_host_that_is_overloaded_shares_no_connections_for_a_while(clock):
    all_hosts = multiplexing_hosts(2, 3)
    small = small_ones(all_hosts, 12)
    host = small[0].host

    for transfer in start_all(all_hosts):
        host.lower_to_half(transfer, 503)
        host.ended(transfer)

    assert start_all(all_hosts) == small[6:8]
    for transfer in small[6:8]:
        host.lower_to_half(transfer, 503)
        host.ended(transfer)
    assert start_all(all_hosts) == small[8:9]
    clock.now += 2 * hosts.RAISE_SECONDS
    assert len(start_all(all_hosts)) == 3


def test_lowered_limit_is_logged_once_without_credentials(clock, caplog):
    host, transfers = busy_host(4, running=3)

    with caplog.at_level(logging.INFO, "biomaj"):
        host.lower_to_others(transfers[0], 421)
        host.lower_to_others(transfers[0], 421)
        host.lower_to_half(transfers[0], 503)
        host.pause(2)
        host.pause(3)

    assert caplog.messages == [
        f"limit lowered host={NAME} reply=421 old=4 new=2",
        f"host pauses host={NAME} seconds=2.0",
    ]


# What the engine makes of it: HTTP.


def test_small_files_come_many_at_once_over_few_connections(nginx):
    engine = Engine(
        TransferSettings(
            http_connections_per_host=2, streams_per_connection=8, authorities_file=nginx.ca_file
        )
    )
    (nginx.root / "shared").mkdir()
    sinks = [BytesIO() for _ in range(200)]
    for number in range(200):
        (nginx.root / "shared" / str(number)).write_bytes(b"%d" % number)
    url = f"{nginx.https_url}/shared"

    futures = [
        engine.submit(TransferRequest(url=f"{url}/{number}", sink=sink, is_small=True))
        for number, sink in enumerate(sinks)
    ]
    large = engine.submit(TransferRequest(url=f"{url}/0"))

    assert bodies(futures, sinks) == [b"%d" % number for number in range(200)]
    large.result()
    engine.close()
    for _ in poll(5):  # nginx notes an answer when it is through with it, not when it is here
        told = [
            line.split() for line in nginx.access_log.read_text().splitlines() if "/shared/" in line
        ]
        if len(told) > len(sinks):
            break
    shared_ones = [line[0] for line in told if line[4] == "HTTP/2.0"]
    alone = [line[0] for line in told if line[4] == "HTTP/1.1"]
    assert (len(shared_ones), len(set(shared_ones)), len(alone)) == (200, 2, 1)


def test_retry_after_makes_a_host_pause_while_another_goes_on(engine, faulty_http):
    url = faulty_http.add("/a", Answer(status=503, headers={"Retry-After": "2"}), Answer(body=b"a"))
    with FaultyHttpServer() as other:
        started = time.monotonic()
        with pytest.raises(BadStatus):
            engine.move(TransferRequest(url=url))
        futures = [engine.submit(TransferRequest(url=url)) for _ in range(3)]

        engine.move(TransferRequest(url=other.add("/b", Answer(body=b"b"))))
        others_seconds = time.monotonic() - started
        bodies(futures, [])

    refused, *arrived = [request.received_at for request in faulty_http.requests]
    assert others_seconds < 2
    assert all(2 <= moment - refused < 5 for moment in arrived)


def test_retry_after_may_be_a_date(engine, faulty_http):
    moment = formatdate(time.time() + 3, usegmt=True)
    busy = Answer(status=429, headers={"Retry-After": moment})
    url = faulty_http.add("/a", busy, Answer(body=b"a"))
    with pytest.raises(BadStatus):
        engine.move(TransferRequest(url=url))

    engine.move(TransferRequest(url=url))

    first, second = [request.received_at for request in faulty_http.requests]
    assert second - first > 1.9


def test_retry_after_is_obeyed_to_a_part_of_a_second_where_headers_are_heard(engine, faulty_http):
    busy = Answer(status=429, headers={"retry-after": "0.6"})
    url = faulty_http.add("/a", busy, busy, Answer(body=b"a"))
    heard: list[bytes] = []
    with pytest.raises(BadStatus):  # whoever hears the headers himself
        engine.move(TransferRequest(url=url, on_header=heard.append))
    with pytest.raises(BadStatus):  # and any other, once the host is in trouble
        engine.move(TransferRequest(url=url))
    engine.move(TransferRequest(url=url))

    first, second, third = [request.received_at for request in faulty_http.requests]
    assert second - first >= 0.6
    assert third - second >= 0.6
    assert b"retry-after: 0.6\r\n" in heard


@pytest.mark.parametrize("told", [None, "0", "-5", "soon", formatdate(0, usegmt=True)])
def test_host_without_a_time_to_come_does_not_pause(engine, faulty_http, told):
    headers = {} if told is None else {"Retry-After": told}
    url = faulty_http.add("/a", Answer(status=503, headers=headers), Answer(body=b"a"))
    with pytest.raises(BadStatus):
        engine.move(TransferRequest(url=url))

    engine.move(TransferRequest(url=url))
    assert engine._hosts.at(url).paused_until == 0


def test_retry_after_of_another_status_means_nothing(engine, faulty_http):
    answer = Answer(status=500, headers={"Retry-After": "60"})
    url = faulty_http.add("/a", answer, Answer(body=b"a"))
    with pytest.raises(BadStatus):
        engine.move(TransferRequest(url=url))

    engine.move(TransferRequest(url=url))
    assert engine._hosts.at(url).paused_until == 0


def test_overloaded_host_is_given_half_the_connections(engine, faulty_http):
    engine.submit(TransferRequest(url=faulty_http.add("/busy", BUSY))).exception()
    url = faulty_http.add("/a", Answer(body=b"a", delay_seconds=0.1))
    faulty_http.requests.clear()

    bodies([engine.submit(TransferRequest(url=url)) for _ in range(32)], [])

    assert len({request.connection for request in faulty_http.requests}) == 8


def test_engine_does_not_spin_while_a_host_pauses(engine, faulty_http):
    url = faulty_http.add("/a", Answer(status=429, headers={"Retry-After": "60"}))
    engine.submit(TransferRequest(url=url)).exception()
    waiting = engine.submit(TransferRequest(url=url))
    before = time.process_time()

    time.sleep(1)

    assert time.process_time() - before < 0.3
    engine.close()
    with pytest.raises(Cancelled):
        waiting.result(timeout=10)


def test_bank_waits_for_the_longer_of_its_policy_and_retry_after(faulty_http, tmp_path):
    busy = Answer(status=503, headers={"Retry-After": "2"})
    faulty_http.add("/a.dat", busy, Answer(body=b"a"))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options({"stop_condition": "stop_after_attempt(2)", "wait_policy": "wait_none"})
    downloader.set_files_to_download(["a.dat"])

    downloader.download(str(tmp_path))

    first, second = [request.received_at for request in faulty_http.requests_for("/a.dat")]
    assert second - first >= 2
    assert (tmp_path / "a.dat").read_bytes() == b"a"


# What the engine makes of it: FTP.


def test_all_files_arrive_at_one_attempt_from_a_server_that_counts_connections(crowded, tmp_path):
    shared.set_up(MANY)

    def bring(number: int) -> bytes:
        downloader = CurlDownload("ftp", f"{crowded.host}:{crowded.port}", "/")
        downloader.set_options(ONCE)
        downloader.set_files_to_download([f"{number}.dat"])
        downloader.download(str(tmp_path))
        return (tmp_path / f"{number}.dat").read_bytes()

    try:
        with ThreadPoolExecutor(60) as pool:
            assert list(pool.map(bring, range(60))) == [b"%d" % number for number in range(60)]
    finally:
        shared.set_up(TransferSettings())


def test_transfer_that_was_turned_away_waits_for_another_to_end(engine):
    with PyftpdServer(connections_per_address=2) as server:
        (server.root / "a").write_bytes(b"a" * 1000)
        sinks = [BytesIO() for _ in range(20)]
        url = f"ftp://{server.host}:{server.port}/a"

        futures = [engine.submit(TransferRequest(url=url, sink=sink)) for sink in sinks]

        assert bodies(futures, sinks) == [b"a" * 1000] * 20
        assert engine._hosts.at(url).limit <= 2


@pytest.mark.parametrize("reply", ["220", "331", "230"], ids=["greeting", "user", "login"])
def test_server_that_turns_everybody_away_holds_no_file(engine, reply):
    with PyftpdServer(ends_with={reply: "421 Too many connections."}) as server:
        url = f"ftp://{server.host}:{server.port}/a"

        futures = [engine.submit(TransferRequest(url=url)) for _ in range(20)]
        errors = [future.exception(timeout=60) for future in futures]

    assert {type(error) for error in errors} == {BadStatus}
    assert {error.reply for error in errors} == {421}


def test_transfer_that_has_bytes_already_is_not_moved_twice(engine):
    with PyftpdServer(ends_with={"226": "421 Closing."}) as server:
        (server.root / "a").write_bytes(b"a")
        sinks = [BytesIO() for _ in range(4)]
        url = f"ftp://{server.host}:{server.port}/a"

        futures = [engine.submit(TransferRequest(url=url, sink=sink)) for sink in sinks]
        errors = [future.exception(timeout=60) for future in futures]

    assert {type(error) for error in errors} == {BadStatus}
    assert [sink.getvalue() for sink in sinks] == [b"a"] * 4


def test_idle_connections_of_one_user_keep_another_out_but_once(engine, crowded):
    url = f"{crowded.url}/1.dat"
    bodies([engine.submit(TransferRequest(url=url)) for _ in range(5)], [])
    request = TransferRequest(url=url, credentials=f"{crowded.user}:{crowded.password}")
    refusals = 0
    while isinstance(engine.submit(request).exception(timeout=60), BadStatus):
        refusals += 1
        time.sleep(1.5)  # until an idle connection is old, and the server has seen that it is gone

    assert 1 <= refusals <= 5


def test_a_bank_that_wants_few_connections_does_not_keep_others_waiting(faulty_http):
    engine = Engine(TransferSettings(http_connections_per_host=2))
    slow = faulty_http.add("/slow", Answer(body=b"x" * 1000, stall_after=500))
    quick = faulty_http.add("/quick", Answer(body=b"quick"))
    for _ in range(3):
        engine.submit(TransferRequest(url=slow, max_connections=1))
    for _ in poll(10):
        if faulty_http.requests_for("/slow"):
            break
    started = time.monotonic()

    for _ in range(20):
        engine.move(TransferRequest(url=quick))

    assert time.monotonic() - started < 5
    assert len(faulty_http.requests_for("/slow")) == 1
    engine.close()
