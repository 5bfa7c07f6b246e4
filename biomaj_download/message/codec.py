"""Operation bytes <-> `Job` and `FileList`: the only reader and writer of the wire schema.

A message of a newer client may carry fields and enum values we do not know; those that we need
are named in the error, with the bank and session where they can be read, so that the message can
be counted there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from biomaj_download.errors import MessageError
from biomaj_download.job import HttpPatterns, Job, Kind, RemoteFile
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.survey import RECORD_BYTES, survey
from biomaj_download.settings import MessageSettings
from biomaj_download.text import readable

_KINDS = {wire.Operation.LIST: Kind.LIST, wire.Operation.DOWNLOAD: Kind.DOWNLOAD}
#: What a page of listings is read with where the bank sets nothing (the wire's own defaults).
DEFAULT_PATTERNS = HttpPatterns(
    dir_line=wire.DownloadFile.HttpParse().dir_line,
    file_line=wire.DownloadFile.HttpParse().file_line,
)


#: Those of the settings' defaults.
LIMITS = MessageSettings()
#: Patterns, parameters and options are limited each; what the schema does not repeat, and fields
#: of newer clients, come to no more than one of them.
_OTHER_RECORDS = 4
_SHOWN_CHARACTERS = 80

_PROTOCOLS = {number: name.lower() for name, number in wire.DownloadFile.Protocol.items()}
_METHODS = {number: name for name, number in wire.DownloadFile.HTTP_METHOD.items()}
#: A bank's thousands of messages name the same directory.
_path_of = lru_cache(maxsize=256)(Path)


def _filled_in(message: Any) -> Any:
    """Return a message with its defaults set, as BioMAJ core sends it."""
    for field in message.DESCRIPTOR.fields:
        if field.has_default_value:
            setattr(message, field.name, field.default_value)
    return message


_DEFAULT_HTTP_PARSE = _filled_in(wire.DownloadFile.HttpParse())


class UnreadableMessage(MessageError):
    """A message that is no request; `bank` and `session` where they could be read."""

    def __init__(self, text: str, *, bank: str = "", session: str = "") -> None:
        super().__init__(text)
        self.bank = bank
        self.session = session


def read_operation(body: bytes, limits: MessageSettings = LIMITS) -> wire.Operation:
    """Return the message, even where required fields are missing.

    Raises:
        UnreadableMessage: these bytes are no Operation at all, or one that holds too much.
    """
    _check_size(body, limits)
    operation = wire.Operation()
    try:
        operation.MergeFromString(body)
    except (DecodeError, RecursionError) as error:
        raise UnreadableMessage(
            f"message: expected an Operation, got {len(body)} bytes that are none: {error}"
        ) from error
    return operation


def _check_size(body: bytes, limits: MessageSettings) -> None:
    """Return if a message is no longer, and has no more in it, than is allowed."""
    most_records = limits.max_files + _OTHER_RECORDS * limits.max_values
    if len(body) <= min(limits.max_bytes, most_records * RECORD_BYTES):
        return
    found = survey(body, most_records=most_records + 1)
    problem = None
    if len(body) > limits.max_bytes:
        problem = f"at most {limits.max_bytes} bytes, got {len(body)}"
    elif found.records > most_records:
        problem = f"at most {most_records} files, patterns and other fields, got more"
    if problem:
        raise UnreadableMessage(
            f"message: expected {problem}", bank=found.bank, session=found.session
        )


def decode(body: bytes, limits: MessageSettings = LIMITS) -> Job:
    """Return the request in a message.

    Raises:
        UnreadableMessage: it is none that we can work on.
    """
    operation = read_operation(body, limits)
    job = job_of(operation)
    # No text is longer than the whole: nearly all messages need not be looked through.
    shortest = min(limits.max_name_characters, limits.max_pattern_characters)
    if len(body) > min(shortest, limits.max_text_characters, limits.max_values * RECORD_BYTES):
        problem = _excess(operation.download, limits)
        if problem:
            raise UnreadableMessage(f"message: {problem}", bank=job.bank, session=job.session)
    return job


def _excess(download: Any, limits: MessageSettings) -> str | None:
    """Say what a message has too much of; None: nothing."""
    remote, options = download.remote_file, download.options
    numbers = {
        "files": (len(remote.files), limits.max_files),
        "patterns": (len(remote.matches), limits.max_values),
        "parameters": (len(remote.param), limits.max_values),
        "options": (len(options), limits.max_values),
    }
    for name, (number, most) in numbers.items():
        if number > most:
            return f"expected at most {most} {name}, got {number}"
    names = (text for file in remote.files for text in (file.name, file.save_as, file.root))
    patterns = (*remote.matches, remote.http_parse.dir_line, remote.http_parse.file_line)
    texts = (
        *(download.bank, download.session, download.local_dir),
        *(download.proxy.proxy, download.proxy.proxy_auth),
        *(remote.server, remote.remote_dir, remote.save_as, remote.credentials),
        *(text for param in remote.param for text in (param.name, param.value)),
        *(text for option in options.items() for text in option),
    )
    return (
        _too_long("a name", names, limits.max_name_characters)
        or _too_long("a pattern", patterns, limits.max_pattern_characters)
        or _too_long("a text", texts, limits.max_text_characters, is_shown=False)
        or _too_long(
            "an address",
            (file.url for file in remote.files),
            limits.max_text_characters,
            is_shown=False,
        )
    )


def _too_long(what: str, texts: Iterable[str], most: int, *, is_shown: bool = True) -> str | None:
    """Say which text is too long; not `is_shown`: it may be a password."""
    for text in texts:
        if len(text) > most:
            shown = f": {text[:_SHOWN_CHARACTERS]!r}" if is_shown else ""
            return f"expected {what} of at most {most} characters, got {len(text)}{shown}"
    return None


def job_of(operation: wire.Operation) -> Job:
    """Return the request in an Operation that is at hand as a message object."""
    bank, session = operation.download.bank, operation.download.session
    if not _is_text(bank, session):
        raise UnreadableMessage(
            f"message: expected bank and session in UTF-8, got {bank!r} and {session!r}"
        )
    problem = _problem(operation) or _problem_of_text(operation.download)
    if problem:
        raise UnreadableMessage(f"message: {problem}", bank=bank, session=session)
    download = operation.download
    remote = download.remote_file
    return Job(
        kind=_KINDS[operation.type],
        bank=bank,
        session=session,
        local_dir=_path_of(download.local_dir),
        protocol=_PROTOCOLS[remote.protocol],
        server=remote.server,
        remote_dir=remote.remote_dir,
        files=tuple(file_of(file) for file in remote.files),
        matches=tuple(remote.matches),
        params={param.name: param.value for param in remote.param},
        http_patterns=_patterns_of(remote.http_parse) if remote.HasField("http_parse") else None,
        save_as=remote.save_as or None,
        credentials=remote.credentials or None,
        proxy=download.proxy.proxy or None,
        proxy_auth=download.proxy.proxy_auth or None,
        method=_METHODS[download.http_method],
        timeout_seconds=download.timeout_download or None,
        options=dict(download.options),
        trace_id=operation.trace.trace_id or None,
        span_id=operation.trace.span_id or None,
    )


def _problem(operation: Any) -> str | None:
    """Say what keeps an Operation from being a request; None: nothing."""
    if not operation.HasField("type") or operation.type not in _KINDS:
        name = operation.HasField("type") and wire.Operation.OPERATION.Name(operation.type)
        return f"expected type LIST or DOWNLOAD, got {name or 'none that is known'}"
    if not operation.IsInitialized():
        missing = operation.FindInitializationErrors()
        return f"expected the required fields, without a known value: {', '.join(missing)}"
    if not operation.HasField("download"):
        return "expected a field `download`, got none"
    if operation.type == wire.Operation.LIST and not operation.download.remote_file.matches:
        return "expected at least one pattern in `matches` of a LIST, got none"
    if operation.type == wire.Operation.DOWNLOAD and not operation.download.remote_file.files:
        return "expected at least one file in `remote_file.files` of a DOWNLOAD, got none"
    return None


def _problem_of_text(download: Any) -> str | None:
    """Say what is no text where text is needed; None: nothing."""
    remote = download.remote_file
    names = (text for file in remote.files for text in (file.name, file.save_as, file.root))
    texts = (download.local_dir, remote.server, remote.remote_dir, remote.save_as)
    if not _is_text(*texts, *names) or not _has_readable_options(download):
        return "expected names and options in UTF-8, got other bytes"
    return None


def _is_text(*values: Any) -> bool:
    """Say whether all are text: protobuf gives bytes where a message holds something else."""
    return all(isinstance(value, str) for value in values)


def _has_readable_options(download: Any) -> bool:
    try:
        return _is_text(*download.options.values())
    except UnicodeDecodeError:  # of a name, which protobuf reads here
        return False


def encode_file_list(files: Iterable[RemoteFile]) -> bytes:
    """Return the serialized FileList that answers a LIST request."""
    message = wire.FileList()
    for file in files:
        fill_file(message.files.add(), file)
    return message.SerializeToString()


def decode_file_list(body: bytes) -> tuple[RemoteFile, ...]:
    """Return the files of a serialized FileList.

    Raises:
        UnreadableMessage: these bytes are none.
    """
    try:
        message = wire.FileList.FromString(body)
    except DecodeError as error:
        raise UnreadableMessage(f"file list: expected a FileList: {error}") from error
    return tuple(file_of(file) for file in message.files)


def fill_file(message: Any, file: RemoteFile) -> None:
    """Write a file into a wire File.

    Raises:
        MessageError: its name is in bytes that no message can hold.
    """
    try:
        message.name = file.name
        message.root = file.root
        message.url = file.url
        if file.save_as is not None:
            message.save_as = file.save_as
    except ValueError as error:
        raise MessageError(
            f"expected a file name in UTF-8, as messages hold no others, got {file.name!r}"
        ) from error
    metadata = message.metadata
    metadata.permissions = file.permissions
    metadata.group = readable(file.group)
    metadata.size = file.size_bytes or 0
    metadata.format = file.format
    if file.hash is not None:
        metadata.hash = file.hash
    if file.md5 is not None:
        metadata.md5 = file.md5
    if file.day is not None:
        metadata.year, metadata.month, metadata.day = (
            file.day.year,
            file.day.month,
            file.day.day,
        )


def file_of(message: Any) -> RemoteFile:
    """Return the file in a wire File; a size of 0 means that none is known."""
    metadata = message.metadata
    return RemoteFile(
        name=message.name,
        root=message.root,
        save_as=message.save_as or None,
        url=message.url,
        size_bytes=metadata.size or None,
        size_is_exact=False,
        day=day_of(metadata.year, metadata.month, metadata.day),
        hash=metadata.hash or None,
        md5=metadata.md5 or None,
        permissions=metadata.permissions,
        group=metadata.group,
        format=metadata.format,
    )


def day_of(year: int, month: int, day: int) -> date | None:
    """Return a calendar day; None where the numbers are unset or no day."""
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _patterns_of(message: Any) -> HttpPatterns | None:
    """Return a site's own patterns; None where they are the defaults."""
    if message == _DEFAULT_HTTP_PARSE:
        return None
    patterns = HttpPatterns.like(message)
    return None if patterns == DEFAULT_PATTERNS else patterns


def new_operation(kind: Kind, *, bank: str, session: str, local_dir: str) -> wire.Operation:
    """Return an Operation with its required frame, to be filled by the client."""
    operation = wire.Operation()
    operation.type = wire.Operation.LIST if kind is Kind.LIST else wire.Operation.DOWNLOAD
    operation.download.bank = bank
    operation.download.session = session
    operation.download.local_dir = local_dir
    return operation


def fill_options(operation: wire.Operation, options: Mapping[str, str]) -> None:
    """Write a bank's options into a message; the wire knows text only."""
    operation.download.options.update({name: str(value) for name, value in options.items()})
