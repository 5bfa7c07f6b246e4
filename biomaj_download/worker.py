"""One message's trip: decode, session, downloader, deliver, record, settle.

In: a `Delivery`, from any thread of the pool.  Out: an outcome in the store, counted exactly
once, and then, last of all, the settlement with the broker.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biomaj_download.broker.base import Broker, Delivery
from biomaj_download.download.filedict import FileDict, dict_of, file_of
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.registry import get_handler
from biomaj_download.errors import Cancelled, DownloadError, MessageError
from biomaj_download.job import Job, Kind
from biomaj_download.message.codec import UnreadableMessage, decode, encode_file_list
from biomaj_download.recorder import Ended, Recorder
from biomaj_download.reporting import Reporter
from biomaj_download.settings import StorageSettings, WorkerSettings
from biomaj_download.store.base import Outcome, Store
from biomaj_download.store.patience import Stopped, patiently

log = logging.getLogger("biomaj.download.worker")

#: A session that was open is taken to be open for so long: a cleaned one is noticed within it.
SESSION_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a job came to."""

    files: Sequence[FileDict] = ()
    error: DownloadError | None = None
    #: What a LIST stores.
    file_list: bytes | None = None
    #: To be synced before the outcome is stored.
    changed_directories: frozenset[Path] = frozenset()


class Worker:
    """Works on deliveries and jobs; may be called from many threads at once."""

    def __init__(
        self,
        store: Store,
        reporter: Reporter,
        *,
        is_durable: bool = True,
        reserve_bytes: int = StorageSettings().reserve_bytes,
        max_deliveries: int = WorkerSettings().max_deliveries,
    ) -> None:
        self._store = store
        self._max_deliveries = max_deliveries
        self._reporter = reporter
        self._is_durable = is_durable
        self._reserve_bytes = reserve_bytes
        self._sessions = _OpenSessions(store)
        self._stopping = threading.Event()
        self._recorder = Recorder(store, self._stopping)

    def stop(self) -> None:
        """Give back what cannot be stored now, rather than wait for the store."""
        self._stopping.set()

    def close(self) -> None:
        """Return when all outcomes are stored, or given back after `stop`."""
        self._recorder.close()

    def handle(self, broker: Broker, delivery: Delivery) -> None:
        """Walk one message down the road, and settle it with its broker; never raises."""
        try:
            job = self._read(delivery)
            if not self._is_wanted(delivery, job):
                broker.accept(delivery)
                return
            result = self.work(job)
            self._reporter.ended(job, result.files, result.error)
            outcome = _outcome(delivery, job.bank, job.session, result)
            self._recorder.record(Ended(broker, delivery, outcome, result.changed_directories))
        except Stopped:
            broker.requeue(delivery)
        except UnreadableMessage as error:
            log.error("dead letter error=%s", error)
            broker.reject(delivery, reason=str(error))
        except Exception:  # the thread would end, and the message would never be settled
            log.exception("unexpected failure, message given back")
            broker.requeue(delivery)

    def _read(self, delivery: Delivery) -> Job:
        """Return the request in a message; one that is none is counted where BioMAJ waits for it.

        Raises:
            UnreadableMessage: it is none, or it came back too often.
        """
        try:
            job = decode(delivery.body)
            self._refuse_a_killer(delivery, job)
        except UnreadableMessage as error:
            if error.bank and error.session:
                outcome = _outcome(delivery, error.bank, error.session, Result(error=error))
                self._ask_store(lambda: self._store.settle(outcome))
            raise
        return job

    def _is_wanted(self, delivery: Delivery, job: Job) -> bool:
        """Say whether the session is open, and a redelivered message without an outcome."""
        if not self._ask_store(lambda: self._sessions.is_open(job.bank, job.session)):
            log.info("skipped bank=%s session=%s: the session is gone", job.bank, job.session)
            return False
        return not delivery.redelivered or not self._ask_store(
            lambda: self._store.is_settled(job.bank, job.session, message_key(delivery))
        )

    def _refuse_a_killer(self, delivery: Delivery, job: Job) -> None:
        """Refuse a message that came back too often: it may be what ends its consumers.

        Brokers that count put the earlier deliveries into the header `x-delivery-count`.
        """
        earlier = delivery.headers.get("x-delivery-count")
        if isinstance(earlier, int) and earlier >= self._max_deliveries:
            raise UnreadableMessage(
                f"message: delivered {earlier} times without an outcome",
                bank=job.bank,
                session=job.session,
            )

    def work(self, job: Job) -> Result:
        """List or download; every error is a result."""
        try:
            downloader = open_downloader(job)
            downloader.is_durable = self._is_durable
            downloader.reserve_bytes = self._reserve_bytes
            if job.kind is Kind.LIST:
                return _listed(downloader, job.matches)
            downloader.bring_all(job.local_dir)
            return Result(
                files=downloader.files_to_download,
                changed_directories=frozenset(downloader.changed_directories),
            )
        except Cancelled:
            if self._stopping.is_set():
                raise Stopped from None
            return Result(error=Cancelled(f"{job.server}: the download was cancelled"))
        except DownloadError as error:
            log.error("failed bank=%s code=%s error=%s", job.bank, error.code, error)
            return Result(error=error)
        except Exception as error:  # a fault of ours must count too, or BioMAJ waits for ever
            log.exception("unexpected failure bank=%s", job.bank)
            return Result(error=DownloadError(f"unexpected failure: {error}"))

    def _ask_store(self, question: Callable[[], Any]) -> Any:
        return patiently(question, self._stopping)


class _OpenSessions:
    """Remembers for a moment that a session is open: one question a second, not one a file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[tuple[str, str], float] = {}

    def is_open(self, bank: str, session: str) -> bool:
        """Say whether a session is open, or was a moment ago."""
        now = time.monotonic()
        if now - self._seen.get((bank, session), -SESSION_SECONDS) < SESSION_SECONDS:
            return True
        is_open = self._store.has_session(bank, session)
        self._seen = {key: at for key, at in self._seen.items() if now - at < SESSION_SECONDS}
        if is_open:
            self._seen[bank, session] = now
        return is_open


def message_key(delivery: Delivery) -> str:
    """Return a message's identity: its id, or for old clients a digest of its content."""
    return delivery.message_id or hashlib.sha256(delivery.body).hexdigest()


def _outcome(delivery: Delivery, bank: str, session: str, result: Result) -> Outcome:
    return Outcome(
        bank=bank,
        session=session,
        message_key=message_key(delivery),
        redelivered=delivery.redelivered,
        identity_is_unique=delivery.message_id is not None,
        error=None if result.error is None else str(result.error),
        files=result.file_list,
    )


def open_downloader(job: Job) -> DownloadInterface:
    """Return the downloader that a job asks for, ready to list or download.

    Raises:
        MessageError: the job's directory is not absolute.
        DownloadError: a value of the message is wrong.
    """
    if not job.local_dir.is_absolute() and job.kind is Kind.DOWNLOAD:
        raise MessageError(f"local_dir: expected an absolute path, got {str(job.local_dir)!r}")
    return get_handler(
        job.protocol,
        job.server,
        job.remote_dir,
        [dict_of(file) for file in job.files],
        credentials=job.credentials,
        http_parse=job.http_patterns,
        http_method=job.method,
        param=dict(job.params) or None,
        proxy=job.proxy,
        proxy_auth=job.proxy_auth,
        save_as=job.save_as,
        timeout_download=job.timeout_seconds,
        options=job.options,
    )


def _listed(downloader: DownloadInterface, patterns: Sequence[str]) -> Result:
    """List and match.

    Raises:
        DownloadError: the server failed, or nothing matches.
    """
    files, directories = downloader.list()
    downloader.match(patterns, files, directories, prefix="")
    chosen = downloader.files_to_download
    return Result(files=chosen, file_list=encode_file_list(file_of(file) for file in chosen))
