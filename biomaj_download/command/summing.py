"""How a run of fetches ended: one line, and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from biomaj_download.command.doors import exit_code_of
from biomaj_download.command.fetching import Fetch, failures
from biomaj_download.command.telling import Teller
from biomaj_download.command.words import files_text, size_text, time_text
from biomaj_download.errors import ConnectFailed
from biomaj_download.exit_codes import BY_SIGNAL, SOME_FAILED


def sum_up(
    fetches: Sequence[Fetch],
    teller: Teller,
    *,
    seconds: float,
    place: object,
    signal_number: int | None,
    besides: Sequence[str] = (),
    facts: dict[str, Any] | None = None,
) -> int:
    """Tell how it ended, and return the exit code; `besides`: what else is to be said."""
    missing = failures(fetches)
    there = [fetch for fetch in fetches if fetch.is_there]
    size_bytes = sum(fetch.size_bytes or 0 for fetch in there)
    failed = [fetch for fetch in missing if fetch.is_ended]
    begun = [fetch for fetch in missing if fetch.present_bytes()]
    here = f"{len(there):,} of {files_text(len(fetches))} here, {size_text(size_bytes)}"
    parts = [f"{here} in {time_text(seconds)}" if fetches else "nothing to fetch", *besides]
    if signal_number is not None:
        parts.append("stopped")
    if begun:
        parts.append(
            f"{files_text(len(begun))} begun: what came is kept, and the same command goes on there"
        )
    teller.end(
        f"{'; '.join(parts)} ({place})",
        files=len(fetches),
        here=len(there),
        failed=0 if signal_number is not None else len(failed),
        begun=len(begun),
        size_bytes=size_bytes,
        seconds=round(seconds, 3),
        stopped_by=signal_number,
        **(facts or {}),
    )
    if signal_number is not None:
        return BY_SIGNAL + signal_number
    return _code(fetches, missing)


def _code(fetches: Sequence[Fetch], missing: Sequence[Fetch]) -> int:
    if not missing:
        return 0
    if len(missing) == len(fetches) and all(
        isinstance(fetch.error, ConnectFailed) for fetch in missing
    ):
        return exit_code_of(ConnectFailed())
    return SOME_FAILED
