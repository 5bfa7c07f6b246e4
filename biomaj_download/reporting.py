"""Tell the web interface how files ended, so that Prometheus can scrape it there.

Entries are collected and posted about once a second, many at a time: never one request a file.
A web interface that is away costs its reports, and nothing else. A consumer that serves its own
figures posts none: whoever adds up both would count each file twice.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from biomaj_download.bearer import BearerSession
from biomaj_download.download.filedict import FileDict
from biomaj_download.errors import DownloadError
from biomaj_download.job import Job, Kind
from biomaj_download.metrics import ConsumerMetrics
from biomaj_download.settings import Settings
from biomaj_download.transfer.outcome import redact

log = logging.getLogger("biomaj.download.reporting")

POST_EVERY_SECONDS = 1.0
#: Entries a request, and entries kept while the web interface is away.
MOST_ENTRIES_A_POST = 2000
MOST_ENTRIES_KEPT = 100_000
_TIMEOUT_SECONDS = 10


class Reporter:
    """Collects how files ended; `ended` may be called from any thread.

    `metrics`: to count on, instead of telling the web interface.

    Raises:
        ConfigError: the token cannot be sent.
    """

    def __init__(self, settings: Settings, metrics: ConsumerMetrics | None = None) -> None:
        self._metrics = metrics
        endpoint = settings.web.local_endpoint_download or settings.web.local_endpoint
        token = settings.web.token
        self._http = BearerSession(None if token is None else token.get_secret_value())
        self._url = f"{endpoint.rstrip('/')}/api/download/metrics" if endpoint else None
        self._entries: deque[dict[str, Any]] = deque(maxlen=MOST_ENTRIES_KEPT)
        self._callbacks: list[Callable[[str, Sequence[FileDict]], object]] = []
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if self._url and settings.prometheus and metrics is None:
            self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
            self._thread.start()

    def add_callback(self, callback: Callable[[str, Sequence[FileDict]], object]) -> None:
        """Call this with the bank and the files of each message that ended."""
        self._callbacks.append(callback)

    def ended(self, job: Job, files: Sequence[FileDict], error: DownloadError | None) -> None:
        """Note the end of one message."""
        for callback in self._callbacks:
            try:
                callback(job.bank, files)
            except Exception:  # it is anybody's, and the file is there all the same
                log.exception("callback failed bank=%s", job.bank)
        if job.kind is Kind.LIST:
            return
        if self._metrics is not None:
            _count(self._metrics, job, files, error)
        if self._thread is None:
            return
        if error is not None:
            self._entries.append(
                {
                    "bank": job.bank,
                    "host": job.server,
                    "error": error.code,
                    "size": 0,
                    "download_time": 0,
                }
            )
        for file in files:
            self._entries.append(
                {
                    "bank": job.bank,
                    "host": job.server,
                    "size": file["size"],
                    "download_time": file["download_time"],
                }
            )

    def close(self) -> None:
        """Post what is left, and end."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with self._http:
            while not self._closing.wait(POST_EVERY_SECONDS):
                self._post()
            self._post()

    def _post(self) -> None:
        """Post what is there now: what comes meanwhile has its turn a second later."""
        left = len(self._entries)
        while left:
            batch = [self._entries.popleft() for _ in range(min(left, MOST_ENTRIES_A_POST))]
            left -= len(batch)
            try:
                answer = self._http.post(str(self._url), json=batch, timeout=_TIMEOUT_SECONDS)
                answer.raise_for_status()
            except (OSError, ValueError) as error:  # of requests, and what it lets through
                text = redact(str(error))
                log.warning("metrics not posted entries=%d error=%s", len(batch), text)
                return


def _count(
    metrics: ConsumerMetrics, job: Job, files: Sequence[FileDict], error: DownloadError | None
) -> None:
    if error is not None:
        metrics.observe_error(job.bank, error.code)
    for file in files:
        size_bytes = file["size"] or 0
        metrics.observe_size(job.protocol, size_bytes)
        metrics.observe_download(
            job.bank, job.server, size_bytes=size_bytes, seconds=file["download_time"]
        )
