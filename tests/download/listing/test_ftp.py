"""FTP listings: every form of row that servers send, and the dates they leave half said."""

from __future__ import annotations

import time
from datetime import date, datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomaj_download.download.listing.ftp import read_list, read_mlsd
from biomaj_download.errors import ListingError
from biomaj_download.job import Listing, RemoteFile

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


def at(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=timezone.utc)


def only(listing: Listing) -> RemoteFile:
    (entry,) = set(listing.files + listing.directories)
    return entry


def listed(line: str, now: datetime = NOW) -> RemoteFile:
    return only(read_list(line, now=now))


def names(entries: tuple[RemoteFile, ...]) -> list[str]:
    return [entry.name for entry in entries]


def test_a_unix_listing_is_read_to_files_and_directories():
    text = (
        "total 12\r\n"
        "drwxr-xr-x   2 ftp      anonymous     4096 Jun  4 12:35 .\r\n"
        "drwxr-xr-x   2 ftp      anonymous     4096 Jun  4 12:35 ..\r\n"
        "-rw-r--r--   1 ftp      anonymous 137831954826 Jun  4 12:35 nr.gz\r\n"
        "drwxr-xr-x   2 ftp      anonymous     4096 Jan  1  2020 release-110\r\n"
        "\r\n"
    )

    listing = read_list(text, now=NOW)

    (nr,) = listing.files
    assert nr == RemoteFile(
        name="nr.gz",
        size_bytes=137831954826,
        day=date(2026, 6, 4),
        modified_at=at(2026, 6, 4, 12, 35),
        hash=nr.hash,
        permissions="-rw-r--r--",
        user="ftp",
        group="anonymous",
    )
    (release,) = listing.directories
    assert (release.name, release.size_bytes) == ("release-110", None)
    assert (release.day, release.modified_at) == (date(2020, 1, 1), None)


@pytest.mark.parametrize(
    ("line", "name", "size_bytes", "day"),
    [
        ("-rw-r--r-- 1 ftp ftp 5 Jan 24 2023 a.gz", "a.gz", 5, date(2023, 1, 24)),
        ("-rw-r--r--+ 1 ftp ftp 5 Jan 24 2023 a.gz", "a.gz", 5, date(2023, 1, 24)),
        ("-rwsr-Sr-t. 1 ftp ftp 5 Jan 24 2023 a.gz", "a.gz", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 Domain Users Some Group 5 Jan 24 2023 a", "a", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 1000 5 Jan 24 2023 a", "a", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 5 Jan 24 2023 a", "a", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 24 Jan 2023 a", "a", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 January 24 2023 a", "a", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 Jan 24 07:45:10 a", "a", 5, date(2026, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 2023-01-24 07:45 a", "a", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 f f 5 2023-01-24 07:45:00.123 +0100 a", "a", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 Jan 24 2023 two words", "two words", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 Jan 24 2023  leading", " leading", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 Jan 24 2023 a -> b", "a -> b", 5, date(2023, 1, 24)),
        (
            "-rw-r--r-- 1 ftp ftp 5 Jan 24 2023 5 Jan 2 2022 b",
            "5 Jan 2 2022 b",
            5,
            date(2023, 1, 24),
        ),
        ("-rw-r--r-- 1 ftp ftp 5 Jan 24 2023 é漢.gz", "é漢.gz", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 Jan 24 2023 /pub/../up.gz", "up.gz", 5, date(2023, 1, 24)),
        ("-rw-r--r-- 1 ftp ftp 5 Dez 24 2023 a", "a", 5, None),
        ("-rw-r--r-- 1 ftp ftp 5 Feb 31 2023 a", "a", 5, None),
        ("-rw-r--r-- 1 ftp ftp 5 Feb 31 10:00 a", "a", 5, None),
        ("03-14-23  02:09PM   1234567 f.gz", "f.gz", 1234567, date(2023, 3, 14)),
        ("03-14-2023  02:09PM             1234567 f g.gz", "f g.gz", 1234567, date(2023, 3, 14)),
        ("03-14-98  14:09   1,234,567 f.gz", "f.gz", 1234567, date(1998, 3, 14)),
        ("2023-03-14  14:09   7 f.gz", "f.gz", 7, date(2023, 3, 14)),
        ("14-03-23  14:09   7 f.gz", "f.gz", 7, date(2023, 3, 14)),
        ("99-99-23  14:09   7 f.gz", "f.gz", 7, None),
    ],
)
def test_a_row_of_a_file_is_read_in_all_its_forms(line, name, size_bytes, day):
    file = listed(line)

    assert (file.name, file.size_bytes, file.day) == (name, size_bytes, day)
    assert read_list(line, now=NOW).directories == ()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("d--------- 0 Jun 4 12:35 data", "data"),
        ("drwxrwsr-t+ 2 ftp Domain Users 4096 Jan  1  2020 data", "data"),
        ("03-14-23  02:09PM       <DIR>          data", "data"),
        ("03-14-2023  02:09PM       <DIR>          my data", "my data"),
    ],
)
def test_a_row_of_a_directory_is_read_in_all_its_forms(line, name):
    listing = read_list(line, now=NOW)

    assert names(listing.directories) == [name]
    assert listing.files == ()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("lrwxrwxrwx 1 ftp ftp 11 Jan  1  2020 current -> release-110", "current"),
        ("lrwxrwxrwx 1 ftp ftp 11 Jan  1  2020 current", "current"),
        ("03-14-2023  02:09PM  <SYMLINKD>     current [C:\\release-110]", "current"),
        ("03-14-2023  02:09PM  <JUNCTION>     current [C:\\release-110]", "current"),
    ],
)
def test_a_link_counts_as_file_and_as_directory_and_has_no_size(line, name):
    listing = read_list(line, now=NOW)

    assert listing.files == listing.directories
    assert names(listing.files) == [name]
    assert listing.files[0].size_bytes is None


@pytest.mark.parametrize(
    ("now", "shown", "day"),
    [
        (at(2026, 11, 23), "Nov 22 10:00", date(2026, 11, 22)),
        (at(2026, 11, 23), "Nov 23 23:59", date(2026, 11, 23)),
        (at(2026, 11, 23), "Dec 24 10:00", date(2025, 12, 24)),
        (at(2027, 1, 1, 0, 5), "Dec 31 23:59", date(2026, 12, 31)),
        (at(2026, 12, 31, 23, 50), "Jan  1 08:00", date(2027, 1, 1)),
        (at(2026, 12, 31, 0, 0), "Jan  1 23:00", date(2026, 1, 1)),
        (at(2024, 2, 29, 12, 0), "Feb 29 11:00", date(2024, 2, 29)),
        (at(2024, 3, 1, 12, 0), "Feb 29 11:00", date(2024, 2, 29)),
        (at(2024, 2, 28, 20, 0), "Feb 29 01:00", date(2024, 2, 29)),
        (at(2025, 1, 15, 12, 0), "Feb 29 11:00", date(2024, 2, 29)),
        (at(2103, 3, 1, 12, 0), "Feb 29 11:00", date(2096, 2, 29)),
    ],
)
def test_a_row_without_a_year_is_of_the_latest_such_day(now, shown, day):
    assert listed(f"-rw-r--r-- 1 ftp ftp 5 {shown} a.gz", now).day == day


@pytest.mark.parametrize(
    ("shown", "hour"), [("12:09AM", 0), ("02:09AM", 2), ("12:09PM", 12), ("02:09pm", 14)]
)
def test_a_twelve_hour_clock_is_read(shown, hour):
    assert listed(f"03-14-23  {shown}  5 f.gz").modified_at == at(2023, 3, 14, hour, 9)


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_days_and_times_do_not_depend_on_the_zone_of_this_host(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        file = listed("-rw-r--r-- 1 ftp ftp 5 Jun  4 23:35 a.gz")
    finally:
        monkeypatch.undo()
        time.tzset()

    assert (file.day, file.modified_at) == (date(2026, 6, 4), at(2026, 6, 4, 23, 35))


def test_the_clock_dates_a_row_where_no_moment_is_given():
    today = datetime.now(timezone.utc)

    file = only(read_list(f"-rw-r--r-- 1 ftp ftp 5 {today:%b %d} 00:00 a.gz"))

    assert file.day == today.date()


def test_greetings_devices_and_unknown_rows_are_skipped():
    text = (
        "Welcome to the archive\n"
        "please use https\n"
        "brw-rw---- 1 root disk 8, 0 Jan 1 10:00 sda\n"
        "srwxrwxrwx 1 root root 0 Jan 1 10:00 socket\n"
        "-rw-r--r-- 1 ftp ftp 5 Jan 24 2023 a.gz\n"
        "drwxr-xr-x 1 ftp ftp 5 Jan 24 2023 bad\n"
    )

    listing = read_list(text, now=NOW)

    assert names(listing.files) == ["a.gz"]
    assert names(listing.directories) == ["bad"]


@pytest.mark.parametrize("text", ["", "\r\n", "total 0\r\n", "drwxr-xr-x 2 f f 6 Jan 1 2020 .\r\n"])
def test_an_empty_directory_is_an_empty_listing(text):
    assert read_list(text, now=NOW) == Listing()


@pytest.mark.parametrize("text", ["550 not here", "Welcome\r\n\r\nto us", "<html></html>"])
def test_a_text_without_a_single_row_is_refused(text):
    with pytest.raises(ListingError, match="expected the rows of an FTP listing, got"):
        read_list(text, now=NOW)
    with pytest.raises(ListingError, match="expected the rows of an FTP listing, got"):
        read_mlsd(text)


def test_the_hash_of_a_file_is_the_same_when_ls_begins_to_show_its_year():
    young = listed("-rw-r--r-- 1 ftp ftp 5 Jan 24 07:45 a.gz", at(2023, 2, 1))
    old = listed("-rw-r--r-- 3 ftp users 5 Jan 24  2023 a.gz", at(2024, 2, 1))

    assert young.hash == old.hash


@pytest.mark.parametrize(
    "other",
    [
        "-rw-r--r-- 1 ftp ftp 6 Jan 24  2023 a.gz",
        "-rw-r--r-- 1 ftp ftp 5 Jan 25  2023 a.gz",
        "-rw-r--r-- 1 ftp ftp 5 Jan 24  2023 b.gz",
    ],
)
def test_the_hash_of_another_file_is_another(other):
    assert listed("-rw-r--r-- 1 ftp ftp 5 Jan 24  2023 a.gz").hash != listed(other).hash


def test_an_mlsd_listing_is_read_to_files_and_directories():
    text = (
        "type=cdir;modify=20230124074500;UNIX.mode=0755; .\r\n"
        "type=pdir;modify=20230124074500;UNIX.mode=0755; ..\r\n"
        "type=file;size=12345;modify=20230124074500;UNIX.mode=0644;"
        "UNIX.owner=14;UNIX.group=50; a.gz\r\n"
        "Type=Dir;Modify=20230124074500.123;Perm=el; two words\r\n"
        "type=OS.unix=slink:release-110;size=11;modify=20230124074500;UNIX.mode=0777; current\r\n"
    )

    listing = read_mlsd(text)

    file, link = listing.files
    assert file == RemoteFile(
        name="a.gz",
        size_bytes=12345,
        day=date(2023, 1, 24),
        modified_at=at(2023, 1, 24, 7, 45),
        hash=file.hash,
        permissions="-rw-r--r--",
        user="14",
        group="50",
    )
    assert (link.name, link.size_bytes, link.permissions) == ("current", None, "lrwxrwxrwx")
    assert names(listing.directories) == ["two words", "current"]


@pytest.mark.parametrize(
    ("facts", "size_bytes", "day"),
    [
        ("type=file;", None, None),
        ("type=file;size=x;modify=x;", None, None),
        ("size=5;modify=20231301000000;", 5, None),
        ("type=file;size=5;modify=2023;UNIX.mode=9;", 5, None),
    ],
)
def test_an_mlsd_row_keeps_what_can_be_read(facts, size_bytes, day):
    file = only(read_mlsd(f"{facts} a.gz"))

    assert (file.name, file.size_bytes, file.day, file.permissions) == ("a.gz", size_bytes, day, "")


@pytest.mark.parametrize(
    ("rows", "row"),
    [
        (100_000, "-rw-r--r--   1 ftp anonymous {0} Jun  4 12:35 file{0}.gz"),
        (10_000, "03-14-2023  02:09PM   {0} file{0}.gz"),
    ],
)
def test_a_hundred_thousand_rows_are_read_in_seconds(rows, row):
    text = "\r\n".join(row.format(number) for number in range(rows))

    begun = time.monotonic()
    listing = read_list(text, now=NOW)

    assert len(listing.files) == rows
    assert time.monotonic() - begun < 10 * rows / 100_000


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["-rw-r--r--", "1", "ftp", "5", "Jan", "24", "2023", "7:45", "99:99", "->"])
        | st.text(max_size=3)
    )
)
def test_any_text_is_read_or_refused(words):
    text = " ".join(words)

    try:
        listing = read_list(text, now=NOW)
    except ListingError:
        return
    assert all("/" not in entry.name for entry in listing.files + listing.directories)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("type=OS.unix=slink:/x y;modify=20240101000000; l", "l"),
        ("type=file;size=3; a=b; c", "a=b; c"),
        ("type=file;size=3 a b", "a b"),
        ("type=file;size=3 foo; bar", "foo; bar"),
    ],
)
def test_facts_of_mlsd_end_where_the_name_begins(row, name):
    assert [file.name for file in read_mlsd(row).files] == [name]


def test_facts_that_may_be_links_are_read_in_time():
    """Of 24 such facts each could have fitted in two ways: 16 million in all."""
    text = "type=file;size=1; a\n" + "type=OS.unix=slink:a;" * 24 + "\n"
    begun_at = time.monotonic()

    assert names(read_mlsd(text).files) == ["a"]

    assert time.monotonic() - begun_at < 1
