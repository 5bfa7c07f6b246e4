"""What a bank may set of a libcurl transfer: the rows, and what they are in libcurl's terms.

Meanings are at https://curl.se/libcurl/c/ under CURLOPT_<name>.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pycurl

from biomaj_download.download.host_keys import HostKeyJudge
from biomaj_download.download.options import (
    CHECKSUM_OPTIONS,
    CONNECTION_OPTIONS,
    RETRY_OPTIONS,
    SSH_OPTIONS,
    TLS_OPTIONS,
    UNPACKING_OPTIONS,
    Option,
    one_of,
    parse_boolean,
    parse_count,
)

CURL_OPTIONS = (
    *RETRY_OPTIONS,
    *UNPACKING_OPTIONS,
    *CHECKSUM_OPTIONS,
    *CONNECTION_OPTIONS,
    Option(
        "low_speed_limit",
        parse_count,
        default=None,
        help="Bytes a second below which a transfer is slow; "
        "unset: `transfer.low_speed_limit_bytes`.",
    ),
    *TLS_OPTIONS,
    Option(
        "tls_max",
        one_of("1.2", "1.3"),
        default="1.3",
        help="The newest TLS that is spoken; 1.2 helps with FTP servers that want each data "
        "connection to go on with the session of the first.",
    ),
    Option(
        "tcp_keepalive",
        parse_count,
        default=0,
        help="Seconds between keep-alive probes; 0: the usual 60.",
    ),
    Option(
        "ftp_method",
        one_of("default", "multicwd", "nocwd", "singlecwd"),
        default="default",
        help="How an FTP server is led to a file (libcurl: CURLOPT_FTP_FILEMETHOD).",
    ),
    Option(
        "ftp_tls",
        one_of("implicit", "explicit"),
        default="implicit",
        help="How ftps begins: encrypted from the start, or by AUTH TLS on the plain port.",
    ),
    Option(
        "ftp_epsv",
        parse_boolean,
        default="true",
        help="false: ask an FTP server for data connections by PASV, never by EPSV.",
    ),
    Option(
        "scheme_fallback",
        one_of("off", "https"),
        default="off",
        help="https: where the FTP server of EBI, Ensembl, NCBI or UniProt cannot be connected to, "
        "its HTTPS server is asked for the same path.",
    ),
    *SSH_OPTIONS,
    Option(
        "allow_redirections",
        parse_boolean,
        default="true",
        help="false: an HTTP redirection is an error.",
    ),
)

_FTP_METHODS = {
    "default": pycurl.FTPMETHOD_DEFAULT,
    "multicwd": pycurl.FTPMETHOD_MULTICWD,
    "nocwd": pycurl.FTPMETHOD_NOCWD,
    "singlecwd": pycurl.FTPMETHOD_SINGLECWD,
}
#: libcurl's own interval of keep-alive probes (CURLOPT_TCP_KEEPIDLE).
_KEEPALIVE_SECONDS = 60


def libcurl_options(protocol: str, server: str, values: Mapping[str, Any]) -> dict[int, Any]:
    """Return a bank's options in libcurl's terms, as far as the protocol has a use for them.

    `server`: name, or name:port.
    """
    keepalive_seconds = values["tcp_keepalive"] or _KEEPALIVE_SECONDS
    options: dict[int, Any] = {
        pycurl.TCP_KEEPALIVE: 1,
        pycurl.TCP_KEEPIDLE: keepalive_seconds,
        pycurl.TCP_KEEPINTVL: keepalive_seconds,
    }
    for name, option in (
        ("connect_timeout", pycurl.CONNECTTIMEOUT),
        ("low_speed_limit", pycurl.LOW_SPEED_LIMIT),
        ("low_speed_time", pycurl.LOW_SPEED_TIME),
    ):
        if values[name] is not None:
            options[option] = values[name]
    if protocol.startswith("http"):
        options[pycurl.FOLLOWLOCATION] = int(values["allow_redirections"])
    if protocol.startswith("ftp"):
        options[pycurl.FTP_FILEMETHOD] = _FTP_METHODS[values["ftp_method"]]
        options[pycurl.FTP_USE_EPSV] = int(values["ftp_epsv"])
    if protocol in ("http", "https", "ftps"):  # a redirection may lead from http to https
        options |= _tls_options(values)
    if protocol == "ftps":
        options[pycurl.FTP_SSL] = pycurl.FTPSSL_ALL
    if protocol == "sftp":
        options |= _ssh_options(server, values)
    return options


def _tls_options(values: Mapping[str, Any]) -> dict[int, Any]:
    options: dict[int, Any] = {
        pycurl.SSL_VERIFYHOST: 2 if values["ssl_verifyhost"] else 0,
        pycurl.SSL_VERIFYPEER: int(values["ssl_verifypeer"]),
    }
    if values["tls_max"] == "1.2":
        options[pycurl.SSLVERSION] = pycurl.SSLVERSION_TLSv1_2 | pycurl.SSLVERSION_MAX_TLSv1_2
    if values["ssl_server_cert"]:
        options[pycurl.CAINFO] = str(values["ssl_server_cert"])
    return options


def _ssh_options(server: str, values: Mapping[str, Any]) -> dict[int, Any]:
    hosts_file = values["ssh_hosts_file"]
    options: dict[int, Any] = {
        pycurl.SSH_KNOWNHOSTS: str(hosts_file),
        pycurl.SSH_KEYFUNCTION: HostKeyJudge(server, hosts_file, values["ssh_new_host"]),
    }
    if values["ssh_key_file"]:
        options[pycurl.SSH_PRIVATE_KEYFILE] = str(values["ssh_key_file"])
    return options
