"""The evaluator of expressions from messages: what it reads, and what it refuses."""

from __future__ import annotations

import ast
import operator
import time

import pytest

from biomaj_download.errors import OptionError
from biomaj_download.expression import LONGEST_TEXT, Vocabulary, evaluate

VOCABULARY = Vocabulary(
    names={"one": 1},
    functions={"total": lambda *numbers, extra=0: sum(numbers) + extra},
    operators={ast.Add: operator.add},
)


def accept(value: object) -> None:
    """Find every value right."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("one + 2", 3),
        (" total(1, 2.5) ", 3.5),
        ("total(1, extra=4)", 5),
        ("total(*[1, 2], 3)", 6),
        ("total(*([i for i in range(3)] + [9]))", 12),
        ("total(*(i for i in [1, 5]))", 6),
        ("[i + one for i in range(4) if i]", [2, 3, 4]),
    ],
)
def test_evaluate_reads_calls_lists_comprehensions_and_unpacking(text, value):
    assert evaluate(text, VOCABULARY, accept) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one +",
        "one; one",
        "one\none",
        "two",
        "total",
        "max(1, 2)",
        "list()",
        "int('3')",
        "rand()",
        "one.real",
        "total.__globals__",
        "().__class__.__mro__",
        "'a'.format(1)",
        "[1, 2][0]",
        "{'a': 1}",
        "f'{one}'",
        "lambda: 1",
        "(x := 1)",
        "__import__('os').system('true')",
        "import os",
        "1 if one else 2",
        "True",
        "None",
        "b'a'",
        "-1",
        "2 * 3",
        "one | one",
        "total(**{'extra': 1})",
        "total(*one)",
        "\0",
    ],
)
def test_evaluate_refuses_what_is_not_in_the_vocabulary(text):
    def check(value: object) -> None:
        if not isinstance(value, int):
            raise TypeError("no number")

    with pytest.raises(OptionError):
        evaluate(text, VOCABULARY, check)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "[9 for i in range(10**9)]",
        "total(*range(1000000000))",
        "total(*range(" + "9" * 30 + "))",
        "[0 for i in range(999) for j in range(999) for k in range(999)]",
        "[[0 for i in range(999)] for j in range(999)]",
        "[y + y for y in [x + x for x in [[one]]]]",
        "[" * 60 + "one" + "]" * 60 + "*" * 800,
        "(" * 500 + ")" * 500,
        "[" * 400 + "]" * 400,
        "not " * 240 + "one",
    ],
)
def test_evaluate_refuses_what_costs_too_much_and_does_so_at_once(text):
    begun = time.monotonic()

    with pytest.raises(OptionError):
        evaluate(text, VOCABULARY, accept)

    assert time.monotonic() - begun < 1


def test_evaluate_refuses_a_text_that_is_too_long():
    with pytest.raises(OptionError, match=f"longer than {LONGEST_TEXT}"):
        evaluate("one" + " " * LONGEST_TEXT, VOCABULARY, accept)


def test_evaluate_says_why_the_check_refused_a_value():
    def check(value: object) -> None:
        raise TypeError(f"{value} is wrong")

    with pytest.raises(OptionError, match="3 is wrong"):
        evaluate("one + 2", VOCABULARY, check)
