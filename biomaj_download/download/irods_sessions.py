"""Sessions with iRODS servers: each is logged in once, and kept for the next file."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from irods.session import iRODSSession

#: Servers and accounts that are kept at once.
MOST_SESSIONS = 16
#: A connection is made anew after so long: servers end those of old age.
CONNECTION_SECONDS = 600
#: What the client and servers use where nobody changed it (irods_environment.json).
_ENCRYPTION = {
    "encryption_algorithm": "AES-256-CBC",
    "encryption_key_size": 32,
    "encryption_num_hash_rounds": 16,
    "encryption_salt_size": 8,
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whom to log in, where and how; `authorities_file` None: any certificate is taken.

    `address`: what `host` was found to mean, which is connected to; None: the client looks it up,
    and goes on to other servers of the zone where it is sent there.
    """

    host: str
    address: str | None = None
    port: int
    zone: str
    user: str
    password: str = field(repr=False)
    authentication: str = "native"
    by_tls: bool = False
    authorities_file: str | None = None
    checks_host_name: bool = True
    stall_seconds: int | None = None


class Sessions:
    """The sessions of this process; may be called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[Account, iRODSSession] = OrderedDict()

    def get(self, account: Account) -> Any:
        """Return the session of an account; it connects when it is used."""
        with self._lock:
            session = self._sessions.get(account)
            if session is None:
                session = self._sessions[account] = _new_session(account)
            self._sessions.move_to_end(account)
            if len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
            return session

    def forget(self, account: Account) -> None:
        """Have the next file log in anew: a connection broke, and the idle ones may have, too.

        Who uses the old session goes on with it; it is cleaned up after the last of them.
        """
        with self._lock:
            self._sessions.pop(account, None)

    def close(self) -> None:
        """Log out everywhere."""
        with self._lock:
            for session in self._sessions.values():
                session.cleanup()
            self._sessions.clear()


def _new_session(account: Account) -> Any:
    # The client's debug lines hold whole requests, passwords among them.
    logging.getLogger("irods").setLevel(logging.INFO)
    tls: dict[str, Any] = {}
    if account.by_tls:
        tls = {
            **_ENCRYPTION,
            "client_server_negotiation": "request_server_negotiation",
            "client_server_policy": "CS_NEG_REQUIRE",
            "ssl_context": _tls_context(account),
        }
    session = iRODSSession(
        host=account.address or account.host,
        port=account.port,
        user=account.user,
        password=account.password,
        zone=account.zone,
        authentication_scheme=account.authentication,
        connection_timeout=account.stall_seconds,
        refresh_time=CONNECTION_SECONDS,
        application_name="biomaj_download",
        **tls,
    )
    session.is_sent_on = account.address is None
    return session


class _ContextOfHost(ssl.SSLContext):
    """Wants a certificate for the host that was asked for, whatever address is connected to."""

    host: str

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Begin to speak TLS, with that host's name."""
        return super().wrap_socket(
            sock,
            server_side,
            do_handshake_on_connect,
            suppress_ragged_eofs,
            server_hostname and self.host,
            session,
        )


def _tls_context(account: Account) -> ssl.SSLContext:
    context = _ContextOfHost(ssl.PROTOCOL_TLS_CLIENT)
    context.host = account.host
    if account.authorities_file is not None:
        context.load_verify_locations(account.authorities_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = account.checks_host_name and account.authorities_file is not None
    if account.authorities_file is None:
        context.verify_mode = ssl.CERT_NONE
    return context


#: What this process is logged in to; a forked child logs in by itself.
sessions = Sessions()
os.register_at_fork(after_in_child=sessions.__init__)  # type: ignore[misc]
