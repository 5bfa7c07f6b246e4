"""The HTTPS server of a databank in place of its FTP server, where that cannot be connected to.

FTP is blocked in many institutes, and public servers give it up; those below have the same paths by
both. Only where a bank wants it (`scheme_fallback=https`): it learns less of a file by HTTPS.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from biomaj_download.errors import ConnectFailed, Stalled

log = logging.getLogger("biomaj.download.fallback")

T = TypeVar("T")

#: FTP server -> its HTTPS server.
SAME_BY_HTTPS = {
    name: name
    for name in (
        "ftp.ebi.ac.uk",
        "ftp.ensembl.org",
        "ftp.ncbi.nlm.nih.gov",
        "ftp.sra.ebi.ac.uk",
        "ftp.uniprot.org",
    )
}
#: An FTP server that could not be connected to is tried again after so long.
_AGAIN_SECONDS = 3600
_ANONYMOUS = ("anonymous", "ftp")

#: FTP server -> until when it is not tried.
_closed_until: dict[str, float] = {}


class Fallible(Protocol):
    """What a downloader has that may be led elsewhere."""

    curl_protocol: str
    server: str
    credentials: str | None


def or_by_https(
    downloader: Fallible,
    attempt: Callable[[], T],
    *,
    is_wanted: bool,
    has_begun: Callable[[], bool] = lambda: False,
) -> T:
    """Return what an attempt returns, by HTTPS where FTP cannot be connected to.

    `is_wanted`: by the bank. `has_begun`: there is a beginning, which an attempt by FTP may go on
    with, and none by HTTPS. An account is never told to the other server: who has one stays.

    Raises:
        DownloadError: the attempt's own, of the last server.
    """
    server = downloader.server
    there = SAME_BY_HTTPS.get(server.partition(":")[0])
    user = (downloader.credentials or "anonymous").partition(":")[0]
    may = is_wanted and downloader.curl_protocol == "ftp" and user in _ANONYMOUS
    if there is None or not may:
        return attempt()
    if time.monotonic() >= _closed_until.get(server, 0):
        try:
            return attempt()
        except (ConnectFailed, Stalled) as error:
            if has_begun():
                raise
            log.warning("asked by https, not ftp server=%s error=%s", server, error)
            _closed_until[server] = time.monotonic() + _AGAIN_SECONDS
    # The protocol last, for other threads may list by the same downloader.
    downloader.server, downloader.credentials = there, None
    downloader.curl_protocol = "https"
    return attempt()
