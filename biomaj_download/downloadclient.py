"""BioMAJ core's side of a download: hand files over, wait, tell whether one failed.

In: what core's workflow knows of a bank.  Out: files in its offline directory.
With a RabbitMQ host the download service does the work, without one a pool of threads here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from biomaj_download.client.base import Downloads
from biomaj_download.client.cancelling import CancelFlag, RedisClient
from biomaj_download.client.local import LocalDownloads
from biomaj_download.client.operations import BankConfig, operations_of
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.registry import get_handler
from biomaj_download.errors import ServiceError
from biomaj_download.message import downmessage_pb2 as wire


class DownloadClient:
    """Download the files of one bank's session; for one thread.

    The calls come in this order: `create_session`, the files, `wait_for_download`, `clean`,
    `close`. Files start while `wait_for_download` runs; only a service that is asked without a
    limit has them at once. No server is asked before it is needed: a handler can be had while the
    service is away, and outlives the client.
    """

    get_handler = staticmethod(get_handler)

    def __init__(
        self,
        rabbitmq_host: str | None = None,
        rabbitmq_port: int = 5672,
        rabbitmq_vhost: str = "/",
        rabbitmq_user: str | None = None,
        rabbitmq_password: str | None = None,
        pool_size: int = 5,
        redis_client: RedisClient | None = None,
        redis_prefix: str | None = None,
    ) -> None:
        cancel_flag = CancelFlag(redis_client, redis_prefix)
        self.bank: str | None = None
        self.session: str | None = None
        self._pool_size = pool_size
        self._rate = 0
        self._is_remote = bool(rabbitmq_host)
        self._downloads: Downloads
        if rabbitmq_host:
            self._downloads = _remote_downloads(
                cancel_flag,
                host=rabbitmq_host,
                port=rabbitmq_port,
                virtual_host=rabbitmq_vhost,
                user=rabbitmq_user,
                password=rabbitmq_password,
            )
        else:
            self._downloads = LocalDownloads(cancel_flag)
        self._set_limit()

    def set_queue_size(self, size: int) -> None:
        """Set the number of threads that download here; the service has its own."""
        self._pool_size = size
        self._set_limit()

    def set_rate_limiting(self, rate: int) -> None:
        """Have at most that many files handed over and unfinished; 0: no limit."""
        self._rate = rate
        self._set_limit()

    def create_session(self, bank: str, proxy: str | None = None) -> str:
        """Begin a session and return its id; `proxy`: the URL of the service's web interface.

        Raises:
            ServiceError: the service did not give one, three times.
        """
        self.session = self._downloads.open(bank, proxy)
        self.bank = bank
        return self.session

    def download_status(self) -> tuple[int, int]:
        """Return how many files are settled, and how many of them failed; -1: none yet."""
        progress = self._downloads.progress()
        return (
            -1 if progress.done is None else progress.done,
            -1 if progress.errors is None else progress.errors,
        )

    def download_remote_files(
        self, cf: BankConfig, downloaders: Iterable[DownloadInterface], offline_dir: str | Path
    ) -> None:
        """Hand over every file that the downloaders of a bank are to download.

        Raises:
            OptionError: a downloader or the bank's configuration holds what no message can carry.
            ServiceError: there is no session.
        """
        if self.bank is None or self.session is None:
            raise ServiceError("download client: expected a session, got none: create one first")
        session = {"bank": self.bank, "session": self.session, "local_dir": str(offline_dir)}
        for downloader in downloaders:
            self._downloads.submit(list(operations_of(cf, downloader, **session)))

    def download_remote_file(self, operation: wire.Operation) -> None:
        """Hand one file over."""
        self._downloads.submit([operation])

    def wait_for_download(self) -> bool:
        """Return when all files are settled: True if one of them failed.

        Raises:
            Cancelled: BioMAJ's cancel flag was set.
            ServiceError, BrokerError: the service or the broker is lost, or away for long.
        """
        return self._downloads.wait()

    def clean(self) -> None:
        """Forget the session: files that have not started never will."""
        self._downloads.clean()

    def close(self) -> None:
        """Let go of connections and threads."""
        self._downloads.close()

    def _set_limit(self) -> None:
        limits = [self._rate] if self._rate else []
        if not self._is_remote:
            limits.append(max(1, self._pool_size))
        self._downloads.at_once = min(limits, default=None)


def _remote_downloads(cancel_flag: CancelFlag, **rabbitmq: object) -> Downloads:
    from biomaj_download.client.remote import RemoteDownloads  # noqa: PLC0415 - local mode: no pika
    from biomaj_download.settings import RabbitmqSettings, rabbitmq_tls  # noqa: PLC0415

    given = {key: value for key, value in rabbitmq.items() if value is not None}
    return RemoteDownloads(RabbitmqSettings.model_validate(rabbitmq_tls() | given), cancel_flag)
