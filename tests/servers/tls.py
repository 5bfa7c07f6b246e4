"""Certificate authorities of their own, and what they certify: servers and clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

#: For a server program that has no words of its own for it (OPENSSL_CONF): TLS 1.1, nothing newer.
OLD_TLS = """\
openssl_conf = all
[all]
ssl_conf = parts
[parts]
system_default = old
[old]
MinProtocol = TLSv1.1
MaxProtocol = TLSv1.1
CipherString = ALL:@SECLEVEL=0
"""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The files that a TLS server and its clients need."""

    ca_file: Path
    cert_file: Path
    key_file: Path


def issue_certificate(
    folder: Path, host: str = "127.0.0.1", *more_names: str, authority: trustme.CA | None = None
) -> Certificate:
    """Write an authority, a new one by default, and a certificate for the host and more names."""
    authority = authority or trustme.CA()
    issued = authority.issue_cert(host, *(more_names or ("localhost",)))
    certificate = Certificate(
        ca_file=folder / "ca.pem", cert_file=folder / "cert.pem", key_file=folder / "key.pem"
    )
    authority.cert_pem.write_to_path(certificate.ca_file)
    issued.private_key_pem.write_to_path(certificate.key_file)
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(certificate.cert_file, append=number > 0)
    return certificate
