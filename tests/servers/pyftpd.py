"""An FTP server with MLSD, which vsftpd has not: pyftpdlib, in a thread of the tests."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.servers import FTPServer
from typing_extensions import Self


class PyftpdServer:
    """pyftpdlib; `commands` are those it got, `most_connections` the most at one time.

    `without`: commands that it does not have. `refuses`: replies to commands. `ends_with`: replies
    by their code, which it says in place of its own, and hangs up. `withholds`: how many replies
    it does not say, by their code. `connections_per_address`: it turns away who has so many
    (421); 0: nobody. `cut_with`: half of a listing or of a small file is sent, then this
    reply; "": the control connection ends, too. `lists`: what it sends in place of any listing.
    """

    host = "127.0.0.1"
    user = "biomaj"
    password = "ftp-secret"

    def __init__(
        self,
        *,
        without: tuple[str, ...] = (),
        refuses: Mapping[str, str] | None = None,
        ends_with: Mapping[str, str] | None = None,
        withholds: Mapping[str, int] | None = None,
        connections_per_address: int = 0,
        cut_with: str | None = None,
        lists: bytes | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="biomaj-test-pyftpd-"))
        self.root = self.folder / "root"
        self.root.mkdir()
        self.commands: list[str] = []
        self.refuses = refuses or {}
        self.ends_with = ends_with or {}
        self.withholds = Counter(withholds)
        self.most_connections = 0
        self.cut_with = cut_with
        self.lists = lists
        authorizer = DummyAuthorizer()
        authorizer.add_anonymous(str(self.root))
        authorizer.add_user(self.user, self.password, str(self.root))
        known = {name: how for name, how in FTPHandler.proto_cmds.items() if name not in without}
        attributes = {
            "authorizer": authorizer,
            "log_prefix": "",
            "owner": self,
            "proto_cmds": known,
            "auth_failed_timeout": 0,
            "pre_process_command": _record,
            "respond": _respond,
            "dtp_handler": _data_handler(self),
        }
        self._server = FTPServer((self.host, 0), type("Handler", (FTPHandler,), attributes))
        self._server.max_cons_per_ip = connections_per_address
        self.port = int(self._server.address[1])
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def connected(self) -> None:
        """Count the connections that there are now."""
        now = sum(isinstance(one, FTPHandler) for one in self._server.ioloop.socket_map.values())
        self.most_connections = max(self.most_connections, now)

    def close(self) -> None:
        """End the thread and all connections, and remove the folder."""
        self._ended.set()
        self._thread.join()
        shutil.rmtree(self.folder)

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._server.serve_forever(timeout=0.05, blocking=False, handle_exit=False)
        self._server.close_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _data_handler(server: PyftpdServer) -> type[DTPHandler]:
    if server.lists is not None:
        return _FalseListing
    return DTPHandler if server.cut_with is None else _CutData


class _FalseListing(DTPHandler):
    """Sends the same for every listing."""

    def push_with_producer(self, producer: Any) -> None:
        if hasattr(producer, "iterator"):
            producer.iterator = iter([self.cmd_channel.owner.lists])
        super().push_with_producer(producer)


class _CutData(DTPHandler):
    """Sends half of a listing, or of a small file."""

    def push_with_producer(self, producer: Any) -> None:
        rows = producer.more()
        self.socket.sendall(rows[: len(rows) // 2])
        reply = self.cmd_channel.owner.cut_with
        self._resp = (reply, logging.getLogger("pyftpdlib").debug) if reply else ()
        control = self.cmd_channel
        self.close()
        if not reply:
            control.close()


def _record(handler: Any, line: str, command: str, argument: str) -> None:
    """Note a command before it is obeyed, or refused."""
    handler.owner.commands.append(line)
    handler.owner.connected()
    refusal = handler.owner.refuses.get(command)
    if refusal is not None:
        handler.respond(refusal)
    else:
        FTPHandler.pre_process_command(handler, line, command, argument)


def _respond(handler: Any, reply: str, **how: Any) -> None:
    """Say a reply, or the one that ends the connection in its place, or nothing."""
    if handler.owner.withholds[reply[:3]] > 0:
        handler.owner.withholds[reply[:3]] -= 1
        return
    last = handler.owner.ends_with.get(reply[:3])
    FTPHandler.respond(handler, last or reply, **how)
    if last is not None:
        handler.close_when_done()
