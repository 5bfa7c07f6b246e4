from __future__ import annotations

import pickle
import re

import pytest

from biomaj_download import errors
from biomaj_download.errors import (
    AccessDenied,
    ConnectFailed,
    DigestMismatch,
    DownloadError,
    SizeMismatch,
    TransferError,
    mapped,
)

EVERY_ERROR = [
    thing
    for thing in vars(errors).values()
    if isinstance(thing, type) and issubclass(thing, DownloadError)
]


def name_of(error):
    return error.__name__


def test_no_two_errors_share_a_code():
    codes = [error.code for error in EVERY_ERROR]

    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=name_of)
def test_a_code_is_fit_for_a_metric_label_and_an_address(error):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)


@pytest.mark.parametrize("error", EVERY_ERROR[1:], ids=name_of)
def test_the_tree_at_the_top_of_the_file_has_every_error(error):
    assert re.search(rf"\b{error.__name__}\b", errors.__doc__)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=name_of)
def test_what_is_never_retried_is_said_so_by_its_line_in_the_tree(error):
    is_on = re.compile(rf"\b{error.__name__}\b").search
    line = next((line for line in errors.__doc__.splitlines() if is_on(line)), "")

    said_of_all = line.endswith("  never retried")
    said_of_one = f"{error.__name__} (never retried)" in line
    assert (said_of_all or said_of_one) != error.retryable


@pytest.mark.parametrize(
    ("error", "old"),
    [
        (errors.OptionError, ValueError),
        (errors.OptionTypeError, TypeError),
        (errors.UnknownProtocol, ValueError),
    ],
)
def test_callers_of_the_old_package_catch_what_they_caught(error, old):
    assert issubclass(error, old)


def test_a_mismatch_tells_what_was_announced_and_what_came():
    wrong_size = SizeMismatch("a.gz", announced_bytes=10, received_bytes=9)
    wrong_digest = DigestMismatch("a.gz", announced="abc", received="def")

    assert str(wrong_size) == "a.gz: announced 10 bytes, received 9"
    assert str(wrong_digest) == "a.gz: announced abc, received def"


def test_a_librarys_error_becomes_ours_and_keeps_its_cause():
    cause = ConnectionResetError("reset")

    with (
        pytest.raises(ConnectFailed, match=r"a\.gz: reset") as ours,
        mapped({OSError: ConnectFailed}, subject="a.gz"),
    ):
        raise cause

    assert ours.value.__cause__ is cause


def test_a_librarys_error_without_a_text_is_named_by_its_kind():
    with (
        pytest.raises(ConnectFailed, match=r"a\.gz: ConnectionResetError"),
        mapped({OSError: ConnectFailed}, subject="a.gz"),
    ):
        raise ConnectionResetError


def test_the_first_line_that_fits_maps_a_librarys_error():
    with (
        pytest.raises(TransferError) as ours,
        mapped({ConnectionError: ConnectFailed, OSError: TransferError}, subject="a.gz"),
    ):
        raise ConnectionResetError

    assert type(ours.value) is ConnectFailed


def test_an_error_that_is_not_mapped_goes_on_as_it_is():
    with pytest.raises(KeyError), mapped({OSError: TransferError}, subject="a.gz"):
        raise KeyError("a.gz")


@pytest.mark.parametrize(
    "error",
    [
        DigestMismatch("a.dat", announced="md5:1", received="md5:2"),
        SizeMismatch("a.dat", announced_bytes=1, received_bytes=2),
        AccessDenied("a.dat: 403"),
    ],
)
def test_an_error_travels_between_processes(error):
    error.reply = 403

    there = pickle.loads(pickle.dumps(error))

    assert (type(there), str(there), there.reply) == (type(error), str(error), 403)
