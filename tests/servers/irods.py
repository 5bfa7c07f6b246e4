"""An iRODS server of a folder, read-only, for the real python-irodsclient; and its faults.

Where a fact of the protocol comes from: "client" is python-irodsclient 3.3.0, package `irods`;
"iRODS" is the server's own source, https://github.com/irods/irods.
"""

from __future__ import annotations

import base64
import hashlib
import json
import operator
import os
import re
import secrets
import shutil
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from typing_extensions import Self

from tests.servers.tls import Certificate

# Error codes: irods/exception.py (client).
SYS_UNMATCHED_API_NUM = -12000
SYS_NO_API_PRIV = -13000
SYS_FILE_DESC_OUT_OF_RANGE = -19000
OBJ_PATH_DOES_NOT_EXIST = -358000
CAT_NO_ROWS_FOUND = -808000
CAT_INVALID_ARGUMENT = -816000
CAT_NO_ACCESS_PERMISSION = -818000
CAT_UNKNOWN_TABLE = -823000
CAT_INVALID_AUTHENTICATION = -826000
CAT_INVALID_USER = -827000
CAT_STATEMENT_TABLE_FULL = -860000
PAM_AUTH_PASSWORD_FAILED = -993000

RESOURCE = "demoResc"
MAX_STATEMENTS = 50  # of a connection, unfinished: MAX_NUM_OF_CONCURRENT_STMTS (iRODS)


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A further replica of an object, stale as it stands; None is as in replica 0, the file."""

    number: int = 1
    status: int = 0  # 1 is good
    resource: str = "archiveResc"
    size: int | None = None
    modified: int | None = None
    checksum: str | None = None


@dataclass(eq=False)
class IrodsServer:
    """Serves the files below `root` as the collection `home`, `/<zone>/home/<user>`.

    `pam_password`: for pam_password; what a client gets for it is a native password from then on.
    `policy`: the server's side of the negotiation: CS_NEG_REQUIRE, _DONT_CARE or _REFUSE.
    `version`: below rods4.3.0 clients log in the old way; below rods4.2.9 no get() is parallel.
    `with_checksums` False: the catalogue knows no checksum until a client asks for one.
    `wrong_checksums`: what is told instead, by logical path. `replicas`: more of them, likewise.
    `cut_after_bytes`: when a transfer (an open to its close) comes to so many bytes, cut the
    connection there, within a message; the next `cuts_left` transfers, then no more.
    `cut_with_reset` False: end the connection in order, which the client's reads hang on.
    `stall_seconds`: before each read's answer.
    `connections`, `logins`: how many there were. `requests`: the names of the APIs called.
    """

    zone: str = "tempZone"
    user: str = "biomaj"
    password: str = "irods-secret"
    tls: Certificate | None = None
    _: KW_ONLY
    pam_password: str = "pam-secret"
    policy: str = ""
    version: str = "rods4.3.2"
    with_checksums: bool = True
    wrong_checksums: dict[str, str] = field(default_factory=dict)
    replicas: dict[str, list[Replica]] = field(default_factory=dict)
    cut_after_bytes: int | None = None
    cuts_left: int = 1
    cut_with_reset: bool = True
    stall_seconds: float = 0
    connections: int = field(default=0, init=False)
    logins: int = field(default=0, init=False)
    requests: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.policy = self.policy or ("CS_NEG_REQUIRE" if self.tls else "CS_NEG_REFUSE")
        self.ca_file = self.tls.ca_file if self.tls else None
        self.home = f"/{self.zone}/home/{self.user}"
        self.root = Path(tempfile.mkdtemp(prefix="irods-"))
        self.temporary_passwords: set[str] = set()
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._checksums: dict[tuple[str, int, int], str] = {}
        self._listener = _Listener((self.host, 0), _Connection)
        self._listener.owner = self
        self.port = int(self._listener.server_address[1])
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def host(self) -> str:
        """Return the address served on."""
        return "127.0.0.1"

    def close(self) -> None:
        """Stop, end every connection, wait for its thread and remove the files."""
        self.closing.set()
        self._listener.shutdown()
        self._thread.join()
        for connection in list(self._listener.sockets):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self._listener.server_close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def number_of(self, path: str) -> int:
        """Return an object's or a collection's number in the catalogue."""
        with self.lock:
            return self._numbers.setdefault(path, 10000 + len(self._numbers))

    def file_of(self, path: str) -> Path:
        """Return the file that an object is, or raise."""
        inner = path.removeprefix(self.home + "/")
        file = self.root / inner
        if inner == path or ".." in inner.split("/") or not file.is_file():
            raise _IrodsError(OBJ_PATH_DOES_NOT_EXIST)
        return file

    def checksum(self, path: str, *, compute: bool) -> str:
        """Return what the catalogue knows; `compute` what it does not, and it knows from then.

        The form, `sha2:` and SHA-256 in base64, is that of iRODS's default hash scheme.
        """
        if path in self.wrong_checksums:
            return self.wrong_checksums[path]
        file = self.file_of(path)
        status = file.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if compute and key not in self._checksums:
            digest = hashlib.sha256(file.read_bytes()).digest()
            self._checksums[key] = "sha2:" + base64.b64encode(digest).decode()
        return self._checksums.get(key, "")

    def collections(self) -> Iterator[tuple[str, Path]]:
        """Yield every collection's logical path and its folder, those above `home` too."""
        for above in ("/", f"/{self.zone}", f"/{self.zone}/home"):
            yield above, self.root
        for folder, _, _ in os.walk(self.root):
            inner = Path(folder).relative_to(self.root).as_posix()
            yield (self.home if inner == "." else f"{self.home}/{inner}"), Path(folder)


class _IrodsError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


# --- XML: irods/message/__init__.py (client) names the structures and their elements ---

# Escaped are these and nothing else, as iRODS >= 4.2.9 does: irods/message/quasixml.py (client).
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


def _element(name: str, value: object) -> str:
    text = "".join(_ENTITIES.get(character, character) for character in str(value))
    return f"<{name}>{text}</{name}>\n"


def _structure(name: str, *inner: str, **values: object) -> str:
    elements = [_element(field, value) for field, value in values.items()]
    return f"<{name}>\n{''.join(elements)}{''.join(inner)}</{name}>\n"


def _part(message: str, name: str) -> str:
    """Return what is inside a structure; the protocol has no attributes."""
    found = re.search(f"<{name}>(.*?)</{name}>", message, re.DOTALL)
    return found[1] if found else ""


def _texts(message: str, name: str) -> list[str]:
    texts = re.findall(f"<{name}>([^<]*)</{name}>", message)
    for character, entity in reversed(_ENTITIES.items()):
        texts = [text.replace(entity, character) for text in texts]
    return texts


def _text(message: str, name: str) -> str:
    return next(iter(_texts(message, name)), "")


def _int(message: str, name: str) -> int:
    return int(_text(message, name) or 0)


def _ints(message: str, name: str) -> list[int]:
    return [int(text) for text in _texts(message, name)]


def _unpacked_json(message: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(base64.b64decode(_text(message, "buf")))
    return content


def _packed_json(content: object) -> str:
    """JSON in a BinBytesBuf_PI with the C string's end, as iRODS sends it."""
    text = json.dumps(content).encode() + b"\0"
    return _structure("BinBytesBuf_PI", buflen=len(text), buf=base64.b64encode(text).decode())


# --- the catalogue as GenQuery sees it ---

_OF_THE_COLLECTION = {402, *range(500, 510)}
_WITHOUT_ROWS = set(range(600, 720))  # AVUs and permissions: irods/models.py (client)
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_ORDERS = {0x400: False, 0x800: True}  # ORDER_BY and ORDER_BY_DESC: irods/query.py (client)


class _Row:
    """A collection, or with `file` a replica of an object in it."""

    def __init__(
        self,
        server: IrodsServer,
        collection: str,
        folder: Path,
        file: Path | None = None,
        replica: Replica | None = None,
    ) -> None:
        self.server, self.collection, self.folder = server, collection, folder
        self.file = file or folder
        told = self.told = replica or Replica(number=0, status=1, resource=RESOURCE)
        self.path = f"{collection}/{self.file.name}" if file else collection
        # The columns' numbers: irods/models.py (client).
        self.columns: dict[int, Callable[[], object]] = {
            **dict.fromkeys((405, 414, 418, 506, 507), str),
            **dict.fromkeys((402, 500), lambda: server.number_of(collection)),
            **dict.fromkeys((409, 422), lambda: told.resource),
            **dict.fromkeys((411, 503), lambda: server.user),
            **dict.fromkeys((412, 504), lambda: server.zone),
            **dict.fromkeys((417, 423, 505), int),
            401: lambda: server.number_of(self.path),
            403: lambda: self.file.name,
            404: lambda: told.number,
            406: lambda: "generic",
            407: lambda: self.file.stat().st_size if told.size is None else told.size,
            410: lambda: self.file,
            413: lambda: told.status,
            415: self._checksum,
            416: lambda: _time(0),
            419: lambda: _time(self.file.stat().st_ctime),
            420: lambda: _time(told.modified or self.file.stat().st_mtime),
            501: lambda: collection,
            502: lambda: collection.rpartition("/")[0] or "/",
            508: lambda: _time(folder.stat().st_ctime),
            509: lambda: _time(folder.stat().st_mtime),
        }

    def text(self, number: int) -> str:
        if number not in self.columns:
            raise _IrodsError(CAT_UNKNOWN_TABLE)
        return str(self.columns[number]())

    def _checksum(self) -> str:
        if self.told.checksum is not None:
            return self.told.checksum
        return self.server.checksum(self.path, compute=self.server.with_checksums)


def _time(seconds: float) -> str:
    """Write seconds since 1970 in UTC as iRODS keeps them, eleven digits: irods/column.py."""
    return f"{int(seconds):011d}"


def _like(pattern: str, text: str) -> bool:
    """SQL's LIKE as PostgreSQL has it: `%`, `_`, a backslash before what is to be literal."""
    wild = {"%": ".*", "_": "."}
    pieces = re.findall(r"\\?.", pattern, re.DOTALL)
    expression = "".join(wild.get(piece) or re.escape(piece[-1]) for piece in pieces)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _sortable(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() else (0, text)


def _meets(condition: str, text: str) -> bool:
    """Judge as insertWhere does (iRODS, plugins/database/src/general_query.cpp).

    A value ends at the last quote, so quotes within do no harm; but not so with "in".
    """
    condition = condition.strip()
    if condition[:2].lower() == "in":
        return text in re.findall("'([^']*)'", condition)
    comparison, start, rest = condition.partition("'")
    comparison, (value, end, _) = comparison.strip().lower(), rest.rpartition("'")
    if not (start and end):
        raise _IrodsError(CAT_INVALID_ARGUMENT)
    if comparison in {"=", "<>", "!="}:
        return (text == value) == (comparison == "=")
    if comparison in {"like", "not like"}:
        return _like(value, text) == (comparison == "like")
    if comparison not in _COMPARISONS:
        raise _IrodsError(CAT_INVALID_ARGUMENT)
    return bool(_COMPARISONS[comparison](_sortable(text), _sortable(value)))


def _selected(server: IrodsServer, message: str) -> list[tuple[str, ...]]:
    """Return the rows of a GenQueryInp_PI, each once: iRODS selects distinct ones."""
    columns, wheres = _part(message, "InxIvalPair_PI"), _part(message, "InxValPair_PI")
    numbers = _ints(columns, "inx")
    conditions = list(zip(_ints(wheres, "inx"), _texts(wheres, "svalue"), strict=True))
    used = {*numbers, *(number for number, _ in conditions)}
    if used & _WITHOUT_ROWS:
        return []
    matching = _matching(server, conditions, wants_objects=min(used) < 500)
    rows = list(dict.fromkeys(tuple(map(row.text, numbers)) for row in matching))
    for place, order in reversed(list(enumerate(_ints(columns, "ivalue")))):
        if order in _ORDERS:
            rows.sort(key=lambda row: _sortable(row[place]), reverse=_ORDERS[order])
    return rows


def _matching(
    server: IrodsServer, conditions: list[tuple[int, str]], *, wants_objects: bool
) -> Iterator[_Row]:
    def suits(row: _Row, *, as_collection: bool) -> bool:
        return all(
            _meets(condition, row.text(number))
            for number, condition in conditions
            if (number in _OF_THE_COLLECTION) == as_collection
        )

    for path, folder in server.collections():
        collection = _Row(server, path, folder)
        if suits(collection, as_collection=True):
            rows = _objects(server, path, folder) if wants_objects else [collection]
            yield from (row for row in rows if suits(row, as_collection=False))


def _objects(server: IrodsServer, path: str, folder: Path) -> Iterator[_Row]:
    for file in sorted(folder.iterdir()) if path.startswith(server.home) else []:
        if file.is_file():
            for replica in (None, *server.replicas.get(f"{path}/{file.name}", ())):
                yield _Row(server, path, folder, file, replica)


# --- connections ---


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 512
    owner: IrodsServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sockets: set[socket.socket] = set()


@dataclass
class _Reply:
    info: int = 0
    body: str = ""
    content: bytes = b""

    def packed(self, kind: str = "RODS_API_REPLY") -> bytes:
        """iRODSMessage.pack: a header's length, the header, the parts it gives lengths of."""
        body = self.body.encode(errors="surrogateescape")
        lengths = {"msgLen": len(body), "errorLen": 0, "bsLen": len(self.content)}
        header = _structure("MsgHeader_PI", type=kind, **lengths, intInfo=self.info).encode()
        return struct.pack(">i", len(header)) + header + body + self.content


@dataclass
class _Opened:
    path: str
    file: BinaryIO
    sent_bytes: int = 0


class _Connection(socketserver.BaseRequestHandler):
    server: _Listener

    def setup(self) -> None:
        self.owner = self.server.owner
        with self.owner.lock:
            self.owner.connections += 1
        self.socket: socket.socket = self.request
        self.server.sockets.add(self.socket)
        self.logged_in = False
        self.challenge = ""
        self.opened: dict[int, _Opened] = {}
        self.statements: dict[int, list[tuple[str, ...]]] = {}

    def handle(self) -> None:
        with suppress(OSError, EOFError):
            if self._greet():
                while self._answer():
                    pass

    def finish(self) -> None:
        for opened in self.opened.values():
            opened.file.close()
        self.server.sockets.discard(self.socket)
        self.socket.close()

    def _take(self, length: int) -> bytes:
        taken = bytearray()
        while len(taken) < length:
            piece = self.socket.recv(length - len(taken))
            if not piece:
                raise EOFError
            taken += piece
        return bytes(taken)

    def _take_header(self) -> str:
        (length,) = struct.unpack(">i", self._take(4))
        return self._take(length).decode()

    def _take_message(self) -> tuple[str, int, str]:
        header = self._take_header()
        body = self._take(_int(header, "msgLen")).decode(errors="surrogateescape")
        self._take(_int(header, "errorLen") + _int(header, "bsLen"))
        return _text(header, "type"), _int(header, "intInfo"), body

    def _greet(self) -> bool:
        """Negotiate, tell the version, start TLS: Connection._connect (client)."""
        _, _, startup = self._take_message()
        decision = ""
        if "request_server_negotiation" in _text(startup, "option"):
            offer = _structure("CS_NEG_PI", status=1, result=self.owner.policy)
            self.socket.sendall(_Reply(body=offer).packed("RODS_CS_NEG_T"))
            decision = self._take_message()[2]
        uses_tls = "CS_NEG_USE_SSL" in decision
        if "CS_NEG_FAILURE" in decision or (self.owner.policy == "CS_NEG_REQUIRE" and not uses_tls):
            return False
        names = {"relVersion": self.owner.version, "apiVersion": "d"}
        version = _structure("Version_PI", status=0, **names, reconnPort=0, reconnAddr="", cookie=1)
        self.socket.sendall(_Reply(body=version).packed("RODS_VERSION"))
        return self._starts_tls() if uses_tls else True

    def _starts_tls(self) -> bool:
        """Handshake, then take a header of settings and the secret: Connection.ssl_startup."""
        if not self.owner.tls:
            return False
        self.server.sockets.discard(self.socket)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.owner.tls.cert_file, self.owner.tls.key_file)
        wrapped = context.wrap_socket(self.socket, True, do_handshake_on_connect=False)
        self.socket = wrapped
        self.server.sockets.add(wrapped)
        wrapped.do_handshake()
        self._take_header()  # its lengths are the settings: no body follows
        self._take(_int(self._take_header(), "msgLen"))
        return True

    def _answer(self) -> bool:
        kind, number, body = self._take_message()
        if kind == "RODS_DISCONNECT":
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket.unwrap()
            return False
        name, handler = _APIS.get(number, (str(number), None))
        self.owner.requests.append(name)
        try:
            if not self.logged_in and "AUTH" not in name:
                raise _IrodsError(SYS_NO_API_PRIV)
            if handler is None:
                raise _IrodsError(SYS_UNMATCHED_API_NUM)
            reply = handler(self, body)
        except _IrodsError as error:
            reply = _Reply(error.code)
        self.socket.sendall(reply.packed())
        return True

    # Logging in: irods/auth (client), plugins/auth/src (iRODS); as before 4.3: irods/connection.py.

    def authenticate(self, body: str) -> _Reply:
        request = _unpacked_json(body)
        if request["next_operation"] == "auth_agent_auth_response":
            self._check(request["user_name"], request["digest"])
        elif request["scheme"] == "pam_password":
            if (request["user_name"], request["a_pw"]) != (
                self.owner.user,
                self.owner.pam_password,
            ):
                raise _IrodsError(PAM_AUTH_PASSWORD_FAILED)
            request["request_result"] = secrets.token_hex(16)
            self.owner.temporary_passwords.add(request["request_result"])
        else:
            request["request_result"] = self.challenge = secrets.token_hex(32)
        return _Reply(body=_packed_json(request))

    def challenge_as_before(self, _: str) -> _Reply:
        self.challenge = secrets.token_hex(32)
        packed = base64.b64encode(self.challenge.encode()).decode()
        return _Reply(body=_structure("authRequestOut_PI", challenge=packed))

    def response_as_before(self, body: str) -> _Reply:
        self._check(_text(body, "username").partition("#")[0], _text(body, "response"))
        return _Reply()

    def _check(self, user: str, response: str) -> None:
        """Compare MD5 of challenge and padded password, without zeros: irods/auth/native.py."""
        if user != self.owner.user:
            raise _IrodsError(CAT_INVALID_USER)
        for password in (self.owner.password, *self.owner.temporary_passwords):
            padded = struct.pack("50s", password.encode())
            digest = hashlib.md5(self.challenge.encode() + padded).digest()
            self.logged_in |= base64.b64decode(response) == digest.replace(b"\0", b"\1")
        if not self.logged_in:
            raise _IrodsError(CAT_INVALID_AUTHENTICATION)
        with self.owner.lock:
            self.owner.logins += 1

    # The catalogue: irods/query.py (client), chl_gen_query_impl in general_query.cpp (iRODS).

    def query(self, body: str) -> _Reply:
        limit, statement = _int(body, "maxRows"), _int(body, "continueInx")
        if statement:
            rows = self.statements.pop(statement, [])
        else:
            rows = _selected(self.owner, body)[_int(body, "partialStartIndex") :]
        if not rows and limit > 0:
            raise _IrodsError(CAT_NO_ROWS_FOUND)
        page = rows[:limit] if limit > 0 else []  # no limit: the client gives the query up
        following = 0
        if page and len(page) == limit:  # be any left or not: iRODS does not look ahead
            following = next(n for n in range(1, 999) if n not in self.statements)
            if following > MAX_STATEMENTS:
                raise _IrodsError(CAT_STATEMENT_TABLE_FULL)
            self.statements[following] = rows[limit:]
        numbers = _ints(_part(body, "InxIvalPair_PI"), "inx") if page else []
        results = [
            _structure("SqlResult_PI", *(_element("value", row[place]) for row in page), attriInx=n)
            for place, n in enumerate(numbers)
        ]
        counts = {"rowCnt": len(page), "attriCnt": len(numbers), "continueInx": following}
        return _Reply(body=_structure("GenQueryOut_PI", *results, **counts, totalRowCount=0))

    def tell_checksum(self, body: str) -> _Reply:
        """Tell what is known; compute what is not: rsDataObjChksum.cpp (iRODS)."""
        path = _text(body, "objPath")
        self.owner.file_of(path)
        return _Reply(body=_structure("STR_PI", myStr=self.owner.checksum(path, compute=True)))

    # Objects: irods/data_object.py, irods/connection.py, irods/parallel.py (client).

    def open(self, body: str) -> _Reply:
        path = _text(body, "objPath")
        if _int(body, "openFlags"):
            raise _IrodsError(CAT_NO_ACCESS_PERMISSION)
        descriptor = max(self.opened, default=2) + 1
        self.opened[descriptor] = _Opened(path, self.owner.file_of(path).open("rb"))
        return _Reply(descriptor)

    def _object(self, descriptor: int) -> _Opened:
        if descriptor not in self.opened:
            raise _IrodsError(SYS_FILE_DESC_OUT_OF_RANGE)
        return self.opened[descriptor]

    def read(self, body: str) -> _Reply:
        opened = self._object(_int(body, "l1descInx"))
        content = opened.file.read(_int(body, "len"))
        opened.sent_bytes += len(content)
        self.owner.closing.wait(self.owner.stall_seconds)
        reply = _Reply(len(content), content=content)
        limit = self.owner.cut_after_bytes
        if limit is not None and opened.sent_bytes >= limit and self._takes_a_cut():
            message = reply.packed()
            self.socket.sendall(message[: len(message) - max(opened.sent_bytes - limit, 1)])
            if self.owner.cut_with_reset:
                now = struct.pack("ii", 1, 0)  # close() resets the connection (socket(7))
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            raise EOFError
        return reply

    def _takes_a_cut(self) -> bool:
        with self.owner.lock:
            is_cut = self.owner.cuts_left > 0
            self.owner.cuts_left -= is_cut
            return is_cut

    def seek(self, body: str) -> _Reply:
        file = self._object(_int(body, "l1descInx")).file
        offset = file.seek(_int(body, "offset"), _int(body, "whence"))
        return _Reply(body=_structure("fileLseekOut_PI", offset=offset))

    def close(self, body: str) -> _Reply:
        descriptor = _unpacked_json(body)["fd"] if "<buf>" in body else _int(body, "l1descInx")
        self._object(descriptor).file.close()
        del self.opened[descriptor]
        return _Reply()

    def describe(self, body: str) -> _Reply:
        path = self._object(_unpacked_json(body)["fd"]).path
        about = {"object_path": path, "resource_hierarchy": RESOURCE}
        token = secrets.token_hex(16)
        return _Reply(body=_packed_json({"replica_token": token, "data_object_info": about}))


# irods/api_number.py (client).
_APIS: dict[int, tuple[str, Callable[[_Connection, str], _Reply] | None]] = {
    602: ("DATA_OBJ_OPEN_AN", _Connection.open),
    629: ("DATA_OBJ_CHKSUM_AN", _Connection.tell_checksum),
    673: ("DATA_OBJ_CLOSE_AN", _Connection.close),
    674: ("DATA_OBJ_LSEEK_AN", _Connection.seek),
    675: ("DATA_OBJ_READ_AN", _Connection.read),
    702: ("GEN_QUERY_AN", _Connection.query),
    703: ("AUTH_REQUEST_AN", _Connection.challenge_as_before),
    704: ("AUTH_RESPONSE_AN", _Connection.response_as_before),
    20000: ("GET_FILE_DESCRIPTOR_INFO_APN", _Connection.describe),
    20004: ("REPLICA_CLOSE_APN", _Connection.close),
    110000: ("AUTHENTICATION_APN", _Connection.authenticate),
}
