"""`DownloadService`: settings, broker, store and workers wired to one consumer."""

from __future__ import annotations

import logging
import logging.config
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from queue import SimpleQueue

from prometheus_client import CollectorRegistry

from biomaj_download.activity import ActivityTeller, Teller
from biomaj_download.admission import Admission
from biomaj_download.beats import Beats
from biomaj_download.broker.base import Broker
from biomaj_download.broker.counted import CountedBroker
from biomaj_download.broker.opening import open_broker
from biomaj_download.crew import Crew
from biomaj_download.discovery import register_consumer
from biomaj_download.download.filedict import FileDict
from biomaj_download.download.registry import get_handler
from biomaj_download.errors import ConfigError, DownloadError
from biomaj_download.events import EventTeller
from biomaj_download.exporter import serve_metrics
from biomaj_download.health import look
from biomaj_download.job import Job, Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import job_of
from biomaj_download.metrics import ConsumerMetrics
from biomaj_download.observer import Observer, Observers
from biomaj_download.outbox import Outbox
from biomaj_download.permissions import set_umask
from biomaj_download.probes import Probed, life_checks, work_checks
from biomaj_download.publish import sync_directories
from biomaj_download.reporting import Reporter
from biomaj_download.settings import Settings, load_settings
from biomaj_download.store.activity import Activity
from biomaj_download.store.base import Message, Outcome, Store
from biomaj_download.store.opening import open_activity, open_store
from biomaj_download.transfer import shared
from biomaj_download.worker import Worker

log = logging.getLogger("biomaj.download.service")

#: What is running gets so long to notice that the engine is closed.
_LAST_SECONDS = 5


def check_libraries(settings: Settings) -> None:
    """Return if the libraries are there that the settings want.

    Raises:
        ConfigError: one is missing.
    """
    if settings.tracing.endpoint is None:
        return
    try:
        import biomaj_download.tracing  # noqa: F401, PLC0415 - of an extra, which few sites have
    except ImportError as error:
        raise ConfigError(
            "tracing.endpoint: expected the libraries of `pip install 'biomaj_download[otel]'`"
        ) from error


class DownloadService:
    """A consumer of download requests, and the doors that BioMAJ calls in its own process.

    `config_file` None: the file that the environment names. `rabbitmq` False: no broker is
    opened; only the doors that need none work. `beats`: those of all processes of the consumer, of
    which this is the one at `index`. `metrics`: to count on, for who shows them by itself; None:
    figures are served or told to the web interface, as the settings say.
    """

    get_handler = staticmethod(get_handler)

    def __init__(
        self,
        config_file: str | None = None,
        rabbitmq: bool = True,
        *,
        settings: Settings | None = None,
        broker: Broker | None = None,
        store: Store | None = None,
        beats: Beats | None = None,
        index: int = 0,
        metrics: ConsumerMetrics | None = None,
    ) -> None:
        self.settings = settings or load_settings(config_file)
        if self.settings.log_config:
            logging.config.dictConfig(self.settings.log_config)
        if self.settings.storage.umask is not None:
            set_umask(self.settings.storage.umask)
        shared.set_up(self.settings.transfer)
        self._store = store or open_store(self.settings)
        self._broker = broker or (open_broker(self.settings) if rabbitmq else None)
        if metrics is None and self.settings.metrics.listen:
            metrics = ConsumerMetrics(CollectorRegistry())
        self._metrics = metrics
        self._observers = [] if self._metrics is None else [self._metrics.observer]
        self._on_close = ExitStack()
        self._trace()
        self._reporter = Reporter(self.settings, self._metrics)
        self._activity: Activity | None = None
        self._worker = Worker(
            self._store,
            self._reporter,
            outbox=Outbox(self.settings.storage.state_folder()),
            is_durable=self.settings.storage.fsync,
            reserve_bytes=self.settings.storage.reserve_bytes,
            storage_roots=[root.resolve() for root in self.settings.storage.roots],
            local_roots=[root.resolve() for root in self.settings.local.roots],
            ssh_hosts_root=self.settings.storage.state_folder() / "ssh",
            max_deliveries=self.settings.worker.max_deliveries,
            message_limits=self.settings.message,
            observe=self._observer,
            tell=self._tell,
        )
        self._beats = beats or Beats.of_one()
        self._index = index
        self._is_stopping = False
        # A signal handler may put into this one while its own thread waits in `get`.
        self._stops_asked: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        self._failure: Exception | None = None

    def _tell(self, held: Callable[[], Sequence[Message]]) -> Teller:
        """Return what tells people what the worker is at: nobody, where there are no messages."""
        if self._broker is None:
            return Teller()
        self._activity = open_activity(self.settings)
        exchange = self.settings.events.exchange
        return ActivityTeller(
            self._activity,
            slots=self.settings.worker.slots,
            held=held,
            on_files=None if exchange is None else self._event_teller(exchange).tell,
        )

    def _event_teller(self, exchange: str) -> EventTeller:
        """Return what publishes events."""
        count = self._metrics.observe_events if self._metrics is not None else lambda *_: None
        events = EventTeller(self.settings.rabbitmq, exchange, count=count)
        self._on_close.callback(events.close)
        return events

    def _trace(self) -> None:
        """Have jobs traced, where that is configured."""
        endpoint = self.settings.tracing.endpoint
        if endpoint is None:
            return
        check_libraries(self.settings)
        from biomaj_download.tracing import otlp_tracing  # noqa: PLC0415 - of an extra

        tracing = otlp_tracing(endpoint, queue=self.settings.rabbitmq.queue)
        self._on_close.callback(tracing.close)
        self._observers.append(tracing.observer)

    def _observer(self, job: Job) -> Observer:
        observers = [observe(job) for observe in self._observers]
        return Observers(observers) if observers else Observer()

    # The consumer.

    def supervise(self) -> None:
        """Do what one process does for all: answer Consul and Prometheus, where configured.

        What is left open to messages is told here, too.
        """
        self.warn_of_open_doors()
        if (deregister := register_consumer(self.settings)) is not None:
            self._on_close.callback(deregister)
        self.serve_metrics()

    def serve_metrics(self) -> None:
        """Serve figures of our own and answer probes, where that is configured."""
        if self._metrics is None or not self.settings.metrics.listen:
            return
        life, work = self.probed()
        probes = {"/healthz": lambda: look(life), "/readyz": lambda: look(work)}
        stop = serve_metrics(self._metrics, self.settings.metrics.listen, probes)
        self._on_close.callback(stop)

    def probed(self) -> Probed:
        """Return what must be fine for the consumer to live, and for messages to be worked on."""
        return Probed(
            life_checks(self._beats),
            work_checks(self._beats, self._store, self.settings.storage, lambda: self._is_stopping),
        )

    def warn_of_open_doors(self) -> None:
        """Say which directories of this host messages may write to and read from: all."""
        if not self.settings.storage.roots:
            log.warning("messages may have files stored in any directory: storage.roots is not set")
        if not self.settings.local.roots:
            log.warning("messages may have any file of this host read: local.roots is not set")

    def wait_for_messages(self, *, on_turn: Callable[[], object] = lambda: None) -> None:
        """Work on messages until `stop` is called; then finish what the grace period allows.

        Raises:
            BrokerError: the broker cannot be consumed from, now or ever.

        `on_turn` is called often, as long as the thread that talks with the broker does not hang.
        """
        slots = self.settings.worker.slots
        broker = self._opened_broker()
        crew = Crew(slots, self._worker.handle)
        admission = self._worker.admission(self._counted(broker), crew.hand_over)
        consuming = threading.Thread(
            target=self._consume, args=(broker, admission, on_turn), name="broker"
        )
        consuming.start()
        log.info("consuming slots=%d", slots)
        self._stops_asked.get()
        broker.stop()
        admission.close()
        crew.dismiss()
        late = crew.wait(self.settings.worker.shutdown_grace_seconds)
        self._worker.stop()
        if late:
            log.warning("grace period over, given back transfers=%d", late)
        crew.wait(_LAST_SECONDS)
        shared.close()
        self._worker.close()
        broker.close()
        consuming.join()
        if self._failure is not None:
            raise self._failure

    def _consume(self, broker: Broker, admission: Admission, on_turn: Callable[[], object]) -> None:
        """Consume until told to stop; a broker that gives up ends the service, and is told."""

        def turn() -> None:
            on_turn()
            is_connected = broker.is_connected()
            self._beats.beat(self._index, is_connected=is_connected)
            if self._metrics is not None:
                self._metrics.observe_turn(
                    is_connected=is_connected,
                    slots=[(host.name, host.limit) for host in shared.hosts()],
                )

        try:
            broker.consume(admission.arrive, slots=self.settings.worker.slots, on_turn=turn)
        except Exception as error:
            log.exception("consuming ended")
            self._failure = error
        finally:
            self.stop()

    def _counted(self, broker: Broker) -> Broker:
        metrics = self._metrics
        return broker if metrics is None else CountedBroker(broker, metrics.observe_settlement)

    def stop(self) -> None:
        """Ask `wait_for_messages` to end; may be called from a signal handler."""
        self._is_stopping = True
        self._stops_asked.put(None)

    def close(self) -> None:
        """Let go of broker, store and Consul."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        self._worker.stop()
        self._worker.close()
        self._on_close.close()
        self._reporter.close()
        if self._broker is not None:
            self._broker.close()
        if self._activity is not None:
            self._activity.close()
        self._store.close()

    def on_download_callback(self, func: Callable[[str, Sequence[FileDict]], object]) -> None:
        """Call `func(bank, files)` after each message: soon back, for it is acknowledged then."""
        self._reporter.add_callback(func)

    # The doors.

    def ask_download(self, operation: wire.Operation) -> None:
        """Put a request on the queue.

        Raises:
            BrokerError: the broker could not store it.
        """
        self._opened_broker().publish(operation.SerializeToString(), message_id=str(uuid.uuid4()))

    def local_download(self, download_file: wire.DownloadFile) -> None:
        """Download in this process, without a session.

        Raises:
            DownloadError: a file did not come.
        """
        job = _job(download_file, Kind.DOWNLOAD)
        result = self._worker.work(job)
        sync_directories(result.changed_directories)
        self._reporter.ended(job, result.files, result.error)
        if result.error is not None:
            raise result.error

    def download(self, download_file: wire.DownloadFile) -> None:
        """Download in this process, and count it in its session, whether it failed or not."""
        self._work_in_session(_job(download_file, Kind.DOWNLOAD))

    def list(self, download_file: wire.DownloadFile) -> None:
        """List and match in this process, and store the files in the session."""
        self._work_in_session(_job(download_file, Kind.LIST))

    def clean(self, download_file: wire.DownloadFile | None = None) -> None:
        """Forget a session and all that is under it."""
        if download_file is not None:
            self._store.delete_session(download_file.bank, download_file.session)

    def download_status(self, download_file: wire.DownloadFile) -> tuple[int, int]:
        """Return how many messages are settled and how many failed; -1: none yet."""
        progress = self._store.progress(download_file.bank, download_file.session)
        done, errors = (-1 if count is None else count for count in progress[:2])
        return done, errors

    def download_errors(self, download_file: wire.DownloadFile) -> Sequence[str]:
        """Return the errors of a session, and forget them."""
        return self._store.pop_errors(download_file.bank, download_file.session)

    def list_status(self, download_file: wire.DownloadFile) -> bool:
        """Say whether a LIST has been answered."""
        return self._store.file_list(download_file.bank, download_file.session) is not None

    def list_result(self, download_file: wire.DownloadFile) -> wire.FileList:
        """Return the files of a LIST; empty while there is no answer."""
        body = self._store.file_list(download_file.bank, download_file.session)
        return wire.FileList.FromString(body or b"")

    def _work_in_session(self, job: Job) -> None:
        result = self._worker.work(job)
        sync_directories(result.changed_directories)
        self._store.settle(
            Outcome(
                message=Message(bank=job.bank, session=job.session, key=str(uuid.uuid4())),
                error=None if result.error is None else str(result.error),
                files=result.file_list,
            )
        )
        self._reporter.ended(job, result.files, result.error)

    def _opened_broker(self) -> Broker:
        if self._broker is None:
            raise DownloadError("service: opened without a broker (rabbitmq=False)")
        return self._broker


def _job(download_file: wire.DownloadFile, kind: Kind) -> Job:
    kinds = {Kind.LIST: wire.Operation.LIST, Kind.DOWNLOAD: wire.Operation.DOWNLOAD}
    return job_of(wire.Operation(type=kinds[kind], download=download_file))
