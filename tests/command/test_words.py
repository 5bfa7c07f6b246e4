from __future__ import annotations

import pytest

from biomaj_download.command.words import files_text, printable, size_text, speed_text, time_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, "?"), (0, "0 B"), (999, "999 B"), (1010, "1.0 kB"), (25_300_000, "25 MB")],
)
def test_sizes_are_short(size_bytes, text):
    assert size_text(size_bytes) == text


def test_the_largest_size_has_a_unit():
    assert size_text(5e18) == "5000 PB"
    assert speed_text(1.2e9) == "1.2 GB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.04, "0.0 s"), (12.4, "12 s"), (245, "4 min 5 s"), (7500, "2 h 5 min")],
)
def test_times_are_short(seconds, text):
    assert time_text(seconds) == text


def test_others_text_commands_no_terminal():
    assert printable("a\x1b[2Jb\n") == "a\\x1b[2Jb\\n"
    assert files_text(1) + files_text(2000) == "1 file2,000 files"
