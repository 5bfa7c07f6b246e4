"""The file of a secret in, the secret out.

A setting `password_file` beside `password` names a file that holds what `password` would. A name
that is no absolute path is looked for where systemd puts a service's credentials
(`$CREDENTIALS_DIRECTORY`, systemd.exec(5), LoadCredential=), else in the working directory.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Mapping
from pathlib import Path

from biomaj_download.errors import ConfigError

log = logging.getLogger("biomaj.download.settings")

#: No secret is longer: who names a databank's file by mistake is told so, and memory is kept.
_MOST_BYTES = 64 * 1024


def found_at(path: str | Path, environment: Mapping[str, str]) -> Path:
    """Return where a file that a setting names is looked for."""
    return Path(environment.get("CREDENTIALS_DIRECTORY") or "") / path


def read_secret(path: Path, *, setting: str) -> str:
    """Return what a file holds, without the line's end that editors put there.

    Warns of a file that every account of the host may read.

    Raises:
        ConfigError: the file is missing, unreadable, empty or no text; `setting` names it.
    """
    subject = f"{setting}: {path}: expected a file with a secret"
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a fifo would keep us waiting
            raise ConfigError(f"{subject}, got no regular file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{subject}, got: {error.strerror}") from error
    except UnicodeDecodeError:  # without its text, which shows what it could not read
        raise ConfigError(f"{subject}, got bytes that are no UTF-8 text") from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{subject}, got more than {_MOST_BYTES} bytes")
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ConfigError(f"{subject}, got an empty one")
    if is_open_to_all(path):
        log.warning("secret readable by all setting=%s file=%s: chmod o-r", setting, path)
    return secret


def is_open_to_all(path: Path) -> bool:
    """Say whether every account of the host may read a file."""
    return bool(path.stat().st_mode & stat.S_IROTH)
