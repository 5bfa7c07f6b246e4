"""Option rows: the values they read and how they refuse."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tenacity

from biomaj_download.download.options import (
    RETRY_OPTIONS,
    UNPACKING_OPTIONS,
    Option,
    one_of,
    parse_boolean,
    parse_count,
    parse_path,
    read_options,
)
from biomaj_download.errors import OptionError, OptionTypeError

ROWS = (
    Option("check", parse_boolean, default="true", help="Check."),
    Option("seconds", parse_count, default=0, help="Seconds."),
    Option("method", one_of("default", "nocwd"), default="default", help="Method."),
    Option("file", parse_path, default="~/known", help="File."),
    Option("certificate", parse_path, default=None, help="Certificate."),
)


def test_read_options_returns_every_default_where_nothing_is_given(monkeypatch):
    monkeypatch.setenv("HOME", "/home/biomaj")

    assert read_options(ROWS, {}) == {
        "check": True,
        "seconds": 0,
        "method": "default",
        "file": Path("/home/biomaj/known"),
        "certificate": None,
    }


def test_read_options_reads_texts_of_messages_and_values_of_python_callers():
    from_message = {"check": "0", "seconds": "60", "method": "NoCWD", "certificate": "/c.pem"}
    from_python = {"check": False, "seconds": 60, "method": "nocwd", "certificate": Path("/c.pem")}

    assert read_options(ROWS, from_message) == read_options(ROWS, from_python)
    assert read_options(ROWS, from_message)["certificate"] == Path("/c.pem")


@pytest.mark.parametrize(
    ("value", "boolean"),
    [
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("1", True),
        (True, True),
        (1, True),
        ("false", False),
        ("False", False),
        ("0", False),
        ("no", False),
        (False, False),
        (0, False),
    ],
)
def test_parse_boolean_reads_true_and_1_in_any_case(value, boolean):
    assert parse_boolean(value) is boolean


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("check", "maybe", "true, 1, false or 0"),
        ("check", "yes", "true, 1, false or 0"),
        ("check", "", "true, 1, false or 0"),
        ("check", None, "true, 1, false or 0"),
        ("check", 2, "true, 1, false or 0"),
        ("seconds", "a", "whole number"),
        ("seconds", "1.5", "whole number"),
        ("seconds", "-1", "from 0 upwards"),
        ("method", "x", "one of default, nocwd"),
        ("file", "", "a path"),
        ("file", "a\0b", "a path"),
        ("file", "~nobody-of-that-name/x", "a path"),
    ],
)
def test_a_wrong_value_is_refused_with_option_expectation_and_value(name, value, expected):
    with pytest.raises(OptionError) as refused:
        read_options(ROWS, {name: value})

    text = str(refused.value)
    assert text.startswith(f"{name}: expected ")
    assert expected in text
    assert repr(value) in text


@pytest.mark.parametrize(("name", "value"), [("seconds", 1.5), ("seconds", None), ("file", 3)])
def test_a_value_of_a_wrong_type_is_a_type_error(name, value):
    with pytest.raises(OptionTypeError, match=f"^{name}: expected"):
        read_options(ROWS, {name: value})


def test_unknown_options_are_ignored_and_named_in_the_debug_log(caplog):
    caplog.set_level(logging.DEBUG, logger="biomaj.download.options")

    values = read_options(ROWS, {"wait_condition": "x", "protocol": "y"})

    assert "wait_condition" not in values
    assert caplog.messages == ["ignored unknown_options=protocol,wait_condition"]


def test_retry_and_archive_rows_read_as_the_documentation_says():
    values = read_options(RETRY_OPTIONS + UNPACKING_OPTIONS, {"wait_policy": "wait_none"})

    assert values["stop_condition"].max_attempt_number == 3
    assert isinstance(values["wait_policy"], tenacity.wait_none)
    assert values["skip_check_uncompress"] is False


def test_a_wrong_stop_condition_names_its_option_and_its_type():
    with pytest.raises(OptionError, match=r"^stop_condition: expected a stop condition"):
        read_options(RETRY_OPTIONS, {"stop_condition": "stop_sometimes"})
    with pytest.raises(TypeError, match=r"^stop_condition: "):
        read_options(RETRY_OPTIONS, {"stop_condition": 3})
