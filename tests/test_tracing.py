from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.downloadservice import DownloadService
from biomaj_download.job import Job, Kind, RemoteFile
from biomaj_download.outbox import Outbox
from biomaj_download.reporting import Reporter
from biomaj_download.settings import Settings, StorageSettings, StoreSettings, TracingSettings
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.tracing import Tracing, context_of
from biomaj_download.worker import Worker
from tests.servers.collector import collector
from tests.servers.faulty_http import Answer

TRACE_ID = "463ac35c9f6413ad48485a3953bb6124"
SPAN_ID = "a2fb4a1d1a96d312"
BODY = b"x" * 3_000_000


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def worker(spans, tmp_path):
    tracing = Tracing(SimpleSpanProcessor(spans), queue="biomajdownload")
    store = EmbeddedStore(tmp_path / "sessions")
    worker = Worker(
        store,
        Reporter(Settings()),
        outbox=Outbox(tmp_path),
        reserve_bytes=0,
        observe=tracing.observer,
    )
    yield worker
    worker.close()
    store.close()


@pytest.fixture
def job(faulty_http, tmp_path):
    def make(*names: str, **more: Any) -> Job:
        return Job(
            kind=Kind.DOWNLOAD,
            bank="pdb",
            session="s",
            local_dir=tmp_path / "home",
            protocol="http",
            server=f"{faulty_http.host}:{faulty_http.port}",
            remote_dir="/",
            files=tuple(RemoteFile(name=name) for name in names),
            **more,
        )

    return make


def test_a_file_with_its_attempts_is_traced_in_the_trace_of_who_asked(
    worker, job, spans, faulty_http
):
    whole = Answer(body=BODY, etag='"1"')
    faulty_http.add("/a", Answer(body=BODY, etag='"1"', cut_after=2_000_000), whole)

    worker.work(job("a", trace_id=TRACE_ID, span_id=SPAN_ID))

    first, second, file, message = spans.get_finished_spans()
    names = [span.name for span in (first, second, file, message)]
    assert names == ["attempt", "attempt", "download", "process biomajdownload"]
    assert {f"{span.context.trace_id:032x}" for span in (first, file, message)} == {TRACE_ID}
    assert f"{message.parent.span_id:016x}" == SPAN_ID
    assert message.kind is SpanKind.CONSUMER
    assert message.attributes["biomaj.bank"] == "pdb"
    assert file.parent.span_id == message.context.span_id
    assert file.attributes == {"file.name": "a", "biomaj.attempts": 2}
    assert first.parent.span_id == second.parent.span_id == file.context.span_id
    assert first.status.status_code is StatusCode.ERROR
    assert second.status.status_code is StatusCode.UNSET
    assert 0 < second.attributes["biomaj.resumed_bytes"] <= 2_000_000


def test_a_failure_is_told_by_its_code_in_all_spans_around_it(worker, job, spans):
    worker.work(job("missing", options={"stop_condition": "stop_after_attempt(1)"}))

    errors = [span.attributes["error.type"] for span in spans.get_finished_spans()]
    assert len(errors) == 3
    assert set(errors) == {"remote-file-missing"}


def test_a_message_without_a_trace_begins_one(worker, job, spans, faulty_http):
    faulty_http.add("/a", Answer(body=b"x"))

    worker.work(job("a"))

    assert spans.get_finished_spans()[-1].parent is None


@pytest.mark.parametrize(
    ("trace_id", "span_id", "number"),
    [
        (TRACE_ID, SPAN_ID, int(TRACE_ID, 16)),
        ("48485a3953bb6124", SPAN_ID, 0x48485A3953BB6124),
    ],
)
def test_b3_ids_are_read_in_both_lengths(trace_id, span_id, number):
    (span,) = context_of(trace_id, span_id).values()
    assert span.get_span_context().trace_id == number


@pytest.mark.parametrize(
    "ids", [(None, None), ("", ""), ("xyz", SPAN_ID), (TRACE_ID, "1"), ("0" * 32, SPAN_ID)]
)
def test_ids_that_are_none_begin_a_trace(ids):
    assert context_of(*ids) is None


def test_spans_reach_a_collector(job, faulty_http, tmp_path):
    faulty_http.add("/a", Answer(body=b"x"))
    with collector() as collected:
        settings = Settings(
            storage=StorageSettings(state_dir=tmp_path, reserve_bytes=0),
            store=StoreSettings(url=f"sqlite:{tmp_path / 'sessions'}"),
            tracing=TracingSettings(endpoint=collected.endpoint),
        )
        service = DownloadService(settings=settings, broker=EmbeddedBroker(tmp_path / "queue"))
        service._worker.work(job("a"))
        service.close()

    assert collected.paths == ["/v1/traces"]
    assert collected.headers[0]["content-type"] == "application/x-protobuf"
