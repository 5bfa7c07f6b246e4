"""A site's own `http.parse` expressions: what their groups mean, and how they fail."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from biomaj_download.download.listing.http import read_index
from biomaj_download.errors import OptionError
from biomaj_download.job import HttpPatterns, Listing

URL = "https://ftp.example.org/pub/bank/"
DAY = date(2017, 5, 4)
PAGE = (
    '<li>dir <a href="sub/">sub</a> 03-May-2017 10:00</li>\n'
    '<li>file <a href="a.gz">a.gz</a> 04-May-2017 20:42 2.3K</li>\n'
    '<li>file <a href="b%20c.gz">b c.gz</a> 04-May-2017 20:42 118</li>\n'
    '<li>file <a href="d.gz">d.gz</a> 04-May-2017 20:42 -</li>\n'
)
PATTERNS = HttpPatterns(
    dir_line=r'dir <a href="([^"]+)/">.*?</a> (\S+ \S+)</li>',
    file_line=r'file <a href="([^"]+)">.*?</a> (\d\S+ \S+) (\S+)</li>',
)


def read(patterns: HttpPatterns, page: str = PAGE) -> Listing:
    return read_index(page, url=URL, patterns=patterns)


def test_each_match_is_a_row_with_name_day_and_size():
    listing = read(PATTERNS)

    assert [
        (file.name, file.day, file.size_bytes, file.size_is_exact) for file in listing.files
    ] == [
        ("a.gz", DAY, 2355, False),
        ("b c.gz", DAY, 118, True),
        ("d.gz", DAY, None, True),
    ]
    assert [(entry.name, entry.day) for entry in listing.directories] == [("sub", date(2017, 5, 3))]


def test_groups_are_taken_by_their_numbers():
    swapped = replace(
        PATTERNS,
        file_line=r'<a href="(a|b)[^"]*">(\w+)\.gz</a> (\d\S+) \S+ (\S+)</li>',
        file_name=2,
        file_date=3,
        file_size=4,
    )

    (file,) = read(swapped).files

    assert (file.name, file.day, file.size_bytes) == ("a", DAY, 2355)


@pytest.mark.parametrize("absent", [-1, 0])
def test_a_group_below_one_is_not_in_the_page(absent):
    names_only = replace(
        PATTERNS,
        dir_line=r'dir <a href="([^"]+)">',
        file_line=r'file <a href="([^"]+)">',
        dir_date=absent,
        file_date=absent,
        file_size=absent,
    )

    listing = read(names_only)

    assert [(file.name, file.day, file.size_bytes) for file in listing.files] == [
        ("a.gz", None, None),
        ("b c.gz", None, None),
        ("d.gz", None, None),
    ]
    assert [entry.name for entry in listing.directories] == ["sub"]


def test_a_group_that_took_no_part_in_a_match_is_unknown():
    optional = replace(PATTERNS, file_line=r'href="([ad]\.gz)">.*? (\d\S+) (?:\S+ )(2.3K)?')

    assert [file.size_bytes for file in read(optional).files] == [2355, None]


@pytest.mark.parametrize("date_format", ["%d-%b-%Y %H:%M", "%%d-%%b-%%Y %%H:%%M"])
def test_a_date_format_may_carry_doubled_percent_signs(date_format):
    assert read(replace(PATTERNS, file_date_format=date_format)).files[0].day == DAY


def test_a_date_format_reads_what_no_other_rule_reads():
    odd = replace(PATTERNS, file_date_format="%d|%m|%y %H:%M")

    (file,) = read(odd, '<li>file <a href="a.gz">a</a> 04|05|17 20:42 5</li>').files

    assert file.day == DAY


def test_a_date_that_is_not_of_the_format_is_refused_with_both():
    with pytest.raises(OptionError, match=r"file\.date\.format: .*'04-May-2017 20:42', got '%Y'"):
        read(replace(PATTERNS, file_date_format="%%Y"))


def test_a_date_that_cannot_be_read_without_a_format_is_unknown():
    (file,) = read(PATTERNS, '<li>file <a href="a.gz">a</a> 99-Foo-2017 20:42 5</li>').files

    assert (file.name, file.day) == ("a.gz", None)


def test_a_page_without_a_match_is_an_empty_listing():
    assert read(PATTERNS, "<html>nothing</html>") == Listing()


@pytest.mark.parametrize(
    ("captured", "name"),
    [
        ("a&amp;b.gz", "a&b.gz"),
        ("./a.gz", "a.gz"),
        ("/pub/bank/a.gz", "a.gz"),
        ("..%2Fa.gz", "a.gz"),
    ],
)
def test_a_captured_name_is_decoded_and_cut_to_its_base_name(captured, name):
    (file,) = read(PATTERNS, f'<li>file <a href="{captured}">x</a> 04-May-2017 20:42 5</li>').files

    assert file.name == name


@pytest.mark.parametrize("captured", ["sub/", "..", ".", "%2e%2e", "a%00"])
def test_a_captured_name_that_is_no_file_is_left_out(captured):
    page = f'<li>file <a href="{captured}">x</a> 04-May-2017 20:42 5</li>'

    assert read(PATTERNS, page) == Listing()


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"file_line": "("}, "http.parse.file.line: expected a regular expression, got '('"),
        ({"dir_line": "[z-a]"}, "http.parse.dir.line: expected a regular expression"),
        ({"file_size": 7}, "http.parse.file.size: expected one of the 3 groups"),
        ({"dir_date": 3}, "http.parse.dir.date: expected one of the 2 groups"),
    ],
)
def test_a_wrong_expression_or_group_is_named(wrong, option):
    with pytest.raises(OptionError) as refused:
        read(replace(PATTERNS, **wrong))

    assert str(refused.value).startswith(option)
