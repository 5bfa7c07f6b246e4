"""A proxy that records what it is asked for: HTTP, HTTP inside TLS, or SOCKS 5.

It alone knows some hosts: a request that arrives by one of those names came this way.
"""

from __future__ import annotations

import base64
import ftplib
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tests.servers.relay import CHUNK_BYTES, Relay, copy
from tests.servers.tls import issue_certificate

DENIED = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"


@dataclass(frozen=True)
class Proxied:
    """One request: `CONNECT host:port`, or a method and an absolute URL."""

    method: str
    target: str
    account: str | None


class RecordingProxy(Relay):
    """`kind`: http, https (the same inside TLS) or socks5; `account` (`user:password`): wanted.

    `hosts`: a name and port that only the proxy knows -> a port of this host.
    """

    def __init__(
        self,
        hosts: Mapping[str, int],
        *,
        kind: str = "http",
        account: str | None = None,
        folder: Path | None = None,
    ) -> None:
        self.requests: list[Proxied] = []
        self._kind = kind
        self._hosts = hosts
        self._account = account
        self._context: ssl.SSLContext | None = None
        if kind == "https":
            assert folder is not None
            certificate = issue_certificate(folder)
            self.ca_file = certificate.ca_file
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate.cert_file, certificate.key_file)
        super().__init__()
        scheme = "socks5h" if kind == "socks5" else kind
        self.url = f"{scheme}://{self.host}:{self.port}"

    def serve(self, client: socket.socket) -> None:
        """Serve one connection of a client."""
        with ExitStack() as stack, suppress(OSError, ftplib.Error):
            stack.enter_context(client)
            if self._context is not None:
                client = stack.enter_context(self._context.wrap_socket(client, server_side=True))
            self.sockets.add(client)
            stack.callback(self.sockets.discard, client)
            (self._serve_socks if self._kind == "socks5" else self._serve_http)(client)

    def _serve_http(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = client.recv(CHUNK_BYTES)
            if not chunk:
                return
            head += chunk
        head, _, body = head.partition(b"\r\n\r\n")
        request, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = request.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in map(_parted, lines)}
        told = headers.get("proxy-authorization", "").removeprefix("Basic ")
        account = base64.b64decode(told).decode() if told else None
        self.requests.append(Proxied(method, target, account))
        if self._account is not None and account != self._account:
            client.sendall(DENIED + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        elif method == "CONNECT":
            with self._connected(target) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._relay(client, server)
        elif target.startswith("ftp://"):
            client.sendall(self._by_ftp(method, target))
        else:
            self._forward(client, method, target, lines, body)

    def _forward(
        self, client: socket.socket, method: str, target: str, lines: list[str], body: bytes
    ) -> None:
        parts = urlsplit(target)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""])
        with self._connected(parts.netloc) as server:
            server.sendall(head.encode("latin-1") + body)
            self._relay(client, server)

    def _by_ftp(self, method: str, target: str) -> bytes:
        """Answer as squid does: a file as it is, a directory as a page of links."""
        parts = urlsplit(target)
        path = unquote(parts.path)
        body = BytesIO()
        kind = "application/octet-stream"
        with ftplib.FTP() as ftp:
            ftp.connect(self.host, self._hosts[parts.netloc])
            ftp.login()
            if path.endswith("/"):
                kind = "text/html"
                ftp.cwd(path)
                links = (f'<a href="{quote(name)}">{escape(name)}</a>\n' for name in ftp.nlst())
                body.write(f"<title>Index of {path}</title><pre>{''.join(links)}</pre>".encode())
            else:
                ftp.retrbinary(f"RETR {path}", body.write)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {body.tell()}\r\n"
        sent = b"" if method == "HEAD" else body.getvalue()
        return head.encode() + b"Connection: close\r\n\r\n" + sent

    def _serve_socks(self, client: socket.socket) -> None:
        """Speak SOCKS 5 (RFC 1928), with names resolved here, and RFC 1929 for the account."""
        _version, count = client.recv(2)
        client.recv(count)
        account = None
        if self._account is None:
            client.sendall(b"\x05\x00")
        else:
            client.sendall(b"\x05\x02")
            _version, length = client.recv(2)
            user = client.recv(length).decode()
            account = f"{user}:{client.recv(client.recv(1)[0]).decode()}"
            is_right = account == self._account
            client.sendall(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return
        _version, _command, _reserved, kind = client.recv(4)
        name = client.recv(client.recv(1)[0]).decode() if kind == 3 else _address(client.recv(4))
        (port,) = struct.unpack(">H", client.recv(2))
        self.requests.append(Proxied("CONNECT", f"{name}:{port}", account))
        with self._connected(f"{name}:{port}") as server:
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            self._relay(client, server)

    def _connected(self, target: str) -> socket.socket:
        """Connect to a host that we know, or to any port of this host."""
        name, _, port = target.rpartition(":")
        known = self._hosts.get(target)
        if known is None and (name not in (self.host, *map(_name, self._hosts))):
            raise OSError(f"unknown host {target}")
        return socket.create_connection((self.host, known or int(port)))

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        self.sockets.add(server)
        up = threading.Thread(target=copy, args=(client, server))
        up.start()
        copy(server, client)
        up.join()
        self.sockets.discard(server)


def _name(host: str) -> str:
    return host.rpartition(":")[0]


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _address(packed: bytes) -> str:
    return socket.inet_ntoa(packed)
