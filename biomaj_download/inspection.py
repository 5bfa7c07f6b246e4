"""A dead letter in, what an operator may read of it out: plain values for JSON, and no secret.

A secret is known by the name that it goes by, or by its place in a URL. Where in doubt, it is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf import json_format

from biomaj_download.broker.dead import DeadLetter
from biomaj_download.message.codec import LIMITS, UnreadableMessage, read_operation
from biomaj_download.settings import MessageSettings

#: So many of a message's file names are listed, and their whole number.
MOST_FILE_NAMES = 100

#: So much is shown of a message that cannot be decoded.
FIRST_BYTES = 64

HIDDEN = "***"

#: Names of options, parameters, headers and fields whose values are nobody's business. A PROCESS
#: message holds a command line (`exec`).
_SECRET_NAMES = re.compile(
    r"credential|passw|passphrase|pwd|secret|token|key|auth$|authorization|^(exec|pass|pw)$",
    re.IGNORECASE,
)

#: Fields that hold a host, which an account may stand before, without a scheme.
_HOSTS = ("proxy", "server")

#: Fields that hold regular expressions, where `?` and `=` begin no query.
_PATTERNS = ("dir_line", "file_line", "matches")

#: As far as the last `@`: a password may hold one, or a `/`, that should have been encoded.
_WORD = re.compile(r"\S+")


def summary(letter: DeadLetter, limits: MessageSettings = LIMITS) -> dict[str, Any]:
    """Return what is listed of a letter; None where the message does not tell.

    `limits`: a message that goes beyond them is not decoded.
    """
    message = _decoded(letter.body, limits) or {}
    download = message.get("download", {})
    remote = download.get("remote_file", {})
    names = [file.get("name") for file in remote.get("files", ())]
    return _frame(letter) | {
        "type": message.get("type"),
        "bank": download.get("bank"),
        "session": download.get("session"),
        "protocol": remote.get("protocol"),
        "server": remote.get("server"),
        "files": names[:MOST_FILE_NAMES],
        "file_count": len(names),
    }


def whole(letter: DeadLetter, limits: MessageSettings = LIMITS) -> dict[str, Any]:
    """Return all that may be shown of a letter.

    `message` None: it cannot be decoded; `first_bytes` are shown then, in hexadecimal.
    `limits`: as of `summary`.
    """
    message = _decoded(letter.body, limits)
    shown = _frame(letter) | {"headers": _shown("headers", letter.headers), "message": message}
    if message is None:
        shown["first_bytes"] = letter.body[:FIRST_BYTES].hex(" ")
    return shown


def _frame(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "died_at": letter.died_at and letter.died_at.isoformat(),
        "reason": _shown("reason", letter.reason),
        "message_id": letter.message_id,
        "size_bytes": letter.size_bytes,
    }


def _decoded(body: bytes, limits: MessageSettings) -> dict[str, Any] | None:
    """Return the fields of a message; None: it is no Operation, or holds none of its fields.

    Text that is no UTF-8 is noticed only when it is read: as one or the other error, or never.
    """
    try:
        operation = read_operation(body, limits)
        fields = json_format.MessageToDict(operation, preserving_proto_field_name=True)
    except (UnreadableMessage, json_format.Error, ValueError):
        return None
    remote = fields.get("download", {}).get("remote_file", {})
    if "param" in remote:
        remote["param"] = {each.get("name", ""): each.get("value") for each in remote["param"]}
    return _shown("message", fields) if fields else None


def _shown(name: str, value: object) -> Any:
    """Return a value as plain data, with each secret in it hidden."""
    if _SECRET_NAMES.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(key): _shown(str(key), each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shown(name, each) for each in value]
    return _plain(name, value)


def _plain(name: str, value: object) -> Any:
    if isinstance(value, str):
        return _without_secrets(name, value)
    if isinstance(value, bytes):
        return value[:FIRST_BYTES].hex(" ")
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _without_secrets(name: str, text: str) -> str:
    if name in _HOSTS and "://" not in text and "@" in text:
        text = f"{HIDDEN}@{text.rpartition('@')[2]}"
    text = _WORD.sub(_without_account, text)
    return text if name in _PATTERNS else _WORD.sub(_without_query, text)


def _without_account(word: re.Match[str]) -> str:
    scheme, separator, rest = word[0].partition("://")
    account, _, place = rest.rpartition("@")
    return f"{scheme}{separator}{HIDDEN}@{place}" if account or rest[:1] == "@" else word[0]


def _without_query(word: re.Match[str]) -> str:
    place, separator, query = word[0].partition("?")
    return f"{place}{separator}{HIDDEN}" if "=" in query else word[0]
