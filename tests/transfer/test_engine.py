from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.errors import (
    AccessDenied,
    BadStatus,
    Cancelled,
    ConnectFailed,
    PublishError,
    RemoteFileMissing,
    Stalled,
    TimedOut,
    TransferError,
    Truncated,
)
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.engine import Engine
from biomaj_download.transfer.request import TransferRequest
from tests.servers.faulty_http import Answer
from tests.servers.process import poll
from tests.servers.pyftpd import PyftpdServer


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(TransferSettings(low_speed_limit_bytes=10, low_speed_seconds=1))
    yield engine
    engine.close()


def test_engine_moves_a_body_and_tells_what_the_server_said(engine, faulty_http):
    url = faulty_http.add("/a", Answer(body=b"body", modified="Sat, 06 May 2023 12:00:00 GMT"))
    sink = BytesIO()

    result = engine.move(TransferRequest(url=url, sink=sink))

    assert sink.getvalue() == b"body"
    assert (result.status, result.received_bytes, result.announced_bytes) == (200, 4, 4)
    assert result.modified_at is not None
    assert result.modified_at.isoformat() == "2023-05-06T12:00:00+00:00"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(status=404, body=b"page"), RemoteFileMissing),
        (Answer(status=410), RemoteFileMissing),
        (Answer(status=401), AccessDenied),
        (Answer(status=403), AccessDenied),
        (Answer(status=500), BadStatus),
        (Answer(status=503), BadStatus),
        (Answer(body=b"x" * 1000, cut_after=500), Truncated),
        (Answer(body=b"x" * 1000, chunked=True, cut_after=500), TransferError),
        (Answer(body=b"x" * 1000, stall_after=500), Stalled),
        (Answer(raw=b""), ConnectFailed),
    ],
)
def test_engine_names_what_went_wrong(engine, faulty_http, answer, expected):
    sink = BytesIO()

    with pytest.raises(expected):
        engine.move(TransferRequest(url=faulty_http.add("/a", answer), sink=sink))

    assert b"page" not in sink.getvalue()


class Holding:
    """A sink that holds the engine's thread until it is let go."""

    def __init__(self) -> None:
        self.holds = threading.Event()
        self.let_go = threading.Event()

    def write(self, chunk: bytes) -> int:
        self.holds.set()
        self.let_go.wait(10)
        return len(chunk)


def test_places_are_free_at_once_for_all_that_a_host_takes(engine, faulty_http):
    url = faulty_http.add("/a", Answer(body=b"body"))
    sink = Holding()
    answers = [engine.submit(TransferRequest(url=url, sink=sink))]
    assert sink.holds.wait(10)

    free = []
    for _ in range(4):
        free.append(engine.free_places(url))
        answers.append(engine.submit(TransferRequest(url=url, sink=BytesIO())))
    sink.let_go.set()

    assert free == [3, 2, 1, 0]
    assert {answer.result().received_bytes for answer in answers} == {4}
    assert engine.free_places(url) == 4


def test_engine_gives_up_when_the_requests_own_time_is_over(engine, faulty_http):
    answer = Answer(body=b"x" * 100_000, pause_seconds=0.1, pause_every_bytes=1000)
    url = faulty_http.add("/slow", answer)

    with pytest.raises(TimedOut):
        engine.move(TransferRequest(url=url, timeout_seconds=0.5))


def test_engine_waits_for_a_slow_server_that_does_not_stall(engine, faulty_http):
    answer = Answer(body=b"x" * 300, pause_seconds=0.25, pause_every_bytes=50)
    started = time.monotonic()

    result = engine.move(TransferRequest(url=faulty_http.add("/slow", answer)))

    assert result.received_bytes == 300
    assert time.monotonic() - started > 1


def test_engine_uses_a_connection_for_many_files(engine, nginx):
    (nginx.root / "small").write_bytes(b"small")

    for _ in range(20):
        engine.move(TransferRequest(url=f"{nginx.url}/small"))

    assert len(engine._idle) == 1


def test_engine_never_opens_more_connections_than_a_host_may_have(faulty_http):
    engine = Engine(TransferSettings(http_connections_per_host=3))
    running, most, lock = 0, 0, threading.Lock()

    class Sink:
        def __init__(self) -> None:
            self.seen = False

        def write(self, chunk: bytes) -> int:
            nonlocal running, most
            if not self.seen:
                self.seen = True
                with lock:
                    running += 1
                    most = max(most, running)
            return len(chunk)

    url = faulty_http.add("/a", Answer(body=b"x" * 30, pause_seconds=0.02, pause_every_bytes=10))

    def move(_: int) -> None:
        nonlocal running
        engine.move(TransferRequest(url=url, sink=Sink()))
        with lock:
            running -= 1

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(move, range(40)))
    engine.close()

    assert len(engine._idle) == 3
    assert most >= 2


def test_engine_moves_for_many_threads(engine, nginx):
    (nginx.root / "many").write_bytes(b"many" * 100)

    with ThreadPoolExecutor(16) as pool:
        request = TransferRequest(url=f"{nginx.url}/many")
        results = list(pool.map(lambda _: engine.move(request), range(300)))

    assert {result.received_bytes for result in results} == {400}


def test_engine_ends_everything_as_cancelled_when_it_is_closed(faulty_http):
    engine = Engine(TransferSettings(http_connections_per_host=1))
    url = faulty_http.add("/a", Answer(body=b"x" * 10, stall_after=5))
    futures = [engine.submit(TransferRequest(url=url)) for _ in range(3)]

    engine.close()

    for future in [*futures, engine.submit(TransferRequest(url=url))]:
        with pytest.raises(Cancelled):
            future.result(timeout=10)


def test_an_ftp_server_tells_the_length_unasked(engine, ftp_server):
    path = ftp_server.root / "told (7 bytes)"
    path.write_bytes(b"x" * 1234)
    path.chmod(0o644)
    sink = BytesIO()

    result = engine.move(
        TransferRequest(url=f"{ftp_server.url}/told%20(7%20bytes)", sink=sink, asks_version=False)
    )

    assert (len(sink.getvalue()), result.announced_bytes, result.modified_at) == (1234, 1234, None)


@pytest.mark.parametrize("reply", ["", "426 Connection closed; transfer aborted."])
def test_half_a_file_of_an_ftp_server_that_told_no_length_is_an_error(engine, reply):
    with PyftpdServer(cut_with=reply) as server:
        (server.root / "half").write_bytes(b"x" * 1000)
        sink = BytesIO()
        url = f"ftp://{server.host}:{server.port}/half"

        with pytest.raises(TransferError):
            engine.move(TransferRequest(url=url, sink=sink, asks_version=False))

    assert len(sink.getvalue()) == 500


def test_engine_names_a_sink_that_takes_no_more(engine, faulty_http):
    class Full:
        def write(self, chunk: bytes) -> int:
            return 0

    with pytest.raises(PublishError):
        engine.move(TransferRequest(url=faulty_http.add("/a", Answer(body=b"x")), sink=Full()))


def test_a_sink_gets_what_a_turn_brought_at_once(engine, nginx):
    (nginx.root / "large").write_bytes(bytes(8 * 1024 * 1024))
    chunks: list[int] = []

    class Sink:
        def write(self, chunk: bytes) -> int:
            chunks.append(len(chunk))
            return len(chunk)

    engine.move(TransferRequest(url=f"{nginx.url}/large", sink=Sink()))

    assert sum(chunks) == 8 * 1024 * 1024
    assert max(chunks) > 100_000
    assert max(chunks) < 1024 * 1024 + 16 * 1024 + 1


@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_a_sink_that_takes_many_chunks_gets_them_as_they_came(engine, protocol, nginx, ftp_server):
    server = nginx if protocol == "http" else ftp_server
    body = os.urandom(8 * 1024 * 1024)
    (server.root / "large").write_bytes(body)

    class Sink:
        def __init__(self) -> None:
            self.turns: list[list[bytes]] = []

        def write(self, chunk: bytes) -> int:
            return self.write_all([chunk])

        def write_all(self, chunks: list[bytes]) -> int:
            self.turns.append(chunks)
            return sum(map(len, chunks))

    sink = Sink()
    engine.move(TransferRequest(url=f"{server.url}/large", sink=sink))

    assert max(map(len, sink.turns)) > 1
    assert b"".join(chunk for turn in sink.turns for chunk in turn) == body


@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_a_sink_that_takes_less_of_many_chunks_ends_its_transfer(
    engine, protocol, nginx, ftp_server
):
    server = nginx if protocol == "http" else ftp_server
    (server.root / "large").write_bytes(bytes(8 * 1024 * 1024))

    class Sink:
        def write(self, chunk: bytes) -> int:
            return len(chunk)

        def write_all(self, chunks: list[bytes]) -> int:
            return sum(map(len, chunks)) - 1

    with pytest.raises(PublishError, match="cannot be written"):
        engine.move(TransferRequest(url=f"{server.url}/large", sink=Sink()))


@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_a_sink_that_takes_less_than_a_small_body_ends_its_transfer(
    engine, protocol, nginx, ftp_server
):
    server = nginx if protocol == "http" else ftp_server
    (server.root / "short").write_bytes(b"four")

    class Sink:
        def write(self, chunk: bytes) -> int:
            return 3

    with pytest.raises(PublishError, match="not all of it was taken"):
        engine.move(TransferRequest(url=f"{server.url}/short", sink=Sink()))


def test_engine_hands_on_what_a_sink_raises(engine, faulty_http, capfd):
    class Broken:
        def write(self, chunk: bytes) -> int:
            raise OSError("no disk")

    request = TransferRequest(url=faulty_http.add("/a", Answer(body=b"x")), sink=Broken())

    with pytest.raises(OSError, match="no disk"):
        engine.move(request)

    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://["])
def test_engine_refuses_what_is_no_address_of_ours(engine, url):
    with pytest.raises(TransferError):
        engine.move(TransferRequest(url=url))


def test_an_idle_engine_does_not_spin(engine):
    before = time.process_time()

    time.sleep(1)

    assert time.process_time() - before < 0.3


@pytest.mark.parametrize(
    "header",
    [
        b"Last-Modified: Mon, 01 Jan 20240 00:00:00 GMT",
        b"Content-Type: text/html; charset=\xe9",
        b"Content-Encoding: \xe9\xff",
    ],
)
def test_a_servers_odd_words_end_no_other_transfer(engine, faulty_http, header):
    odd = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + header + b"\r\n\r\nhi"
    url = faulty_http.add("/odd", Answer(raw=odd))
    good = faulty_http.add("/good", Answer(body=b"good"))

    engine.submit(TransferRequest(url=url)).exception(timeout=20)

    assert engine.move(TransferRequest(url=good)).received_bytes == 4


def test_a_transfer_ends_that_nobody_wants_any_more(engine, faulty_http):
    slow = faulty_http.add("/slow", Answer(body=bytes(10_000_000), pause_seconds=0.2))
    cancellation = Cancellation()
    requests = [TransferRequest(url=slow, cancellation=cancellation) for _ in range(12)]
    futures = [engine.submit(request) for request in requests]

    cancellation.order(Why.UNWANTED)

    for future in futures:
        assert isinstance(future.exception(timeout=5), Cancelled)


def test_a_request_that_was_taken_back_while_it_waited_ends_no_other(faulty_http):
    cancellation = Cancellation()
    engine = Engine(TransferSettings(http_connections_per_host=1))
    url = faulty_http.add("/a", Answer(body=b"x" * 1000, stall_after=500))
    engine.submit(TransferRequest(url=url))
    taken_back, other = (
        engine.submit(TransferRequest(url=url, cancellation=cancellation)) for _ in range(2)
    )
    for _ in poll(10):
        if [len(host.waiting) for host in engine.hosts()] == [2]:
            break

    assert taken_back.cancel()
    cancellation.order(Why.UNWANTED)

    with pytest.raises(Cancelled):
        other.result(10)
    assert engine.is_alive
    engine.close()


def test_a_host_that_has_no_thread_left_ends_one_request_alone(engine, faulty_http, monkeypatch):
    def fail(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(engine._lanes, "take", fail)
    with pytest.raises(TransferError, match="can't start new thread"):
        engine.move(TransferRequest(url="ftp://127.0.0.1:1/a"))

    sink = BytesIO()
    engine.move(TransferRequest(url=faulty_http.add("/a", Answer(body=b"a")), sink=sink))
    assert sink.getvalue() == b"a"


def test_a_day_that_this_zone_does_not_have_is_none(engine, faulty_http, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        url = faulty_http.add("/a", Answer(body=b"a", modified="Fri, 31 Dec 9999 23:59:59 GMT"))

        assert engine.move(TransferRequest(url=url)).modified_at is None
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("reply", ["450 busy", "425 no data connection", "550 no such file"])
def test_an_ftp_servers_refusal_of_the_moment_is_not_for_ever(engine, reply):
    with PyftpdServer(refuses={"RETR": reply}) as server:
        (server.root / "a").write_bytes(b"a")

        with pytest.raises(TransferError) as raised:
            engine.move(TransferRequest(url=f"ftp://{server.host}:{server.port}/a"))

    assert raised.value.permanent is reply.startswith("5")
    assert raised.value.reply == int(reply[:3])


def test_an_account_need_not_be_ascii(engine, faulty_http):
    url = faulty_http.add("/a", Answer(body=b"a"))

    engine.move(TransferRequest(url=url, credentials="jörg:pä:ß"))

    told = faulty_http.requests_for("/a")[0].headers["Authorization"]
    assert base64.b64decode(told.removeprefix("Basic ")).decode() == "jörg:pä:ß"
