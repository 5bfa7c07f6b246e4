"""Retry policies: their expressions, what they refuse, and what a retryer does with an error."""

from __future__ import annotations

import logging
import threading
import time

import pytest
import tenacity

from biomaj_download.errors import (
    ConnectFailed,
    OptionError,
    OptionTypeError,
    PublishError,
    RemoteFileMissing,
)
from biomaj_download.retry import parse_stop_condition, parse_wait_policy, retryer


class Failing:
    """A function that fails a given number of times, with a given error."""

    def __init__(self, error: BaseException, times: int = 10**6) -> None:
        self.error = error
        self.times = times
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "done"


@pytest.fixture
def sleeps(monkeypatch):
    """Seconds that retryers slept, in order; nobody really sleeps."""
    slept: list[float] = []
    monkeypatch.setattr(tenacity.nap.time, "sleep", slept.append)
    return slept


def waits(policy: str, attempts: int) -> list[float]:
    """Return the seconds a policy waits after each of the first attempts."""
    parsed = parse_wait_policy(policy)
    seconds = []
    for attempt_number in range(1, attempts + 1):
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = attempt_number
        seconds.append(parsed(state))
    return seconds


def attempts_until(stop_condition: object) -> int:
    """Return how often a function that always fails is called."""
    failing = Failing(ConnectFailed("no route"))
    with pytest.raises(ConnectFailed):
        retryer(stop_condition, "wait_none")(failing)
    return failing.calls


def test_retryer_tries_three_times_three_seconds_apart_by_default(sleeps):
    failing = Failing(ConnectFailed("no route"))

    with pytest.raises(ConnectFailed, match="no route"):
        retryer()(failing)

    assert failing.calls == 3
    assert sleeps == [3.0, 3.0]


@pytest.mark.parametrize(
    ("stop_condition", "attempts"),
    [
        ("stop_after_attempt(2)", 2),
        ("stop_after_attempt(max_attempt_number=4)", 4),
        ("stop_after_delay(0)", 1),
        ("stop_never | stop_after_attempt(2)", 2),
        ("stop_after_attempt(4) | stop_after_attempt(2)", 2),
        ("stop_after_attempt(4) & stop_after_attempt(2)", 4),
        ("stop_any(stop_never, stop_after_attempt(5))", 5),
        ("stop_all(stop_after_delay(0), stop_after_attempt(3))", 3),
        ("(stop_never & stop_after_attempt(1)) | stop_after_attempt(2)", 2),
        ("stop_any(*[stop_after_attempt(i) for i in range(2, 6)])", 2),
    ],
)
def test_stop_condition_ends_after_the_attempts_it_names(stop_condition, attempts):
    assert attempts_until(stop_condition) == attempts


def test_stop_never_goes_on_until_it_works():
    failing = Failing(ConnectFailed("no route"), times=50)

    assert retryer("stop_never", "wait_none")(failing) == "done"


@pytest.mark.parametrize(
    ("wait_policy", "seconds"),
    [
        ("wait_none", [0, 0]),
        ("wait_fixed(2)", [2, 2]),
        ('wait_fixed("2.5")', [2.5, 2.5]),
        ("wait_fixed(1) + wait_fixed(2)", [3, 3]),
        ("wait_combine(wait_fixed(1), wait_none, wait_fixed(4))", [5, 5]),
        ("wait_incrementing(start=1, increment=2, max=4)", [1, 3, 4]),
        ("wait_exponential(multiplier=1, min=2, max=8)", [2, 2, 4, 8, 8]),
        ("wait_chain(wait_fixed(1), wait_fixed(5))", [1, 5, 5]),
        ("wait_chain(*[wait_fixed(i) for i in [1, 5, 9]])", [1, 5, 9]),
        (
            "wait_chain(*([wait_fixed(3) for i in range(3)] + [wait_fixed(9)]))",
            [3, 3, 3, 9, 9],
        ),
    ],
)
def test_wait_policy_waits_as_it_says(wait_policy, seconds):
    assert waits(wait_policy, len(seconds)) == seconds


def test_random_waits_stay_within_their_bounds():
    drawn = waits("wait_random(min=1, max=2)", 50) + waits("wait_random(1, 2)", 50)
    exponential = waits("wait_random_exponential(multiplier=1, max=4)", 50)

    assert all(1 <= seconds <= 2 for seconds in drawn)
    assert len(set(drawn)) > 1
    assert all(0 <= seconds <= 4 for seconds in exponential)


@pytest.mark.parametrize(
    "stop_condition",
    [
        "",
        "3",
        "stop_never()",
        "stop_after_attempt",
        "stop_after_attempt(",
        "stop_after_attempt('a')",
        "stop_after_attempt('3')",
        "stop_after_attempt()",
        "stop_after_attempt(1e999)",
        "stop_when_event_set(3)",
        "stop_after_attempt(2) & 3",
        "stop_any(stop_after_attempt(1), 3)",
        "stop_after_attempt(1) + stop_after_attempt(2)",
        "wait_fixed(3)",
        "stop_after_attempt(9**9**9)",
        "stop_any(*[stop_never for i in range(100000)])",
        "[a | a for a in [b | b for b in [stop_never]]]",
        "stop_any(" * 150 + ")" * 150,
        "__import__('os')",
    ],
)
def test_a_wrong_stop_condition_is_refused_when_it_is_read(stop_condition):
    with pytest.raises(OptionError, match="stop_condition: expected a stop condition") as refused:
        retryer(stop_condition)

    assert "stop_after_delay()" in str(refused.value)
    assert repr(stop_condition)[:20] in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "wait_policy",
    [
        "",
        "5",
        "wait_none()",
        "wait_fixed('a')",
        "wait_fixed(-1)",
        "wait_fixed(1e999)",
        "wait_chain()",
        "wait_chain(wait_fixed(1), 3)",
        "wait_fixed(3) + 3",
        "wait_fixed(1) | wait_fixed(2)",
        "wait_exponential(multiplier='a')",
        "stop_never",
    ],
)
def test_a_wrong_wait_policy_is_refused_when_it_is_read(wait_policy):
    with pytest.raises(OptionError, match="wait_policy: expected a wait policy") as refused:
        retryer(wait_policy=wait_policy)

    assert "wait_random_exponential()" in str(refused.value)


@pytest.mark.parametrize("value", [3, None, b"stop_never", tenacity.stop_after_attempt])
def test_a_value_that_is_neither_text_nor_policy_is_a_type_error(value):
    with pytest.raises(OptionTypeError, match="stop_condition"):
        retryer(stop_condition=value)
    with pytest.raises(TypeError, match="wait_policy"):
        retryer(wait_policy=value)


def test_python_callers_pass_tenacity_objects_and_callables(sleeps):
    event = threading.Event()
    event.set()

    assert attempts_until(tenacity.stop_when_event_set(event)) == 1
    assert attempts_until(tenacity.stop_after_attempt(2) | tenacity.stop_never) == 2
    assert attempts_until(lambda state: state.attempt_number == 4) == 4
    with pytest.raises(ConnectFailed):
        retryer("stop_after_attempt(2)", tenacity.wait_fixed(7))(Failing(ConnectFailed("x")))
    assert 7.0 in sleeps


def test_retryer_gives_up_at_once_on_an_error_that_cannot_heal():
    failing = Failing(PublishError("disk full"))

    with pytest.raises(PublishError, match="disk full"):
        retryer("stop_never", "wait_none")(failing)

    assert failing.calls == 1


@pytest.mark.parametrize("error", [RemoteFileMissing("404"), OSError("foreign"), KeyError("x")])
def test_retryer_retries_permanent_and_foreign_errors(error):
    failing = Failing(error)

    with pytest.raises(type(error)) as raised:
        retryer("stop_after_attempt(3)", "wait_none")(failing)

    assert raised.value is error
    assert failing.calls == 3


def test_retryer_never_retries_an_interrupt():
    failing = Failing(KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        retryer("stop_never", "wait_none")(failing)

    assert failing.calls == 1


def test_retryer_logs_a_warning_for_each_retry(caplog):
    caplog.set_level(logging.WARNING, logger="biomaj.download.retry")

    retryer("stop_after_attempt(3)", "wait_none")(Failing(ConnectFailed("ftp.x: no"), times=2))

    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "retrying failed_attempts=1 wait_seconds=0.0 code=connect-failed error=ftp.x: no",
        "retrying failed_attempts=2 wait_seconds=0.0 code=connect-failed error=ftp.x: no",
    ]


def test_retryer_keeps_the_statistics_of_each_calling_thread_apart():
    shared = retryer("stop_after_attempt(3)", "wait_none")
    seen: dict[int, int] = {}

    def call(failures: int) -> None:
        shared(Failing(ConnectFailed("x"), times=failures))
        seen[failures] = shared.statistics["attempt_number"]

    threads = [threading.Thread(target=call, args=(failures,)) for failures in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {0: 1, 1: 2, 2: 3}
    assert shared.statistics.get("attempt_number") is None


def test_a_policy_text_is_read_once_and_then_cheap():
    parse_stop_condition("stop_after_attempt(11)")

    begun = time.monotonic()
    policies = {id(parse_stop_condition("stop_after_attempt(11)")) for _ in range(1000)}

    assert len(policies) == 1
    assert time.monotonic() - begun < 0.5
