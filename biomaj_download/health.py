"""Whether a process lives, and whether it is ready to work: what probes ask.

In: checks, each of which raises what is wrong.  Out: within about a second, whatever hangs, how it
stands. Who asks may be anybody: what is wrong is for the log, and probes are told its name alone.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from biomaj_download.errors import DownloadError

log = logging.getLogger("biomaj.download.health")

#: Probes give up after a second by default (Kubernetes: timeoutSeconds).
ANSWER_SECONDS = 0.8
FINE = "ok"
FAILING = "failing"
#: What is free on a disk, or how long something has hung, is no news.
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class Health:
    """The names of what was checked, each with FINE or what is wrong."""

    is_fine: bool
    checks: Mapping[str, str]

    @property
    def status(self) -> str:
        """Return FINE or FAILING."""
        return FINE if self.is_fine else FAILING

    @property
    def shown(self) -> dict[str, str]:
        """Return the names of what was checked, each with FINE or FAILING."""
        return {name: FINE if told == FINE else FAILING for name, told in self.checks.items()}


class Check:
    """Asks on a thread of its own; any thread may want to know.

    `ask` raises a DownloadError where something is wrong. While a question hangs, no other is put.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told = FINE
        self._logged = FINE

    def begin(self) -> None:
        """Put the question."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="check", daemon=True)
                self._thread.start()

    def told(self, seconds: float) -> str:
        """Return the answer, for which so much time is left: FINE or what is wrong."""
        thread = self._thread
        if thread is not None:
            thread.join(max(seconds, 0))
            if thread.is_alive():
                return "no answer"
        return self._told

    def log_news(self, name: str, told: str) -> None:
        """Log an answer, unless it is the one of the last time."""
        news = _NUMBER.sub("", told)
        with self._lock:
            before, self._logged = self._logged, news
        if news == before:
            return
        if told == FINE:
            log.info("check is fine again name=%s", name)
        else:
            log.warning("check fails name=%s: %s", name, told)

    def _run(self) -> None:
        try:
            self._ask()
        except DownloadError as error:
            self._told = str(error)
        except Exception as error:
            told = f"unexpected failure: {error}"
            if told != self._told:
                log.exception("unexpected failure of a check")
            self._told = told
        else:
            self._told = FINE


def look(needed: Mapping[str, Check], told: Mapping[str, Check] = MappingProxyType({})) -> Health:
    """Return how it stands; a check that is not `needed` is but `told`."""
    checks = {**needed, **told}
    for check in checks.values():
        check.begin()
    deadline = time.monotonic() + ANSWER_SECONDS
    answers = {name: check.told(deadline - time.monotonic()) for name, check in checks.items()}
    for name, check in checks.items():
        check.log_news(name, answers[name])
    return Health(is_fine=all(answers[name] == FINE for name in needed), checks=answers)
