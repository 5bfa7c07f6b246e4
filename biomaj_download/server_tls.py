"""How to speak TLS with a server of ours in, an `ssl.SSLContext` out; for RabbitMQ and Redis.

The server's certificate and its name are always checked, and nothing older than TLS 1.2 is spoken.
Files are read with each connection: a certificate that was renewed is used from the next one on.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from biomaj_download.errors import ConfigError
from biomaj_download.settings import ServerSection


def context_of(settings: ServerSection) -> ssl.SSLContext:
    """Return what a connection is made with.

    Raises:
        OSError: a file cannot be read, or holds something else; the text names it.
    """
    authorities = settings.ca_file
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise _wrong_file(authorities, "certificates of authorities (PEM)", error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file is None:
        if settings.key_file is not None:
            raise OSError(f"key_file {settings.key_file}: expected cert_file beside it, got none")
        return context
    # Never None: OpenSSL would ask for the pass phrase at the terminal.
    password = settings.key_password.get_secret_value() if settings.key_password else ""
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file, password)
    except OSError as error:
        key_file = settings.key_file or settings.cert_file
        expected = f"a certificate (PEM), and in {key_file} its key, which key_password opens"
        raise _wrong_file(settings.cert_file, expected, error) from error
    return context


def check_tls_files(settings: ServerSection, *, section: str) -> None:
    """See at the start whether connections can be made, as far as files are concerned.

    Raises:
        ConfigError: a file cannot be read, or holds something else; the text names it.
    """
    if not settings.tls:
        return
    try:
        context_of(settings)
    except OSError as error:
        raise ConfigError(f"{section}: {error}") from error


def spoken_with(settings: ServerSection) -> str:
    """Return what stands behind a server's name in logs and errors.

    A server that takes no client, or not ours, says nothing to the point, or nothing at all.
    """
    if not settings.tls:
        return ""
    return f" (TLS, {settings.cert_file or 'without a cert_file'})"


def _wrong_file(path: Path | None, expected: str, error: OSError) -> OSError:
    return OSError(f"{path}: expected {expected}, got: {error.strerror or error}")
