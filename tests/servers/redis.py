"""A Redis server of its own."""

from __future__ import annotations

from tests.servers.process import Server, free_port
from tests.servers.tls import Certificate


class RedisServer(Server):
    """Redis; with `appendonly`, what it holds outlives `stop` and `start`.

    With a certificate it also listens at `tls_port`, to those that show one of the same authority.
    """

    program = "redis-server"
    package = "redis-server"

    def __init__(
        self,
        *,
        appendonly: bool = True,
        certificate: Certificate | None = None,
        tls_versions: str = "TLSv1.2 TLSv1.3",
    ) -> None:
        super().__init__()
        self.tls_port = free_port()
        self._certificate = certificate
        self._tls_versions = tls_versions
        self._appendonly = "yes" if appendonly else "no"

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        return [
            *(self.program_path, "--bind", self.host, "--port", str(self.port)),
            *("--dir", str(self.folder), "--save", "", "--appendonly", self._appendonly),
            # At the end of a link it is asked from another address than the loopback's.
            *("--protected-mode", "no"),
            *self._tls_words(),
        ]

    def _tls_words(self) -> list[str]:
        if self._certificate is None:
            return []
        return [
            *("--tls-port", str(self.tls_port), "--tls-protocols", self._tls_versions),
            *("--tls-ca-cert-file", str(self._certificate.ca_file), "--tls-auth-clients", "yes"),
            *("--tls-cert-file", str(self._certificate.cert_file)),
            *("--tls-key-file", str(self._certificate.key_file)),
        ]

    def is_ready(self) -> bool:
        return self.answers(b"PING\r\n", b"+PONG")
