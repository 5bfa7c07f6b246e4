"""Protocol name -> downloader: THE ONE LINE that a new protocol adds.

A class is named, not imported, so that a protocol's library is needed by its users alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from biomaj_download.errors import MissingLibrary, UnknownProtocol

if TYPE_CHECKING:
    from biomaj_download.download.interface import DownloadInterface

PROTOCOLS = {
    "directftp": "biomaj_download.download.direct:DirectFTPDownload",
    "directftps": "biomaj_download.download.direct:DirectFTPDownload",
    "directhttp": "biomaj_download.download.direct:DirectHTTPDownload",
    "directhttps": "biomaj_download.download.direct:DirectHTTPDownload",
    "ftp": "biomaj_download.download.curl:CurlDownload",
    "ftps": "biomaj_download.download.curl:CurlDownload",
    "http": "biomaj_download.download.curl:CurlDownload",
    "https": "biomaj_download.download.curl:CurlDownload",
    "irods": "biomaj_download.download.protocolirods:IRODSDownload",
    "local": "biomaj_download.download.localcopy:LocalDownload",
    "rsync": "biomaj_download.download.rsync:RSYNCDownload",
    "sftp": "biomaj_download.download.curl:CurlDownload",
}

#: Libraries whose package has another name.
PACKAGES = {"irods": "python-irodsclient"}


def downloader_class(protocol: str) -> type[DownloadInterface]:
    """Return the class of a protocol.

    Raises:
        UnknownProtocol: none is registered under that name.
        MissingLibrary: its library is not installed.
    """
    target = PROTOCOLS.get(protocol.lower())
    if target is None:
        raise UnknownProtocol(f"protocol: expected one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    module, _, name = target.partition(":")
    try:
        found: type[DownloadInterface] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        package = PACKAGES.get(library, library)
        raise MissingLibrary(
            f"protocol {protocol}: needs the library {library}: pip install {package}"
        ) from error
    return found


def get_handler(
    protocol_name: str,
    server: str,
    remote_dir: str,
    remote_files: Sequence[dict[str, Any] | str] = (),
    credentials: str | None = None,
    http_parse: Any = None,
    http_method: str | None = None,
    param: dict[str, str] | None = None,
    proxy: str | None = None,
    proxy_auth: str | None = "",
    save_as: str | None = None,
    timeout_download: float | None = None,
    offline_dir: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> DownloadInterface:
    """Return a downloader that is ready to list or to download `remote_files`.

    Raises:
        OptionError: an option has a wrong value.
        UnknownProtocol, MissingLibrary: as `downloader_class`.
    """
    downloader = downloader_class(protocol_name).opened(
        protocol_name.lower(), server, remote_dir, http_parse
    )
    downloader.set_protocol(protocol_name)
    downloader.set_credentials(credentials)
    downloader.set_param(param)
    downloader.set_timeout(timeout_download)
    downloader.set_save_as(save_as)
    if http_method is not None:
        downloader.set_method(http_method)
    if proxy:
        downloader.set_proxy(proxy, proxy_auth or None)
    if offline_dir:
        downloader.set_offline_dir(offline_dir)
    if options:
        downloader.set_options(options)
    if remote_files:
        downloader.set_files_to_download(remote_files)
    return downloader
