"""What is fuzzed: each takes any bytes, and raises nothing but the errors of its room.

An error that is none of ours, a hang, or a memory that fills up is a find.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from biomaj_download.checksums import read_checksums
from biomaj_download.download.expressions import MatchTime, compile_expression
from biomaj_download.download.listing.bounds import Bounds
from biomaj_download.download.listing.ftp import read_list, read_mlsd
from biomaj_download.download.listing.http import check_whole, read_index
from biomaj_download.download.listing.rsync import read_rsync_list
from biomaj_download.download.protocolirods import _digest
from biomaj_download.errors import DownloadError
from biomaj_download.job import HttpPatterns
from biomaj_download.message.codec import decode, decode_file_list
from biomaj_download.message.survey import survey
from biomaj_download.retry import parse_stop_condition, parse_wait_policy
from biomaj_download.transfer.answer import Answer
from biomaj_download.transfer.request import TransferRequest

_URL = "http://host/pub/"
#: A bank's expressions may be endless: the more of them are tried, the less time each has.
MATCH_SECONDS = 0.1
_BOUNDS = Bounds(match_seconds=MATCH_SECONDS)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def ftp_list(data: bytes) -> None:
    """LIST."""
    read_list(_text(data))


def ftp_mlsd(data: bytes) -> None:
    """MLSD."""
    read_mlsd(_text(data))


def http_index(data: bytes) -> None:
    """A page of a web server, HTML or JSON."""
    page = _text(data)
    with suppress(DownloadError):
        check_whole(page, url=_URL)
    read_index(page, url=_URL)


def http_patterns(data: bytes) -> None:
    """A page, and the expressions of a bank: three lines of them, and of the date's format."""
    file_line, dir_line, date_format, page = (_text(data).split("\n", 3) + [""] * 4)[:4]
    patterns = HttpPatterns(
        dir_line=dir_line,
        file_line=file_line,
        file_date_format=date_format,
        file_size=-1,
        file_date=1,
        dir_date=-1,
    )
    read_index(page, url=_URL, patterns=patterns, bounds=_BOUNDS)


def expressions(data: bytes) -> None:
    """A pattern of `remote.files` and, after a newline, a name."""
    pattern, _, name = _text(data).partition("\n")
    with suppress(ValueError):
        MatchTime(MATCH_SECONDS).taken(compile_expression(pattern), [name], str)


def rsync_list(data: bytes) -> None:
    """What rsync prints."""
    read_rsync_list(_text(data))


def checksum_file(data: bytes) -> None:
    """A checksum file or a Metalink."""
    read_checksums(_text(data), subject="a")


def message(data: bytes) -> None:
    """A message, and a list of files."""
    survey(data, most_records=10_000)
    with suppress(DownloadError):
        decode_file_list(data)
    decode(data)


def policies(data: bytes) -> None:
    """A bank's retry expressions."""
    text = _text(data)
    with suppress(DownloadError):
        parse_stop_condition(text)
    parse_wait_policy(text)


def answer_head(data: bytes) -> None:
    """The lines of an HTTP answer's head, or of FTP's replies."""
    answer = Answer(TransferRequest(url=_URL))
    for line in data.splitlines(keepends=True):
        answer.look(line)
    answer.range()
    answer.validators()
    answer.is_encoded()


def irods_checksum(data: bytes) -> None:
    """The checksum that an iRODS catalogue tells."""
    _digest(_text(data))


TARGETS: tuple[Callable[[bytes], None], ...] = (
    answer_head,
    checksum_file,
    expressions,
    ftp_list,
    ftp_mlsd,
    http_index,
    http_patterns,
    irods_checksum,
    message,
    policies,
    rsync_list,
)


def run(target: Callable[[bytes], None], data: bytes) -> None:
    """Give a target its bytes; its room's errors are what it may raise."""
    with suppress(DownloadError):
        target(data)
