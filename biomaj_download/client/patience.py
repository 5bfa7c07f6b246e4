"""How the client bears servers that are away: some tries, or some minutes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
)
from tenacity.stop import stop_base

from biomaj_download.errors import BrokerError, ServiceError

log = logging.getLogger("biomaj.download.client")

Answer = TypeVar("Answer")

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 10.0

#: Files on their way are not given up while a server restarts or a site's network is repaired.
PATIENCE_SECONDS = 600.0


def insist(tries: int, ask: Callable[[], Answer]) -> Answer:
    """Return what a server answers, at one of a few tries.

    Raises:
        ServiceError, BrokerError: of the last try.
    """
    return _ask_again(stop_after_attempt(tries), ask)


def bear(ask: Callable[[], Answer]) -> Answer:
    """Return what a server answers, even if it is away for some minutes.

    Raises:
        ServiceError, BrokerError: it was away for longer.
    """
    return _ask_again(stop_after_delay(PATIENCE_SECONDS), ask)


def _ask_again(stop: stop_base, ask: Callable[[], Answer]) -> Answer:
    return Retrying(
        retry=retry_if_exception_type((ServiceError, BrokerError)),
        wait=wait_exponential(FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
        stop=stop,
        before_sleep=_tell_once,
        reraise=True,
    )(ask)


def _tell_once(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        log.warning("server away, asking again: %s", state.outcome.exception())
