"""Evaluate an expression from a message: text and a vocabulary in, a value out.

simpleeval evaluates; this room narrows it to calls, lists, comprehensions over numbers and the
vocabulary's operators, adds `*` in calls, and refuses what is too long or too costly.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simpleeval import (  # type: ignore[import-untyped]  # simpleeval ships no types
    EvalWithCompoundTypes,
    FeatureNotAvailable,
    InvalidExpression,
)

from biomaj_download.errors import OptionError

#: A longer text is refused unread.
LONGEST_TEXT = 1000
#: Evaluation steps after which an expression is refused; the longest sensible one needs hundreds.
MOST_STEPS = 10_000
#: Longest `range` in a comprehension.
LONGEST_RANGE = 1000

#: All that an expression may be made of: no attributes, no subscripts, no lambdas.
_SYNTAX = (
    ast.BinOp,
    ast.Call,
    ast.Constant,
    ast.GeneratorExp,
    ast.List,
    ast.ListComp,
    ast.Name,
    ast.keyword,
)
#: What an expression from outside can make simpleeval, the parser or a function raise.
_REFUSALS = (
    ArithmeticError,
    AttributeError,
    InvalidExpression,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """All that an expression may name, besides `range` in comprehensions."""

    names: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]
    operators: Mapping[type[ast.operator], Callable[..., Any]]


def evaluate(text: str, vocabulary: Vocabulary, check: Callable[[Any], None]) -> Any:
    """Return the value of an expression, once `check` found it right.

    Raises:
        OptionError: the text is no such expression, is too long or too costly, or `check` raised.
    """
    if len(text) > LONGEST_TEXT:
        raise OptionError(f"longer than {LONGEST_TEXT} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        value = _Evaluator(vocabulary).eval(text, previously_parsed=tree.body)
        check(value)
    except _REFUSALS as error:
        raise OptionError(str(error) or type(error).__name__) from error
    return value


def _bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > LONGEST_RANGE:
        raise ValueError(f"range() of more than {LONGEST_RANGE} numbers")
    return numbers


class _Evaluator(EvalWithCompoundTypes):  # type: ignore[misc]  # simpleeval ships no types
    """simpleeval with one vocabulary, `*` in calls, and a budget of steps; good for one text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(operators=dict(vocabulary.operators), names=dict(vocabulary.names))
        self.functions = {"range": _bounded_range, **vocabulary.functions}
        self.steps = 0
        handlers: dict[type[ast.AST], Callable[[Any], Any]] = {
            **self.nodes,
            ast.BinOp: self._operation,
            ast.Call: self._call,
            ast.Constant: self._constant,
            ast.GeneratorExp: self._comprehension,
            ast.ListComp: self._comprehension,
        }
        self.nodes: dict[type[ast.AST], Callable[[Any], Any]] = {
            syntax: handlers[syntax] for syntax in _SYNTAX
        }

    def _eval(self, node: ast.AST) -> Any:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise FeatureNotAvailable(f"it takes more than {MOST_STEPS} steps")
        return super()._eval(node)

    def _operation(self, node: ast.BinOp) -> Any:
        if type(node.op) not in self.operators:
            raise FeatureNotAvailable(f"no operator {type(node.op).__name__} here")
        return self._eval_binop(node)

    def _call(self, node: ast.Call) -> Any:
        """Call a function: simpleeval unpacks `*` in lists but not in calls, so read one."""
        if not isinstance(node.func, ast.Name) or node.func.id not in self.functions:
            raise FeatureNotAvailable(f"{ast.unparse(node.func)} is none of the functions")
        arguments = self._eval_list(ast.List(elts=node.args))
        return self.functions[node.func.id](*arguments, **dict(map(self._eval, node.keywords)))

    def _constant(self, node: ast.Constant) -> Any:
        if type(node.value) not in (int, float, str):
            raise FeatureNotAvailable(f"{node.value!r} is no number")
        return node.value

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> Any:
        """Run over numbers only: a policy named twice, nested, would grow without a bound."""
        if not all(_is_numbers(generator.iter) for generator in node.generators):
            raise FeatureNotAvailable("a comprehension runs over range() or a list of numbers")
        return self._eval_comprehension(node)


def _is_numbers(source: ast.expr) -> bool:
    if isinstance(source, ast.List):
        return all(isinstance(element, ast.Constant) for element in source.elts)
    return isinstance(source, ast.Call) and ast.unparse(source.func) == "range"
