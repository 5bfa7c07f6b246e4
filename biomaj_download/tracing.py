"""OpenTelemetry traces: a span for each message, file and attempt, in the trace of who asked.

In: jobs with the ids of a trace, as BioMAJ's Zipkin tracer gives them.  Out: spans, sent by OTLP.
Only who sets `tracing.endpoint` needs the libraries of the extra `otel`, which this file imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from biomaj_download import __version__
from biomaj_download.bearer import BearerSession
from biomaj_download.errors import DownloadError
from biomaj_download.job import Job
from biomaj_download.observer import Observer
from biomaj_download.text import without_account

#: B3 ids are lower-case hexadecimal: https://github.com/openzipkin/b3-propagation
_TRACE_ID = re.compile(r"(?:[0-9a-f]{16}|[0-9a-f]{32})")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")


class Tracing:
    """Makes and sends the spans of one process; any thread may ask for an observer."""

    def __init__(self, processor: SpanProcessor, *, queue: str) -> None:
        resource = Resource.create(
            {"service.name": "biomaj-download", "service.version": __version__}
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("biomaj_download", __version__)
        self._queue = queue

    def observer(self, job: Job) -> Observer:
        """Return what traces a job."""
        return _Spans(self._tracer, job, self._queue)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def otlp_tracing(endpoint: str, *, queue: str) -> Tracing:
    """Return what sends spans to a collector, `http://host:4318`."""
    session = BearerSession(None)  # the headers of OTEL_EXPORTER_OTLP_HEADERS are its own
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", session=session)
    return Tracing(BatchSpanProcessor(exporter), queue=queue)


def context_of(trace_id: str | None, span_id: str | None) -> Context | None:
    """Return the context of who asked, by its B3 ids; None: there is none, or it is wrong."""
    if not _TRACE_ID.fullmatch(trace_id or "") or not _SPAN_ID.fullmatch(span_id or ""):
        return None
    parent = SpanContext(
        trace_id=int(trace_id or "", 16),  # of 64 bits, it has zeroes before it
        span_id=int(span_id or "", 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent)) if parent.is_valid else None


class _Spans(Observer):
    """The spans of one job; names of attributes are those of OpenTelemetry's conventions.

    https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/
    """

    def __init__(self, tracer: Tracer, job: Job, queue: str) -> None:
        self._tracer = tracer
        self._job = job
        self._queue = queue
        self._attempts = 0

    @contextmanager
    def job(self) -> Iterator[None]:
        """Trace the message, in the trace of who sent it."""
        job = self._job
        attributes = {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._queue,
            "server.address": without_account(job.server),
            "biomaj.bank": job.bank,
            "biomaj.session": job.session,
            "biomaj.protocol": job.protocol,
            "biomaj.operation": job.kind.value,
        }
        with self._span(
            f"process {self._queue}",
            attributes,
            kind=SpanKind.CONSUMER,
            context=context_of(job.trace_id, job.span_id),
        ):
            yield

    @contextmanager
    def file(self, name: str) -> Iterator[None]:
        """Trace a file."""
        self._attempts = 0
        with self._span("download", {"file.name": name}) as span:
            try:
                yield
            finally:
                span.set_attribute("biomaj.attempts", self._attempts)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Trace an attempt at it."""
        self._attempts += 1
        with self._span("attempt", {"biomaj.attempt": self._attempts}) as span:
            self._attempt = span
            yield

    def resumed(self, size_bytes: int) -> None:
        """Note what an attempt went on from."""
        self._attempt.set_attribute("biomaj.resumed_bytes", size_bytes)

    @contextmanager
    def _span(
        self,
        name: str,
        attributes: Mapping[str, str | int],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        context: Context | None = None,
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                code = error.code if isinstance(error, DownloadError) else type(error).__name__
                span.set_attribute("error.type", code)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise
