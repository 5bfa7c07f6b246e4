"""The embedded service: web, queue, workers and sessions in one process, on two SQLite files."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from biomaj_download.biomaj_download_web import LONGEST_BODY_BYTES, close_app, create_app
from biomaj_download.broker.opening import open_broker
from biomaj_download.downloadservice import DownloadService
from biomaj_download.errors import ConfigError
from biomaj_download.metrics import ConsumerMetrics
from biomaj_download.rest.headers import HEADERS
from biomaj_download.settings import BrokerSettings, Settings, StoreSettings
from biomaj_download.store.opening import open_activity, open_store

#: A client's question about progress holds a thread until there is an answer, and so does a stream.
_WEB_THREADS = 32
#: What the web server has to close its sockets.
_LAST_SECONDS = 5


def embedded_in(data_dir: Path, settings: Settings) -> Settings:
    """Return the settings with queue and sessions in the files of a directory."""
    return settings.model_copy(
        update={
            "broker": BrokerSettings(url=f"sqlite:{data_dir / 'queue.sqlite'}"),
            "store": StoreSettings(url=f"sqlite:{data_dir / 'sessions.sqlite'}"),
        }
    )


class _Refusal(ErrorTask):
    """What the web server answers by itself, to what is no request or a body that is too long."""

    def execute(self) -> None:
        """Answer, with the headers that each answer has."""
        self.response_headers = [*self.response_headers, *HEADERS.items()]
        super().execute()


class _Channel(HTTPChannel):
    error_task_class = _Refusal


def _address_of(host: str) -> str:
    """Return the address to listen at: a name that has several would make several web servers.

    Raises:
        ConfigError: the host has none.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(
            f"{host}: expected an address or a name of this host, got one that nobody knows"
        ) from error
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return str(found[0][4][0])


class EmbeddedService:
    """A service without a server; `run` is called once, `stop` from a signal handler at will.

    Raises:
        ConfigError: `host` is no address and no name of one.
        OSError: the port is taken, or the address is none of this host.
    """

    def __init__(self, settings: Settings, data_dir: Path, *, host: str, port: int) -> None:
        address = _address_of(host)
        data_dir.mkdir(parents=True, exist_ok=True)
        embedded = embedded_in(data_dir, settings)
        broker, store = open_broker(embedded), open_store(embedded)
        metrics = ConsumerMetrics(CollectorRegistry())
        self._service = DownloadService(
            settings=embedded, broker=broker, store=store, metrics=metrics
        )
        self._activity = open_activity(embedded)
        self._app = create_app(
            embedded,
            store=store,
            broker=broker,
            activity=self._activity,
            probed=self._service.probed(),
            metrics=metrics,
        )
        self._sockets: dict[int, Any] = {}  # of the web server, by descriptor
        self._server = cast(
            "Any",
            create_server(
                self._app,
                map=self._sockets,
                host=address,
                port=port,
                threads=_WEB_THREADS,
                max_request_body_size=LONGEST_BODY_BYTES,
                # By them the door (`rest.access`) knows a proxy's requests from this machine's.
                clear_untrusted_proxy_headers=False,
            ),
        )
        self._server.channel_class = _Channel
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.effective_port}"

    def run(self, *, on_turn: Callable[[], object] = lambda: None) -> None:
        """Serve until `stop`; call `on_turn` often, as long as the workers' loop does not hang."""
        self._service.warn_of_open_doors()
        web = threading.Thread(target=self._server.run, name="web", daemon=True)
        web.start()
        self._service.serve_metrics()
        try:
            self._service.wait_for_messages(on_turn=on_turn)
        finally:
            self._close_web(web)
            self._service.close()
            self._activity.close()

    def _close_web(self, web: threading.Thread) -> None:
        """End what is being answered; then close the sockets in the thread that waits for them."""
        server = self._server
        close_app(self._app)
        server.task_dispatcher.shutdown(timeout=_LAST_SECONDS)
        with suppress(OSError):  # it woke by itself, and has closed what would wake it
            server.trigger.pull_trigger(lambda: server.asyncore.close_all(self._sockets))
        web.join(_LAST_SECONDS)

    def stop(self) -> None:
        """Ask `run` to end."""
        self._service.stop()
