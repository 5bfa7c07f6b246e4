"""Read a bank's retry policy: text or tenacity objects in, a `tenacity.Retrying` out.

A policy in a message is an expression (`stop_after_attempt(3) | stop_after_delay(60)`). It is
evaluated with the names of the policies and nothing else, and tried once: a wrong one fails here,
not after the first lost connection.
"""

from __future__ import annotations

import ast
import logging
import math
import operator
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias

import tenacity
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from biomaj_download.errors import DownloadError, OptionError, OptionTypeError
from biomaj_download.expression import Vocabulary, evaluate

log = logging.getLogger("biomaj.download.retry")

RETRY_RECORD = "retrying failed_attempts=%d wait_seconds=%.1f code=%s error=%s"

StopCondition: TypeAlias = stop_base | Callable[[tenacity.RetryCallState], bool]
WaitPolicy: TypeAlias = wait_base | Callable[[tenacity.RetryCallState], float]

DEFAULT_STOP_CONDITION = "stop_after_attempt(3)"
DEFAULT_WAIT_POLICY = "wait_fixed(3)"

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 120


@dataclass(frozen=True, kw_only=True, eq=False)
class _Policies:
    """One kind of policy: its class, the names for it, and how one is tried."""

    kind: str
    example: str
    base: type[Any]
    vocabulary: Vocabulary
    attempt: Callable[[Any], None]


def _with_numbers(function: Callable[..., Any], *numbers: Any, **named: Any) -> Any:
    for number in (*numbers, *named.values()):
        if not 0 <= float(number) < math.inf:
            raise ValueError(f"{function.__name__} takes numbers from 0 upwards, not {number!r}")
    return function(*numbers, **named)


def _with_policies(function: Callable[..., Any], base: type[Any], *policies: Any) -> Any:
    for policy in policies:
        if not isinstance(policy, base):
            raise TypeError(f"{_short.repr(policy)} cannot be combined")
    return function(*policies)


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, list) and isinstance(right, list):
        return left + right
    return _with_policies(operator.add, wait_base, left, right)


def _failed_state(attempt_number: int) -> tenacity.RetryCallState:
    """Return what a policy is shown after a failed attempt."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt_number
    error = DownloadError("made up")
    state.set_exception((type(error), error, None))
    return state


def _try_stop(policy: stop_base) -> None:
    for attempt_number in (1, 2):
        policy(_failed_state(attempt_number))


def _try_wait(policy: wait_base) -> None:
    for attempt_number in (1, 2):
        seconds = policy(_failed_state(attempt_number))
        if not 0 <= seconds < math.inf:
            raise ValueError(f"it would wait {seconds} seconds")


_STOP = _Policies(
    kind="stop condition",
    example="stop_after_attempt(3) | stop_after_delay(60)",
    base=stop_base,
    vocabulary=Vocabulary(
        names={"stop_never": tenacity.stop_never},
        functions={
            "stop_after_attempt": partial(_with_numbers, tenacity.stop_after_attempt),
            "stop_after_delay": partial(_with_numbers, tenacity.stop_after_delay),
            "stop_when_event_set": tenacity.stop_when_event_set,
            "stop_all": partial(_with_policies, tenacity.stop_all, stop_base),
            "stop_any": partial(_with_policies, tenacity.stop_any, stop_base),
        },
        operators={
            ast.BitOr: partial(_with_policies, operator.or_, stop_base),
            ast.BitAnd: partial(_with_policies, operator.and_, stop_base),
        },
    ),
    attempt=_try_stop,
)
_WAIT = _Policies(
    kind="wait policy",
    example="wait_fixed(3) + wait_random(0, 2)",
    base=wait_base,
    vocabulary=Vocabulary(
        names={"wait_none": tenacity.wait_none()},
        functions={
            "wait_fixed": partial(_with_numbers, tenacity.wait_fixed),
            "wait_random": partial(_with_numbers, tenacity.wait_random),
            "wait_incrementing": partial(_with_numbers, tenacity.wait_incrementing),
            "wait_exponential": partial(_with_numbers, tenacity.wait_exponential),
            "wait_random_exponential": partial(_with_numbers, tenacity.wait_random_exponential),
            "wait_combine": partial(_with_policies, tenacity.wait_combine, wait_base),
            "wait_chain": partial(_with_policies, tenacity.wait_chain, wait_base),
        },
        operators={ast.Add: _add},
    ),
    attempt=_try_wait,
)


def parse_stop_condition(value: object) -> StopCondition:
    """Read a stop condition: an expression, or a tenacity object as it is.

    Raises:
        OptionTypeError: neither text nor a stop condition.
        OptionError: the expression is none, or is too long or too costly.
    """
    return _parse(value, _STOP)  # type: ignore[no-any-return]


def parse_wait_policy(value: object) -> WaitPolicy:
    """Read a wait policy: an expression, or a tenacity object as it is.

    Raises:
        OptionTypeError: neither text nor a wait policy.
        OptionError: the expression is none, or is too long or too costly.
    """
    return _parse(value, _WAIT)  # type: ignore[no-any-return]


def _parse(value: object, policies: _Policies) -> Any:
    if isinstance(value, str):
        try:
            return _evaluate(value, policies)
        except OptionError as error:
            raise OptionError(_refusal(policies, value, str(error))) from error
    if isinstance(value, policies.base) or (callable(value) and not isinstance(value, type)):
        return value
    raise OptionTypeError(_refusal(policies, value, f"of type {type(value).__name__}"))


@lru_cache(maxsize=256)
def _evaluate(text: str, policies: _Policies) -> Any:
    """Build a policy; all messages of a bank bring the same text, and policies keep no state."""

    def check(policy: Any) -> None:
        if not isinstance(policy, policies.base):
            raise TypeError(f"this is no {policies.kind}")
        policies.attempt(policy)

    return evaluate(text, policies.vocabulary, check)


def _refusal(policies: _Policies, value: object, reason: str) -> str:
    vocabulary = policies.vocabulary
    known = ", ".join((*vocabulary.names, *(f"{name}()" for name in vocabulary.functions)))
    return (
        f"expected a {policies.kind} such as {policies.example}, made of {known}; "
        f"got {_short.repr(value)}: {reason}"
    )


@contextmanager
def option_named(name: str) -> Iterator[None]:
    """Put the option's name before the text of an error about its value."""
    try:
        yield
    except OptionError as error:
        raise type(error)(f"{name}: {error}") from error


def retryer(
    stop_condition: object = DEFAULT_STOP_CONDITION,
    wait_policy: object = DEFAULT_WAIT_POLICY,
    *,
    retries_permanent: bool = True,
    sleep: Callable[[float], None] = tenacity.nap.sleep,
) -> tenacity.Retrying:
    """Return what calls a function until it succeeds or the stop condition holds.

    `sleep` waits between two attempts; it may return earlier.

    The last error comes out as it is; one that is not `retryable` comes out at once, and so does
    a `permanent` one, unless `retries_permanent`.

    Raises:
        OptionError: an argument is no policy; the text names it.
    """
    with option_named("stop_condition"):
        stop = parse_stop_condition(stop_condition)
    with option_named("wait_policy"):
        wait = parse_wait_policy(wait_policy)
    return tenacity.Retrying(
        stop=stop,
        wait=wait,
        sleep=sleep,
        retry=tenacity.retry_if_exception(_may_heal if retries_permanent else _may_soon_heal),
        before_sleep=_log_retry,
        reraise=True,
    )


def _may_heal(error: BaseException) -> bool:
    if isinstance(error, DownloadError):
        return error.retryable
    return isinstance(error, Exception)


def _may_soon_heal(error: BaseException) -> bool:
    return _may_heal(error) and not getattr(error, "permanent", False)


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        RETRY_RECORD,
        state.attempt_number,
        state.upcoming_sleep,
        getattr(error, "code", type(error).__name__),
        error,
    )
