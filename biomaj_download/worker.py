"""One message's trip: session, downloader, deliver, record, settle.

In: a `Task`, from any thread of the crew.  Out: an outcome in the store, counted exactly once, and
then, last of all, the settlement with the broker.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from biomaj_download.activity import Teller
from biomaj_download.admission import Admission, Task
from biomaj_download.broker.base import Broker
from biomaj_download.download.filedict import dict_of, file_of
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.registry import get_handler
from biomaj_download.errors import Cancelled, DownloadError, MessageError
from biomaj_download.job import Job, Kind
from biomaj_download.message.codec import LIMITS, UnreadableMessage, encode_file_list
from biomaj_download.observer import Observer
from biomaj_download.outbox import Outbox
from biomaj_download.publication import Publication
from biomaj_download.recorder import Recorder
from biomaj_download.reporting import Reporter
from biomaj_download.result import Ended, Result, failure
from biomaj_download.settings import MessageSettings, StorageSettings, WorkerSettings
from biomaj_download.store.base import Message, Store
from biomaj_download.store.patience import Stopped, patiently
from biomaj_download.watch import Watch

log = logging.getLogger("biomaj.download.worker")

#: A message that we failed at, for a fault of ours, goes back after so long: it comes at once.
AGAIN_SECONDS = 1.0
#: What a worker that closes still publishes may take so long.
LAST_SECONDS = 3.0


class Worker:
    """Works on tasks and jobs; may be called from many threads at once.

    `tell`: makes what tells people of the work, from what returns the messages at hand. `observe`:
    makes what hears of a job.
    """

    def __init__(
        self,
        store: Store,
        reporter: Reporter,
        *,
        outbox: Outbox,
        is_durable: bool = True,
        reserve_bytes: int = StorageSettings().reserve_bytes,
        storage_roots: Sequence[Path] = (),
        local_roots: Sequence[Path] = (),
        ssh_hosts_root: Path | None = None,
        max_deliveries: int = WorkerSettings().max_deliveries,
        message_limits: MessageSettings = LIMITS,
        tell: Callable[[Callable[[], Sequence[Message]]], Teller] = lambda _held: Teller(),
        observe: Callable[[Job], Observer] = lambda _job: Observer(),
    ) -> None:
        self._store = store
        self._max_deliveries = max_deliveries
        self._message_limits = message_limits
        self._observe = observe
        self._reporter = reporter
        self._is_durable = is_durable
        self._reserve_bytes = reserve_bytes
        self._storage_roots = storage_roots
        self._local_roots = local_roots
        self._ssh_hosts_root = ssh_hosts_root
        self._stopping = threading.Event()
        self._watch = Watch(store)
        self._teller = tell(self._watch.held)
        self._admission: Admission | None = None
        self._recorder = Recorder(
            store,
            self._watch,
            outbox,
            self._stopping,
            reporter=reporter,
            teller=self._teller,
            on_recorded=self._ask_again,
        )
        self._publication = Publication(self._recorder.record, self._recorder.give_back)

    def admission(self, broker: Broker, admit: Callable[[Task], None]) -> Admission:
        """Return what lets a broker's messages through; `admit` must hand them to `handle`.

        A worker has one broker.
        """

        def hold_and_admit(task: Task) -> None:
            self._watch.hold(task.message)
            admit(task)

        self._admission = Admission(
            self._store, broker, hold_and_admit, limits=self._message_limits
        )
        return self._admission

    def _ask_again(self) -> None:
        if self._admission is not None:
            self._admission.ask_again()

    def stop(self) -> None:
        """End what runs and give it back, and what cannot be stored now too."""
        self._stopping.set()
        self._watch.stop_all()

    def close(self) -> None:
        """Return when all outcomes are stored, or given back after `stop`."""
        self._publication.close(LAST_SECONDS)
        self._recorder.close()
        self._teller.close()
        self._watch.close()

    def handle(self, task: Task) -> None:
        """Walk one message down the road, and settle it with its broker; never raises."""
        try:
            if self._stopping.is_set():
                raise Stopped
            ended = Ended(task, self._result_of(task))
            if isinstance(ended.result.error, UnreadableMessage):
                self._bury(ended, ended.result.error)
            else:
                self._publication.publish(ended)
        except Stopped:
            self._recorder.give_back([task])
        except Exception:  # the thread would end, and the message would never be settled
            log.exception("unexpected failure, message given back")
            self._stopping.wait(AGAIN_SECONDS)
            self._recorder.give_back([task])

    def _result_of(self, task: Task) -> Result:
        """Work on a request; what is none, or is wanted no more, has failed already."""
        if task.job is None or task.problem is not None:
            return Result(error=task.problem)
        if task.delivery.redelivered and self._is_killer(task.message):
            return Result(
                error=UnreadableMessage(
                    f"message: delivered more than {self._max_deliveries} times without an outcome"
                )
            )
        return self.work(task.job, task.message)

    def _is_killer(self, message: Message) -> bool:
        """Say whether a message was begun so often that it may be what ends its consumers."""
        starts = patiently(lambda: self._store.note_start(message), self._stopping)
        return starts >= self._max_deliveries

    def _bury(self, ended: Ended, error: UnreadableMessage) -> None:
        """Count a message that is none where BioMAJ waits for it, and put it aside."""
        log.error("dead letter error=%s", error)
        task, message = ended.task, ended.task.message
        self._recorder.tell(ended)
        self._watch.let_go([message])
        if message.bank and message.session:
            patiently(lambda: self._store.settle(ended.outcome()), self._stopping)
        task.broker.reject(task.delivery, reason=str(error))

    def work(self, job: Job, message: Message | None = None) -> Result:
        """List or download; every error is a result.

        `message`: that holds the job's leases, for which it may be ended.

        Raises:
            Stopped: the process stops, or another one writes the file.
        """
        observer = self._observe(job)
        try:
            with observer.job():
                downloader = open_downloader(job)
                downloader.is_durable = self._is_durable
                downloader.reserve_bytes = self._reserve_bytes
                downloader.storage_roots = self._storage_roots
                downloader.local_roots = self._local_roots
                downloader.ssh_hosts_root = self._ssh_hosts_root
                downloader.observer = observer
                if message is not None:
                    self._watch.begin(message, downloader.cancellation)
                    self._teller.begin(message.holder, job, downloader.meter)
                    if len(job.files) == 1:
                        downloader.leaves_small = self._publication.has_room
                if job.kind is Kind.LIST:
                    return _listed(downloader, job.matches)
                downloader.bring_all(job.local_dir)
                return Result(
                    files=downloader.files_to_download,
                    unpublished=downloader.unpublished,
                    changed_directories=frozenset(downloader.changed_directories),
                )
        except Cancelled as error:
            return failure(job, error, downloader.cancellation.why)
        except DownloadError as error:
            return failure(job, error, None)
        except Exception as error:  # a fault of ours must count too, or BioMAJ waits for ever
            log.exception("unexpected failure bank=%s", job.bank)
            return Result(error=DownloadError(f"unexpected failure: {error}"))


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
