"""What the downloaders of a bank want -> operations, one a file, as BioMAJ core builds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from biomaj_download.download.filedict import file_of, target_name
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.errors import OptionError, OptionTypeError
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import fill_file, fill_options, new_operation

#: Field of a message's http_parse, and the bank's property with its value.
HTTP_PARSE_PROPERTIES = (
    ("dir_line", "http.parse.dir.line"),
    ("file_line", "http.parse.file.line"),
    ("dir_name", "http.group.dir.name"),
    ("dir_date", "http.group.dir.date"),
    ("file_name", "http.group.file.name"),
    ("file_date", "http.group.file.date"),
    ("file_date_format", "http.group.file.date_format"),
    ("file_size", "http.group.file.size"),
)


class BankConfig(Protocol):
    """A bank's properties, as BioMAJ's configuration or a dict offers them."""

    def get(self, prop: str, /) -> Any:
        """Return a property; None: it is not set."""


def operations_of(
    config: BankConfig, downloader: DownloadInterface, *, bank: str, session: str, local_dir: str
) -> Iterator[wire.Operation]:
    """Yield the request for each file that a downloader is to download.

    Raises:
        OptionError: a file, the downloader or the bank holds what no message can carry.
    """
    frame = new_operation(Kind.DOWNLOAD, bank=bank, session=session, local_dir=local_dir)
    fill_options(frame, {key: _text(key, value) for key, value in downloader.options.items()})
    _fill_request(frame.download, config, downloader)
    _fill_remote(frame.download.remote_file, config, downloader)
    for file in downloader.files_to_download:
        operation = wire.Operation()
        operation.CopyFrom(frame)
        # An old consumer takes no save_as for an empty one: it is always told.
        named = file_of({**file, "save_as": target_name(file)})
        fill_file(operation.download.remote_file.files.add(), named)
        yield operation


def _fill_request(
    download: wire.DownloadFile, config: BankConfig, downloader: DownloadInterface
) -> None:
    download.http_method = _number_of(wire.DownloadFile.HTTP_METHOD, "method", downloader.method)
    timeout_seconds = config.get("timeout.download")
    if timeout_seconds:
        download.timeout_download = _integer("timeout.download", timeout_seconds)
    if downloader.proxy:
        download.proxy.proxy = downloader.proxy
        if downloader.proxy_auth:
            download.proxy.proxy_auth = downloader.proxy_auth


def _fill_remote(
    remote: wire.DownloadFile.RemoteFile, config: BankConfig, downloader: DownloadInterface
) -> None:
    remote.protocol = _number_of(wire.DownloadFile.Protocol, "protocol", downloader.protocol)
    remote.server = downloader.server
    remote.remote_dir = config.get("remote.dir") or ""
    if downloader.credentials:
        remote.credentials = downloader.credentials
    for key, value in (downloader.param or {}).items():
        remote.param.add(name=key, value=_text(key, value))
    if config.get("http.parse.dir.line"):
        _fill_http_parse(remote.http_parse, config)


def _fill_http_parse(http_parse: wire.DownloadFile.HttpParse, config: BankConfig) -> None:
    """Write a bank's listing expressions; those it does not set are the wire's defaults."""
    for name, prop in HTTP_PARSE_PROPERTIES:
        value, default = config.get(prop), getattr(http_parse, name)
        if value is None and not default:
            continue
        if value is None:
            value = default
        setattr(http_parse, name, _integer(prop, value) if isinstance(default, int) else value)


def _number_of(names: Any, what: str, name: str | None) -> Any:
    """Return the wire's number for a name in any case."""
    try:
        return names.Value((name or "").upper())
    except ValueError as error:
        raise OptionError(
            f"{what}: expected one of {', '.join(names.keys())}, got {name!r}"
        ) from error


def _integer(prop: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise OptionError(f"{prop}: expected a number, got {value!r}") from error


def _text(name: str, value: object) -> str:
    """Return an option as a message carries it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise OptionTypeError(
            f"{name}: expected text, which a message can carry, got {type(value).__name__}"
        )
    return str(value)
