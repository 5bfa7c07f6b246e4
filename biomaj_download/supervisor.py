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
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path

from biomaj_download.beats import Beats
from biomaj_download.downloadservice import DownloadService, check_libraries
from biomaj_download.errors import ConfigError
from biomaj_download.metrics import forget_process, share_counts
from biomaj_download.notify import Notifier
from biomaj_download.settings import Settings, load_settings
from biomaj_download.sharing import kept_to_a_core, processes, share
from biomaj_download.signals import STOP_SIGNALS, obey_stop_signals
from biomaj_download.transfer import shared
from biomaj_download.transfer.places import Common

log = logging.getLogger("biomaj.download.supervisor")

#: A process that dies within this time of its start, before it has begun, would do so again: all
#: end then, and who started us decides.
STARTED_SECONDS = 5.0
#: How soon systemd hears that all processes consume.
READY_LOOK_SECONDS = 0.1


def main() -> int:
    """Read the settings and consume; return the exit code, 2 where a setting is wrong."""
    try:
        return run(load_settings())
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def run(settings: Settings) -> int:
    """Work on download requests until SIGTERM or SIGINT; return the exit code.

    Raises:
        ConfigError: a setting is wrong.
    """
    check_libraries(settings)  # before there are several processes, of which none could tell
    number = processes(settings, cores=len(os.sched_getaffinity(0)))
    notifier = Notifier()
    if number == 1:
        consume_alone(settings, notifier)
        return 0
    supervisor = Supervisor(settings, number, notifier)
    if settings.metrics.listen is None:
        return supervisor.run()
    with tempfile.TemporaryDirectory(prefix="biomaj-download-metrics-") as folder:
        share_counts(Path(folder))
        return supervisor.run()


def consume_alone(settings: Settings, notifier: Notifier) -> None:
    """Consume in the only process."""
    look = kept_to_a_core(settings, 0)
    service = DownloadService(settings=settings)

    def stop() -> None:
        service.stop()
        notifier.stopping()

    obey_stop_signals(stop)
    status = f"consuming processes=1 slots={settings.worker.slots}"

    def turn() -> None:
        look()
        notifier.lives(status)

    _consume(service, is_first=True, on_turn=turn)


def consume_supervised(settings: Settings, index: int, beats: Beats, common: Common) -> None:
    """Consume in one of several processes; its supervisor reads when the loop last turned.

    Ctrl-C goes to them all, and it is the supervisor that says what it means; SIGTERM may come
    from it and from systemd.
    """
    look = kept_to_a_core(settings, index)
    shared.join(common, index)
    service = DownloadService(settings=settings, beats=beats, index=index)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: service.stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _stop_with_parent(service)
    _consume(service, is_first=index == 0, on_turn=look)


def _consume(service: DownloadService, *, is_first: bool, on_turn: Callable[[], object]) -> None:
    """Consume in this process; the first one answers Consul, Prometheus and probes for all."""
    if is_first:
        service.supervise()
    gc.freeze()  # what is loaded by now stays: it need not be searched for garbage again
    try:
        service.wait_for_messages(on_turn=on_turn)
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

    It has no thread but its own, so that it can fork at any time. systemd hears from it while all
    processes live.
    """

    def __init__(self, settings: Settings, number: int, notifier: Notifier) -> None:
        self._settings = settings
        self._number = number
        self._notifier = notifier
        self._context = multiprocessing.get_context("fork")
        self._beats = Beats.shared(number)
        self._common = Common(settings.transfer, number)
        self._restarts = 0
        #: Processes that ended soon after their start, one after the other.
        self._short_lives = 0
        self._children: dict[int, ForkProcess] = {}
        self._started_at: dict[int, float] = {}
        self._is_stopping = False

    def run(self) -> int:
        """Supervise until told to stop; then wait for all to end."""
        obey_stop_signals(self._stop, before_the_end=self._kill)
        gc.freeze()  # the children share it all
        for index in range(self._number):
            self._start(index)
        while not self._is_stopping:
            wait([child.sentinel for child in self._children.values()], self._look_seconds())
            self._restart_ended()
            self._look()
        for child in self._children.values():
            child.join()
        return max((abs(child.exitcode or 0) for child in self._children.values()), default=0)

    def _stop(self) -> None:
        self._is_stopping = True
        for child in self._children.values():
            child.terminate()
        self._notifier.stopping()

    def _kill(self) -> None:
        for child in self._children.values():
            child.kill()

    def _look_seconds(self) -> float | None:
        """Return when to look at the processes; None: when one ends."""
        if self._notifier.is_waiting:
            return READY_LOOK_SECONDS
        limit = self._notifier.watchdog_seconds
        return None if limit is None else limit / 4

    def _look(self) -> None:
        """Tell systemd that the consumer lives, if each of its processes does."""
        if self._is_stopping or not self._beats.all_have_begun():
            return
        limit = self._notifier.watchdog_seconds
        silent = {} if limit is None else self._beats.silent(limit)
        for index, silent_seconds in silent.items():
            name = self._children[index].name
            log.error("process hangs name=%s seconds=%.0f", name, silent_seconds)
            self._notifier.status(f"process hangs name={name}")
            return
        self._notifier.lives(self._status())

    def _status(self) -> str:
        slots = self._settings.worker.slots
        return f"consuming processes={self._number} slots={slots} restarts={self._restarts}"

    def _start(self, index: int) -> None:
        """Start a child; no signal comes between that and its handlers, in either process."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        if not self._is_stopping:
            self._beats.forget(index)
            child = self._context.Process(
                target=consume_supervised,
                args=(
                    share(self._settings, self._number, index),
                    index,
                    self._beats,
                    self._common,
                ),
                name=f"consumer-{index}",
            )
            child.start()
            self._children[index] = child
            self._started_at[index] = time.monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _would_die_again(self, index: int) -> bool:
        """Say whether a process that ended had not begun, or too many have ended soon after that.

        A message that kills its consumer kills the next one at once, until it is a dead letter.
        """
        most = self._settings.worker.max_deliveries
        return not self._beats.has_begun(index) or self._short_lives > most

    def _restart_ended(self) -> None:
        for index, child in list(self._children.items()):
            if self._is_stopping or child.is_alive():
                continue
            is_short = time.monotonic() - self._started_at[index] < STARTED_SECONDS
            self._short_lives = self._short_lives + 1 if is_short else 0
            if is_short and self._would_die_again(index):
                log.error("process did not start name=%s code=%s", child.name, child.exitcode)
                self._stop()
            else:
                if self._settings.metrics.listen is not None:
                    forget_process(child.pid or 0)
                log.error("process died, restarted name=%s code=%s", child.name, child.exitcode)
                self._start(index)
                self._restarts += 1
                self._notifier.status(self._status())
