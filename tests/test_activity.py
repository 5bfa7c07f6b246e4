from __future__ import annotations

from pathlib import Path

import pytest

from biomaj_download.activity import ActivityTeller
from biomaj_download.errors import Stalled
from biomaj_download.job import Job, Kind, RemoteFile
from biomaj_download.meter import Meter
from biomaj_download.store.activity_embedded import EmbeddedActivity
from biomaj_download.store.base import Message
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.transfer.partial import Part
from tests.servers.process import poll


@pytest.fixture
def store(tmp_path):
    store = EmbeddedStore(tmp_path / "sessions.sqlite")
    yield store
    store.close()


@pytest.fixture
def activity(tmp_path, store):
    activity = EmbeddedActivity(tmp_path / "sessions.sqlite")
    yield activity
    activity.close()


def job_of(session: str, folder: Path, server: str = "h:443") -> Job:
    return Job(
        kind=Kind.DOWNLOAD,
        bank="bank",
        session=session,
        local_dir=folder,
        protocol="directhttps",
        server=server,
        remote_dir="/",
        files=(RemoteFile(name="a.gz"),),
    )


def test_a_job_is_told_of_from_its_beginning_to_its_end(tmp_path, store, activity):
    session = store.create_session("bank")
    job, meter = job_of(session, tmp_path, "me:secret@h:443"), Meter()
    waiting = Message(bank="bank", session=session, key="b", holder="waits")
    held = [Message(bank="bank", session=session, key="a", holder="runs"), waiting]
    part = Part(tmp_path / "a.gz")
    part.create()
    meter.begin("a.gz", 10, part)
    part.write(b"12345")

    teller = ActivityTeller(activity, slots=4, held=lambda: held)
    teller.begin("runs", job, meter)
    for _ in poll(10):
        pulses = activity.pulses()
        if pulses and pulses[0].running:
            break

    (running,) = pulses[0].running
    assert (running.name, running.host, running.attempt) == ("a.gz", "https://h:443", 1)
    assert (running.received_bytes, running.size_bytes) == (5, 10)
    assert [(each.waiting, each.running) for each in pulses[0].queued] == [(1, 1)]

    part.write(b"67890")
    meter.end()
    part.close()
    teller.end("runs", job, [{"name": "a.gz", "size": 10, "download_time": 0.1}], None)
    teller.end("waits", job, [], Stalled("https://me:s@cret@h:443/a.gz: stalled"))
    teller.close()

    assert activity.pulses() == []
    files = activity.files("bank", session, state=None, search="", offset=0, limit=9).files
    assert [(file.state, file.code, file.size_bytes) for file in files] == [
        ("failed", "stalled", 0),
        ("done", None, 10),
    ]
    assert files[0].error == "https://***@h:443/a.gz: stalled"
    assert activity.session("bank", session).received_bytes == 10
    assert sum(activity.speed()) == 10


def test_a_meter_counts_attempts_and_what_each_brought(tmp_path):
    meter = Meter()
    for content in (b"123", b"1234"):
        part = Part(tmp_path / "a")
        part.create()
        meter.begin("a", 4, part)
        part.write(content)
        meter.end()
        part.close()

    assert (meter.attempt, meter.moved_bytes(), meter.present_bytes()) == (2, 7, 0)


def test_a_part_that_goes_on_counts_only_what_comes(tmp_path):
    meter = Meter()
    part = Part(tmp_path / "a")
    part.create()
    part.resumed_bytes = 3  # as `resume` sets it
    meter.begin("a", 4, part)
    part.write(b"1234")

    assert (meter.present_bytes(), meter.moved_bytes()) == (4, 1)
    part.discard()
