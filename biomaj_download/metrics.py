"""Prometheus families, under the names that BioMAJ's dashboards know.

In: how files ended.  Out: the text that Prometheus scrapes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess

from biomaj_download.errors import DownloadError

#: What names the folder where gunicorn's processes keep their counts; the second is the old name.
MULTIPROCESS_DIRECTORIES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
#: The `host` of a report that names none, and the `class` of an error that is none of ours.
NO_HOST = "na"
OTHER_CLASS = "other"


class Metrics:
    """What was downloaded, on the registry that is passed in; any thread may count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"biomaj_download{name}", help_text, labels, registry=registry)

        self._registry = registry
        self._downloads = counter("", "Files downloaded.", "bank")
        self._errors = counter("_errors", "Downloads that failed.", "bank")
        self._bytes = counter("_file_size", "Bytes downloaded.", "bank", "host")
        self._seconds = counter("_file_time", "Seconds that downloads took.", "bank", "host")
        self._failures = counter("_failures", "Downloads that failed, by error code.", "class")

    def observe_download(
        self, bank: str, host: str | None, *, size_bytes: float, seconds: float
    ) -> None:
        """Count a file that came."""
        self._downloads.labels(bank).inc()
        self._bytes.labels(bank, host or NO_HOST).inc(size_bytes)
        self._seconds.labels(bank, host or NO_HOST).inc(seconds)

    def observe_error(self, bank: str, code: str) -> None:
        """Count a download that failed; an old consumer reports no code of ours, but a text."""
        self._errors.labels(bank).inc()
        self._failures.labels(code if code in ERROR_CODES else OTHER_CLASS).inc()

    def exposed(self) -> bytes:
        """Return the text that Prometheus scrapes: of all processes, where they share a folder."""
        folder = next(filter(None, map(os.environ.get, MULTIPROCESS_DIRECTORIES)), None)
        if folder is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def _codes_of(error: type[DownloadError]) -> Iterator[str]:
    yield error.code
    for special in error.__subclasses__():
        yield from _codes_of(special)


#: The only values of the label `class`: Prometheus keeps a series for each that it ever saw.
ERROR_CODES = frozenset(_codes_of(DownloadError))
