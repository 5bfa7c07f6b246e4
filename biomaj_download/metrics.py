"""Prometheus families, under the names that BioMAJ's dashboards know."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess

#: The directory where gunicorn's processes keep their counts; the lower-case name is the old one.
MULTIPROCESS_DIRECTORIES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


class Metrics:
    """What was downloaded, counted on the registry that is passed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._downloads = Counter(
            "biomaj_download", "Files downloaded.", ["bank"], registry=registry
        )
        self._errors = Counter(
            "biomaj_download_errors", "Downloads that failed.", ["bank"], registry=registry
        )
        self._bytes = Counter(
            "biomaj_download_file_size", "Bytes downloaded.", ["bank", "host"], registry=registry
        )
        self._seconds = Counter(
            "biomaj_download_file_time",
            "Seconds that downloads took.",
            ["bank", "host"],
            registry=registry,
        )

    def observe(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Count how files ended: each entry has `bank`, and `error`, or `size`, `download_time`."""
        for entry in entries:
            bank, host = entry["bank"], entry.get("host") or ""
            if entry.get("error"):
                self._errors.labels(bank).inc()
            else:
                self._downloads.labels(bank).inc()
                self._bytes.labels(bank, host).inc(float(entry["size"]))
                self._seconds.labels(bank, host).inc(float(entry["download_time"]))

    def exposed(self) -> bytes:
        """Return the text that Prometheus scrapes: of all processes, where they share a folder."""
        if any(os.environ.get(name) for name in MULTIPROCESS_DIRECTORIES):
            together = CollectorRegistry()
            multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            return generate_latest(together)
        return generate_latest(self._registry)
