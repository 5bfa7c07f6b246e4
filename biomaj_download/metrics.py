"""Prometheus families, under the names that BioMAJ's dashboards know.

In: how files ended, and in a consumer how all goes on.  Out: the text that Prometheus scrapes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
    multiprocess,
    values,
)

from biomaj_download import __version__
from biomaj_download.errors import DigestMismatch, DownloadError
from biomaj_download.job import Job
from biomaj_download.observer import Observer
from biomaj_download.text import without_account

#: What names the folder where processes keep their counts; the second is the old name.
MULTIPROCESS_DIRECTORIES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
#: The `host` of a report that names none, and what stands for all that is one too many.
NO_HOST = "na"
OTHER = "other"
#: Banks and hosts come in messages, and Prometheus keeps a series for each that it ever saw.
MOST_BANKS = 1000
MOST_HOSTS = 200
#: The upper ends of the histogram's classes: from a second to six hours.
DURATIONS_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600)


def share_counts(folder: Path) -> None:
    """Have this process, and those it forks, keep their counts in files of a folder.

    prometheus_client chooses when it is first imported, which is before anybody read the settings.
    """
    os.environ[MULTIPROCESS_DIRECTORIES[0]] = str(folder)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that has ended; its counts stay."""
    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _Collector(multiprocess.MultiProcessCollector):
    """Reads the counts of all processes, while others begin and end.

    prometheus_client makes a process's file empty and gives it its length a moment later; it does
    not read an empty one.
    """

    def collect(self) -> Iterable[Metric]:
        return self.merge(list(self._files()), accumulate=True)  # type: ignore[no-untyped-call,no-any-return]

    def _files(self) -> Iterator[str]:
        for path in Path(self._path).glob("*.db"):
            with suppress(FileNotFoundError):
                if path.stat().st_size:
                    yield str(path)


class _Known:
    """The values of a label; from some number on, new ones count together as OTHER."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, value: str) -> str:
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


class Metrics:
    """What was downloaded, on the registry that is passed in; any thread may count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._banks = _Known(MOST_BANKS)
        self._hosts = _Known(MOST_HOSTS)
        self._downloads = self._counter("", "Files downloaded.", "bank")
        self._errors = self._counter("_errors", "Downloads that failed.", "bank")
        self._bytes = self._counter("_file_size", "Bytes downloaded.", "bank", "host")
        self._seconds = self._counter("_file_time", "Seconds that downloads took.", "bank", "host")
        self._failures = self._counter(
            "_failures", "Downloads that failed, by error code.", "class"
        )

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"biomaj_download{name}", help_text, labels, registry=self.registry)

    def observe_download(
        self, bank: str, host: str | None, *, size_bytes: float, seconds: float
    ) -> None:
        """Count a file that came."""
        bank = self._banks.label(bank)
        host = self.host_label(host)
        self._downloads.labels(bank).inc()
        self._bytes.labels(bank, host).inc(size_bytes)
        self._seconds.labels(bank, host).inc(seconds)

    def observe_error(self, bank: str, code: str) -> None:
        """Count a download that failed; an old consumer reports no code of ours, but a text."""
        self._errors.labels(self._banks.label(bank)).inc()
        self._failures.labels(code if code in ERROR_CODES else OTHER).inc()

    def host_label(self, host: str | None) -> str:
        """Return what stands for a host, without what a careless site has put before it."""
        return self._hosts.label(without_account(host or NO_HOST))

    def collected(self) -> CollectorRegistry:
        """Return what is to be exposed: of all processes, where they share a folder."""
        folder = next(filter(None, map(os.environ.get, MULTIPROCESS_DIRECTORIES)), None)
        if folder is None:
            return self.registry
        together = CollectorRegistry()
        _Collector(together, path=folder)  # type: ignore[no-untyped-call]
        return together

    def exposed(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self.collected())


class ConsumerMetrics(Metrics):
    """What a consumer knows besides: how it works, and what goes on now."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self._lock = threading.Lock()
        self._started_at: dict[int, float] = {}
        self._received = self._counter("_bytes", "Bytes of files that were published.", "protocol")
        self._attempts = self._counter("_attempts", "Attempts at files.", "protocol")
        self._retries = self._counter("_retries", "Attempts after the first.", "protocol")
        self._resumed = self._counter(
            "_resumed_bytes", "Bytes of earlier attempts that were not fetched again.", "protocol"
        )
        self._checksums = self._counter(
            "_checksum_failures", "Attempts that brought other bytes than announced.", "protocol"
        )
        self._messages = self._counter(
            "_messages", "Messages settled: accepted, requeued or rejected.", "outcome"
        )
        self._events = self._counter("_events", "Events published or dropped.", "outcome")
        self._durations = Histogram(
            "biomaj_download_duration_seconds",
            "Seconds from a file's first attempt to its publication.",
            ["protocol"],
            buckets=DURATIONS_SECONDS,
            registry=registry,
        )
        self._in_progress = self._gauge("_in_progress", "Messages that are worked on.", "livesum")
        self._oldest = self._gauge(
            "_oldest_in_progress_seconds", "How long the oldest of them is worked on.", "livemax"
        )
        self._connected = self._gauge(
            "_amqp_connected", "1 where each process has its connection to the broker.", "livemin"
        )
        self._slots = self._gauge(
            "_host_slots", "Connections that a host is given now.", "livesum", "host"
        )
        self._successes = self._gauge(
            "_last_success_timestamp_seconds", "When a bank's last file came.", "max", "bank"
        )
        self._gauge("_build_info", "1, under this version.", "max", "version").labels(
            __version__
        ).set(1)

    def _gauge(self, name: str, help_text: str, mode: str, *labels: str) -> Gauge:
        return Gauge(
            f"biomaj_download{name}",
            help_text,
            labels,
            registry=self.registry,
            multiprocess_mode=mode,  # type: ignore[arg-type]
        )

    def observe_download(
        self, bank: str, host: str | None, *, size_bytes: float, seconds: float
    ) -> None:
        """Count a file that came, and note when."""
        super().observe_download(bank, host, size_bytes=size_bytes, seconds=seconds)
        self._successes.labels(self._banks.label(bank)).set_to_current_time()

    def observe_size(self, protocol: str, size_bytes: float) -> None:
        """Count the bytes of a published file."""
        self._received.labels(protocol).inc(size_bytes)

    def observe_settlement(self, outcome: str) -> None:
        """Count a message that goes back to the broker."""
        self._messages.labels(outcome).inc()

    def observe_events(self, outcome: str, number: int) -> None:
        """Count events that the broker took, or that were dropped."""
        self._events.labels(outcome).inc(number)

    def observe_turn(self, *, is_connected: bool, slots: Iterable[tuple[str, int]]) -> None:
        """Note how things stand: the connection to the broker, and each host's connections."""
        self._connected.set(is_connected)
        with self._lock:
            oldest = min(self._started_at.values(), default=None)
        self._oldest.set(0 if oldest is None else time.monotonic() - oldest)
        sums: dict[str, int] = {}
        for host, number in slots:
            label = self.host_label(host)
            sums[label] = sums.get(label, 0) + number
        for label, number in sums.items():
            self._slots.labels(label).set(number)

    def observer(self, job: Job) -> Observer:
        """Return what counts a job."""
        return _Counting(self, job.protocol)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count a message as worked on."""
        key = threading.get_ident()
        with self._lock:
            self._started_at[key] = time.monotonic()
        self._in_progress.inc()
        try:
            yield
        finally:
            self._in_progress.dec()
            with self._lock:
                del self._started_at[key]

    @contextmanager
    def timing(self, protocol: str) -> Iterator[None]:
        """Note how long a file took, if it came."""
        started = time.monotonic()
        yield
        self._durations.labels(protocol).observe(time.monotonic() - started)

    @contextmanager
    def attempting(self, protocol: str, *, is_first: bool) -> Iterator[None]:
        """Count an attempt."""
        self._attempts.labels(protocol).inc()
        if not is_first:
            self._retries.labels(protocol).inc()
        try:
            yield
        except DigestMismatch:
            self._checksums.labels(protocol).inc()
            raise

    def observe_resumed(self, protocol: str, size_bytes: int) -> None:
        """Count what an attempt went on from."""
        self._resumed.labels(protocol).inc(size_bytes)


class _Counting(Observer):
    """Counts one job; its protocol is one of the registry's, so the label is bounded."""

    def __init__(self, metrics: ConsumerMetrics, protocol: str) -> None:
        self._metrics = metrics
        self._protocol = protocol
        self._attempts = 0

    @contextmanager
    def job(self) -> Iterator[None]:
        with self._metrics.working():
            yield

    @contextmanager
    def file(self, _name: str) -> Iterator[None]:
        self._attempts = 0
        with self._metrics.timing(self._protocol):
            yield

    @contextmanager
    def attempt(self) -> Iterator[None]:
        self._attempts += 1
        with self._metrics.attempting(self._protocol, is_first=self._attempts == 1):
            yield

    def resumed(self, size_bytes: int) -> None:
        self._metrics.observe_resumed(self._protocol, size_bytes)


def _codes_of(error: type[DownloadError]) -> Iterator[str]:
    yield error.code
    for special in error.__subclasses__():
        yield from _codes_of(special)


#: The only values of the label `class`: Prometheus keeps a series for each that it ever saw.
ERROR_CODES = frozenset(_codes_of(DownloadError))
