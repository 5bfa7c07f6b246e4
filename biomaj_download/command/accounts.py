"""Accounts at servers: from the environment, else from ~/.netrc; never from the command line."""

from __future__ import annotations

import netrc
import os

from biomaj_download.errors import OptionError

CREDENTIALS_VARIABLE = "BIOMAJ_DOWNLOAD_CREDENTIALS"


def credentials_at(hostname: str, user: str | None = None) -> str | None:
    """Return the account for a host as `user:password`; None: there is none.

    `user`: the name that the address gives; its password may be empty, where a key logs in.

    Raises:
        OptionError: ~/.netrc cannot be read.
    """
    given = os.environ.get(CREDENTIALS_VARIABLE)
    if given:
        return given
    login, password = _of_netrc(hostname)
    if user is not None and user != login:
        return f"{user}:"
    return None if login is None else f"{login}:{password}"


def _of_netrc(hostname: str) -> tuple[str | None, str]:
    accounts = read_netrc()
    account = accounts.authenticators(hostname) if accounts else None
    if account is None:
        return None, ""
    return account[0], account[2] or ""


def read_netrc() -> netrc.netrc | None:
    """Read ~/.netrc; None: there is none.

    Raises:
        OptionError: it cannot be read.
    """
    try:
        return netrc.netrc()
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError as error:  # its text may hold a password
        raise OptionError(
            f"~/.netrc, line {error.lineno or 1}: expected `machine HOST login USER password"
            " PASSWORD`, in a file that nobody else may read (chmod 600 ~/.netrc)"
        ) from None
    except UnicodeDecodeError:  # its text is the file's
        raise OptionError("~/.netrc: expected UTF-8, got other bytes") from None
    except OSError as error:
        raise OptionError(f"~/.netrc: expected a readable file, got: {error}") from error
