"""Server-sent events of the embedded service."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
import requests

from biomaj_download import biomaj_download_web
from biomaj_download.rest import streams
from tests.command.conftest import served
from tests.servers.process import poll


@pytest.fixture
def url(tmp_path) -> Iterator[str]:
    with served(tmp_path / "data") as url:
        yield f"{url}/api/download"


class Reader:
    """Reads the events of a stream."""

    def __init__(self, url: str) -> None:
        self.answer = requests.get(url, stream=True, timeout=30)
        self._lines = self.answer.iter_lines(chunk_size=1, decode_unicode=True)

    def events(self) -> Iterator[tuple[str, dict]]:
        name = ""
        for line in self._lines:
            key, _, value = line.partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                yield name, json.loads(value)


def test_a_stream_tells_of_a_new_session(url):
    events = Reader(f"{url}/events").events()
    assert next(events)[1]["sessions_total"] == 0

    session = requests.post(f"{url}/session/bank", timeout=10).json()["session"]

    name, told = next(event for event in events if event[1]["sessions_total"])
    assert name == "overview"
    assert told["sessions"][0]["session"] == session


def test_the_stream_of_a_session_ends_with_it(url):
    session = requests.post(f"{url}/session/bank", timeout=10).json()["session"]
    events = Reader(f"{url}/events?bank=bank&session={session}").events()
    assert next(events)[1]["session"] == session

    requests.delete(f"{url}/sessions/bank/{session}", timeout=10)

    assert list(events)[-1] == ("closed", {})


def test_streams_leave_threads_to_others(url):
    held = [Reader(f"{url}/events") for _ in range(biomaj_download_web.STREAMS)]
    for reader in held:
        next(reader.events())

    text = requests.get(f"{url}/events", timeout=10).text

    assert text.startswith("retry: ")
    assert "event: overview" in text
    assert requests.get(url, timeout=10).json() == {"msg": "pong"}


def test_a_reader_that_leaves_gives_its_place_back(url, monkeypatch):
    monkeypatch.setattr(streams, "COMMENT_SECONDS", 0.1)
    monkeypatch.setattr(streams, "EVENT_SECONDS", 0.1)
    held = [Reader(f"{url}/events") for _ in range(biomaj_download_web.STREAMS)]
    for reader in held:
        next(reader.events())
        reader.answer.close()

    for _ in poll(30):
        answer = requests.get(f"{url}/events", stream=True, timeout=10)
        is_held = not next(answer.iter_lines()).startswith(b"retry")
        answer.close()
        if is_held:
            break

    assert is_held


def test_streams_end_with_the_service(tmp_path):
    ended = threading.Event()

    def read(url: str) -> None:
        list(Reader(url).events())
        ended.set()

    with served(tmp_path / "data") as url:
        reader = threading.Thread(target=read, args=(f"{url}/api/download/events",))
        reader.start()
        for _ in poll(10):
            if reader.is_alive():
                break

    reader.join(30)
    assert ended.is_set()


@pytest.mark.parametrize("query", ["bank=b", "session=s", "nosuch=1"])
def test_a_stream_of_half_a_session_is_refused(url, query):
    answer = requests.get(f"{url}/events?{query}", timeout=10)

    assert answer.status_code == 422
