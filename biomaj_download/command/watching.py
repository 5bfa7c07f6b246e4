"""Follow a session of a service, until its files are settled."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from time import monotonic
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from biomaj_download.client.patience import PATIENCE_SECONDS
from biomaj_download.command.attending import Stop, stop_signals
from biomaj_download.command.service import Facts
from biomaj_download.command.session_lines import failed_line, running_lines, session_line
from biomaj_download.errors import OptionError, ServiceError, StoreError
from biomaj_download.exit_codes import BY_SIGNAL, SOME_FAILED
from biomaj_download.transfer.outcome import redact

LOOK_SECONDS = 1.0
#: Where there is no terminal, what changed is told so often.
_LINE_SECONDS = 10.0
_TURN_SECONDS = 0.1
#: Where nobody said how many files there are: so many looks at which none runs or waits.
_QUIET_LOOKS = 3
#: What waits in the queue may be of other sessions alone.
_QUIET_LOOKS_BY_A_QUEUE = 60


class KnowsSessions(Protocol):
    """Who is asked about a session."""

    def queue(self) -> Facts:
        """Return how many requests wait that no consumer has yet."""

    def session(self, bank: str, session: str) -> Facts:
        """Return one session, with what runs of it."""

    def failures(self, bank: str, session: str) -> Sequence[Facts]:
        """Return its files that failed."""


class Watching:
    """A session that somebody follows; `expected`: its files, where the service does not know."""

    def __init__(
        self,
        service: KnowsSessions,
        bank: str,
        session: str,
        *,
        as_json: bool,
        expected: int | None = None,
    ) -> None:
        self._service = service
        self._bank, self._session = bank, session
        self._as_json = as_json
        self._expected = expected
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, transient=True)
        self._told_at, self._told = 0.0, ""
        self._away_since: float | None = None
        self._quiet_looks = 0

    def run(self) -> int:
        """Tell of the session until it has ended, or a signal ends us; return the exit code.

        Raises:
            ServiceError: the service is away, at the beginning or for long.
            OptionError: there is no such session.
        """
        facts = self._service.session(self._bank, self._session)
        with stop_signals() as stop, self._live:
            while not stop.is_wanted():
                looked = self._look(facts)
                if looked is None:
                    break
                facts = {**looked, "expected": looked.get("expected") or self._expected}
                self._show(facts)
                if self._is_settled(facts):
                    break
                _pause(stop)
        if stop.number is not None:
            again = f"biomaj-download watch {self._bank} {self._session}"
            click.echo(f"the session goes on: {again}", err=True)
            return BY_SIGNAL + stop.number
        code = self._tell_end(facts)
        expected = facts.get("expected")
        if expected is not None and facts["done"] + facts["failed"] < expected:
            click.echo("the session was closed before all of it had ended", err=True)
            return SOME_FAILED
        return code

    def _look(self, before: Facts) -> Facts | None:
        """Return what the service tells; what it told, while it is away; None: all is over."""
        try:
            facts = self._service.session(self._bank, self._session)
        except OptionError:  # closed by who opened it
            return None
        except (ServiceError, StoreError) as error:
            if self._away_since is None:
                self._away_since = monotonic()
                self._console.print(Text(redact(f"{error}; asking again")), soft_wrap=True)
            if monotonic() - self._away_since > PATIENCE_SECONDS:
                raise
            return before
        self._away_since = None
        return facts

    def _is_settled(self, facts: Facts) -> bool:
        """Say whether nothing of the session is to come, as far as anybody knows."""
        ended, expected = facts["done"] + facts["failed"], facts.get("expected")
        if expected is not None:
            return bool(ended >= expected)
        is_quiet = ended and facts.get("waiting") == 0 and not facts.get("running")
        self._quiet_looks = self._quiet_looks + 1 if is_quiet else 0
        if self._quiet_looks < _QUIET_LOOKS:
            return False
        return self._quiet_looks >= _QUIET_LOOKS_BY_A_QUEUE or not self._is_queue_filled()

    def _is_queue_filled(self) -> bool:
        """Say whether requests wait that no consumer has yet: some may be of this session."""
        try:
            queue = self._service.queue()
        except (ServiceError, StoreError):
            return True
        return bool(queue.get("messages") or queue.get("error"))

    def _show(self, facts: Facts) -> None:
        line = session_line(facts)
        if self._as_json:
            click.echo(json.dumps(facts))
        elif self._console.is_terminal:
            self._live.update(Text("\n".join([line, *running_lines(facts)])))
        elif line != self._told and monotonic() - self._told_at >= _LINE_SECONDS:
            self._told_at, self._told = monotonic(), line
            click.echo(line, err=True)

    def _tell_end(self, facts: Facts) -> int:
        if not self._as_json:
            for file in self._failures() if facts["failed"] else ():
                click.echo(failed_line(file), err=True)
            click.echo(session_line(facts))
        return SOME_FAILED if facts["failed"] else 0

    def _failures(self) -> Sequence[Facts]:
        try:
            return self._service.failures(self._bank, self._session)
        except OptionError:  # closed meanwhile, and forgotten with its files
            return []


def _pause(stop: Stop) -> None:
    """Wait for the next look, but not longer than somebody waits for us."""
    end = monotonic() + LOOK_SECONDS
    while monotonic() < end and not stop.is_wanted():
        time.sleep(_TURN_SECONDS)
