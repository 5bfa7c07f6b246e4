"""Options of a bank: rows that say what may be set, and the reader that obeys them.

In: what a message or a Python caller gives (`{"tcp_keepalive": "60"}`).  Out: a value per row.
A downloader class holds the rows it obeys; README and the command line are made from them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biomaj_download.archives import MOST_SECONDS
from biomaj_download.checksums import checked_digest
from biomaj_download.errors import OptionError, OptionTypeError
from biomaj_download.retry import (
    DEFAULT_STOP_CONDITION,
    DEFAULT_WAIT_POLICY,
    option_named,
    parse_stop_condition,
    parse_wait_policy,
)

log = logging.getLogger("biomaj.download.options")

#: "yes" is missing on purpose: up to 3.2 it meant false, so it is refused rather than guessed.
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True)
class Option:
    """One option: its name, the parser of its value, and what holds where a bank is silent.

    `default` is written as a bank would write it; None: no value. `parse` raises `OptionError`
    with the expectation and the value; the name is put before it.
    """

    name: str
    parse: Callable[[Any], Any]
    default: str | int | bool | None
    help: str

    def read(self, value: object) -> Any:
        """Return the parsed value.

        Raises:
            OptionError: the value is wrong; the text names option, expectation and value.
        """
        with option_named(self.name):
            return self.parse(value)

    def read_default(self) -> Any:
        """Return the value for a bank that sets none."""
        return None if self.default is None else self.read(self.default)


def read_options(rows: Iterable[Option], given: Mapping[str, object]) -> dict[str, Any]:
    """Return the value of every row, given or default; options without a row are ignored.

    Raises:
        OptionError: a given value is wrong.
    """
    known = {row.name: row for row in rows}
    unknown = sorted(set(given) - set(known))
    if unknown:
        log.debug("ignored unknown_options=%s", ",".join(unknown))
    return {
        name: row.read(given[name]) if name in given else row.read_default()
        for name, row in known.items()
    }


def parse_boolean(value: object) -> bool:
    """Read true or 1, false or 0, in any case."""
    boolean = _BOOLEANS.get(str(value).strip().lower())
    if boolean is None:
        raise OptionError(f"expected true, 1, false or 0, got {value!r}")
    return boolean


def parse_count(value: object) -> int:
    """Read a whole number from 0 upwards."""
    if not isinstance(value, str | int):
        raise OptionTypeError(f"expected a whole number, got {value!r}")
    try:
        count = int(value)
    except ValueError as error:
        raise OptionError(f"expected a whole number, got {value!r}") from error
    if count < 0:
        raise OptionError(f"expected a number from 0 upwards, got {value!r}")
    return count


def parse_positive(value: object) -> int:
    """Read a whole number from 1 upwards."""
    count = parse_count(value)
    if count < 1:
        raise OptionError(f"expected a number from 1 upwards, got {value!r}")
    return count


def parse_path(value: object) -> Path:
    """Read the path of a file on this host; `~` is the home directory."""
    if not isinstance(value, str | Path):
        raise OptionTypeError(f"expected a path, got {value!r}")
    if not str(value).strip() or "\0" in str(value):
        raise OptionError(f"expected a path, got {value!r}")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise OptionError(f"expected a path, got {value!r}: {error}") from error


def one_of(*choices: str) -> Callable[[object], str]:
    """Return a parser that reads one of these words, in any case."""

    def parse(value: object) -> str:
        word = str(value).strip().lower()
        if word not in choices:
            raise OptionError(f"expected one of {', '.join(choices)}, got {value!r}")
        return word

    return parse


def parse_checksum(value: object) -> tuple[str, str]:
    """Read `algorithm:digest`, such as `md5:b1946ac92492d2347c6235b4d2611184`."""
    algorithm, _, digest = str(value).strip().lower().partition(":")
    algorithm = algorithm.replace("-", "")
    try:
        return algorithm, checked_digest(algorithm, digest.strip())
    except ValueError as error:
        raise OptionError(f"expected ALGORITHM:DIGEST, {error}, got {value!r}") from error


RETRY_OPTIONS = (
    Option(
        "stop_condition",
        parse_stop_condition,
        default=DEFAULT_STOP_CONDITION,
        help="When to give up: stop_after_attempt(3) | stop_after_delay(60), stop_never, ...",
    ),
    Option(
        "wait_policy",
        parse_wait_policy,
        default=DEFAULT_WAIT_POLICY,
        help="How long to wait between attempts: wait_fixed(3) + wait_random(0, 2), wait_none, ...",
    ),
    Option(
        "retry_permanent",
        parse_boolean,
        default="true",
        help="false: give up at once where a further attempt will hardly help (no such file).",
    ),
)
UNPACKING_OPTIONS = (
    Option(
        "skip_check_uncompress",
        parse_boolean,
        default="false",
        help="true: do not test that compressed files and archives unpack.",
    ),
    Option(
        "check_uncompress_seconds",
        parse_count,
        default=MOST_SECONDS,
        help="Seconds of the processor that this test may take of one file, which is refused then; "
        "0: any number.",
    ),
    Option(
        "check_content",
        parse_boolean,
        default="true",
        help="false: take compressed files and archives that do not begin as such, and HTML pages "
        "in place of other files.",
    ),
)
CHECKSUM_OPTION = Option(
    "checksum",
    parse_checksum,
    default=None,
    help="The digest of the bank's one file: md5:..., sha1:..., sha256:... or sha512:....",
)
CHECKSUM_OPTIONS = (
    CHECKSUM_OPTION,
    Option(
        "verify",
        one_of("require", "if_available", "off"),
        default="if_available",
        help="Whether files are held against their publisher's checksums; require: one without "
        "any is an error; off: none is looked for.",
    ),
)
CONNECTION_OPTIONS = (
    Option(
        "connect_timeout",
        parse_positive,
        default=None,
        help="Seconds that a connection may take to be made; "
        "unset: `transfer.connect_timeout_seconds`.",
    ),
    Option(
        "low_speed_time",
        parse_count,
        default=None,
        help="Seconds after which a transfer that stalls or is slow is given up, 0: never; "
        "unset: `transfer.low_speed_seconds`.",
    ),
    Option(
        "max_connections",
        parse_positive,
        default=None,
        help="Connections to the bank's server at once, in each process of the consumer; "
        "never more than the configuration allows.",
    ),
)
#: As OpenSSH has it.
USUAL_HOSTS_FILE = "~/.ssh/known_hosts"
SSH_OPTIONS = (
    Option(
        "ssh_hosts_file",
        parse_path,
        default=USUAL_HOSTS_FILE,
        help="File with the keys of the SSH servers that are trusted.",
    ),
    Option(
        "ssh_new_host",
        one_of("reject", "accept", "add"),
        default="reject",
        help="What to do with an SSH server whose key is not known; another key is always refused. "
        "A service adds to the usual file alone, or to one below `ssh` in `storage.state_dir`.",
    ),
    Option(
        "ssh_key_file",
        parse_path,
        default=None,
        help="File with the private key to log in with; else the agent's, or the usual ones.",
    ),
)
TLS_OPTIONS = (
    Option(
        "ssl_verifyhost",
        parse_boolean,
        default="true",
        help="false: accept a certificate made out for another host.",
    ),
    Option(
        "ssl_verifypeer",
        parse_boolean,
        default="true",
        help="false: accept a certificate that no known authority has signed.",
    ),
    Option(
        "ssl_server_cert",
        parse_path,
        default=None,
        help="File with the certificates (PEM) that are trusted instead of the host's own.",
    ),
)
IRODS_OPTIONS = (
    Option(
        "irods_authentication",
        one_of("native", "pam_password"),
        default="native",
        help="How iRODS is logged in to; pam_password goes by TLS only.",
    ),
    Option(
        "irods_tls",
        parse_boolean,
        default="false",
        help="true: speak to iRODS by TLS.",
    ),
)
