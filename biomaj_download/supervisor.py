"""Keep the consumer's processes running: Python works on one core in each.

In: the settings of the whole consumer.  Out: an exit code, when it was told to stop.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import Any

from biomaj_download.downloadservice import DownloadService
from biomaj_download.errors import ConfigError
from biomaj_download.settings import Settings, load_settings

log = logging.getLogger("biomaj.download.supervisor")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: The kinds of hosts that have a limit of their own.
HOST_KINDS = ("ftp", "http", "other")
#: A process that dies within this time of its start would do so again: all end then, and who
#: started us decides.
STARTED_SECONDS = 5.0


def main() -> int:
    """Read the settings and consume; return the exit code, 2 where a setting is wrong."""
    try:
        settings = load_settings()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return run(settings)


def run(settings: Settings) -> int:
    """Work on download requests until SIGTERM or SIGINT; return the exit code."""
    number = processes(settings, cores=len(os.sched_getaffinity(0)))
    if number == 1:
        consume(settings)
        return 0
    return Supervisor(share(settings, number), number).run()


def processes(settings: Settings, *, cores: int) -> int:
    """Return how many processes there are: never so many that a limit could not be shared out."""
    if settings.broker.url:
        return 1
    transfer = settings.transfer
    most: int = min(
        settings.worker.slots,
        *(getattr(transfer, f"{kind}_connections_per_host") for kind in HOST_KINDS),
        *transfer.host_connections.values(),
    )
    return min(settings.worker.processes or cores, most)


def share(settings: Settings, number: int) -> Settings:
    """Return the settings of one of `number` processes: together they keep the limits."""
    transfer, worker = settings.transfer, settings.worker
    limits = ("max_connections", *(f"{kind}_connections_per_host" for kind in HOST_KINDS))
    shared: dict[str, Any] = {name: getattr(transfer, name) // number for name in limits}
    shared["host_connections"] = {
        host: limit // number for host, limit in transfer.host_connections.items()
    }
    return settings.model_copy(
        update={
            "transfer": transfer.model_copy(update=shared),
            "worker": worker.model_copy(update={"slots": worker.slots // number}),
        }
    )


def consume(settings: Settings, *, is_first: bool = True) -> None:
    """Consume in this process; the first one answers Consul for all."""
    service = DownloadService(settings=settings)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: service.stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _stop_with_parent(service)
    if is_first:
        service.supervise()
    gc.freeze()  # what is loaded by now stays: it need not be searched for garbage again
    try:
        service.wait_for_messages()
    finally:
        service.close()


def _stop_with_parent(service: DownloadService) -> None:
    """Stop when the supervisor is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        service.stop()

    threading.Thread(target=watch, name="parent", daemon=True).start()


class Supervisor:
    """Starts consumer processes by fork, and starts those again that end by themselves.

    It has no thread but its own, so that it can fork at any time.
    """

    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._number = number
        self._context = multiprocessing.get_context("fork")
        self._children: dict[int, ForkProcess] = {}
        self._started_at: dict[int, float] = {}
        self._is_stopping = False

    def run(self) -> int:
        """Supervise until told to stop; then wait for all to end."""
        for signal_number in STOP_SIGNALS:
            signal.signal(signal_number, self._stop)
        gc.freeze()  # the children share it all
        for index in range(self._number):
            self._start(index)
        while not self._is_stopping:
            wait([child.sentinel for child in self._children.values()])
            self._restart_ended()
        for child in self._children.values():
            child.join()
        return max(abs(child.exitcode or 0) for child in self._children.values())

    def _stop(self, *_: object) -> None:
        self._is_stopping = True
        for child in self._children.values():
            child.terminate()

    def _start(self, index: int) -> None:
        """Start a child; no signal comes between that and its handlers, in either process."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        if not self._is_stopping:
            child = self._context.Process(
                target=consume,
                args=(self._settings,),
                kwargs={"is_first": index == 0},
                name=f"consumer-{index}",
            )
            child.start()
            self._children[index] = child
            self._started_at[index] = time.monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _restart_ended(self) -> None:
        for index, child in list(self._children.items()):
            if self._is_stopping or child.is_alive():
                continue
            if time.monotonic() - self._started_at[index] < STARTED_SECONDS:
                log.error("process did not start name=%s code=%s", child.name, child.exitcode)
                self._stop()
            else:
                log.error("process died, restarted name=%s code=%s", child.name, child.exitcode)
                self._start(index)
