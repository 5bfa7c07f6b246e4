from __future__ import annotations

import io
import os
import time
import traceback
from datetime import datetime, timezone

import pytest
from irods.column import In, Like
from irods.exception import (
    CAT_INVALID_AUTHENTICATION,
    CAT_INVALID_USER,
    OBJ_PATH_DOES_NOT_EXIST,
    PAM_AUTH_PASSWORD_FAILED,
    CollectionDoesNotExist,
    DataObjectDoesNotExist,
    NetworkException,
)
from irods.keywords import FORCE_FLAG_KW
from irods.message import OpenedDataObjRequest, iRODSMessage
from irods.models import Collection, DataObject
from irods.session import iRODSSession

from tests.servers.irods import IrodsServer, Replica
from tests.servers.tls import issue_certificate

ODD_NAMES = [
    "a b",
    "a#b?c%41&amp;d;e=f",
    'it\'s "quoted" `so`',
    "l'un et l'autre",
    "<tag> & é 漢字 😀",
    "100%_\\x",
    "|| && ,()",
]
HELLO = "sha2:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="


@pytest.fixture
def irods():
    with IrodsServer() as server:
        yield server


@pytest.fixture
def irods_over_tls(tmp_path):
    with IrodsServer(tls=issue_certificate(tmp_path)) as server:
        yield server


def connect(server, **options):
    account = {"user": server.user, "password": server.password, "zone": server.zone}
    return iRODSSession(host=server.host, port=server.port, **{**account, **options})


def connect_over_tls(server, **options):
    return connect(
        server,
        client_server_negotiation="request_server_negotiation",
        client_server_policy="CS_NEG_REQUIRE",
        encryption_algorithm="AES-256-CBC",
        encryption_key_size=32,
        encryption_num_hash_rounds=16,
        encryption_salt_size=8,
        ssl_verify_server="hostname",
        ssl_ca_certificate_file=str(server.ca_file),
        **options,
    )


def refuse(session, path, error, **options):
    """Expect a connection to fail; the error's frames hold it open, in a cycle."""
    with pytest.raises(error, **options) as refusal:
        session.collections.get(path)
    traceback.clear_frames(refusal.tb)


def listing(session, *criteria):
    columns = Collection.name, DataObject.name, DataObject.size, DataObject.checksum
    found = session.query(*columns, DataObject.modify_time).filter(*criteria)
    return {f"{row[Collection.name]}/{row[DataObject.name]}": row for row in found}


@pytest.mark.parametrize("version", ["rods4.3.2", "rods4.2.11"])
def test_a_session_logs_in_once_for_all_it_does(irods, version):
    irods.version = version
    (irods.root / "a").write_bytes(b"hello")
    with connect(irods) as session:
        assert session.data_objects.get(f"{irods.home}/a").checksum == HELLO
        assert session.data_objects.chksum(f"{irods.home}/a") == HELLO
        with session.data_objects.open(f"{irods.home}/a", "r") as content:
            assert content.read() == b"hello"

    assert (irods.connections, irods.logins) == (1, 1)
    assert (
        irods.requests.count("DATA_OBJ_OPEN_AN") == irods.requests.count("DATA_OBJ_CLOSE_AN") == 1
    )


@pytest.mark.parametrize("version", ["rods4.3.2", "rods4.2.11"])
@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"password": "no"}, CAT_INVALID_AUTHENTICATION), ({"user": "no"}, CAT_INVALID_USER)],
)
def test_wrong_names_and_passwords_are_refused(irods, wrong, error, version):
    irods.version = version
    with connect(irods, **wrong) as session:
        refuse(session, irods.home, error)

    assert irods.logins == 0


def test_a_pam_password_gives_a_native_one_over_tls(irods_over_tls):
    server = irods_over_tls
    (server.root / "a").write_bytes(b"hello")
    with connect_over_tls(
        server, password=server.pam_password, authentication_scheme="pam_password"
    ) as session:
        assert session.data_objects.get(f"{server.home}/a").size == 5
    assert server.requests[:3] == ["AUTHENTICATION_APN"] * 3
    assert server.logins == 1


def test_a_native_password_goes_over_tls_too(irods_over_tls):
    with connect_over_tls(irods_over_tls) as session:
        assert session.collections.exists(irods_over_tls.home)


def test_a_wrong_pam_password_is_refused(irods_over_tls):
    options = {"password": "irods-secret", "authentication_scheme": "pam_password"}
    with connect_over_tls(irods_over_tls, **options) as session:
        refuse(session, irods_over_tls.home, PAM_AUTH_PASSWORD_FAILED)


def test_a_server_that_requires_tls_takes_no_other_connection(irods_over_tls):
    with connect(irods_over_tls) as session:
        refuse(session, irods_over_tls.home, NetworkException)


def test_a_server_without_tls_refuses_it(irods, irods_over_tls):
    irods.ca_file = irods_over_tls.ca_file
    with connect_over_tls(irods) as session:
        refuse(session, irods.home, NetworkException, match="REFUSE")


def test_collections_and_objects_are_listed(irods):
    (irods.root / "one/two").mkdir(parents=True)
    (irods.root / "a").write_bytes(b"hello")
    (irods.root / "one/b").write_bytes(b"")
    (irods.root / "one/two/c").write_bytes(b"see")
    os.utime(irods.root / "a", (0, 1_700_000_000))
    with connect(irods) as session:
        home = session.collections.get(irods.home)
        assert [inner.path for inner in home.subcollections] == [f"{irods.home}/one"]
        (found,) = home.data_objects
        walked = [(top.name, [each.name for each in files]) for top, _, files in home.walk()]
        below = listing(session, Like(Collection.name, f"{irods.home}/one%"))
        assert session.collections.get("/").subcollections[0].path == f"/{irods.zone}"

    assert (found.name, found.size, found.checksum) == ("a", 5, HELLO)
    assert (found.path, found.owner_name) == (f"{irods.home}/a", irods.user)
    assert found.modify_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)
    assert [(each.number, each.status) for each in found.replicas] == [(0, "1")]
    assert walked == [("biomaj", ["a"]), ("one", ["b"]), ("two", ["c"])]
    assert {path: row[DataObject.size] for path, row in below.items()} == {
        f"{irods.home}/one/b": 0,
        f"{irods.home}/one/two/c": 3,
    }


def test_many_files_come_in_pages(irods):
    for number in range(1_200):
        (irods.root / f"file{number}").touch()
    with connect(irods) as session:
        assert len(listing(session, Collection.name == irods.home)) == 1_200
        pages = irods.requests.count("GEN_QUERY_AN")
        limited = session.query(DataObject.name).limit(256)
        assert [len(page) for page in limited.get_batches()] == [256] * 4 + [176]
        assert len(session.query(DataObject.name).all()) == 500
        assert len(session.query(DataObject.name).offset(1_190).all()) == 10
        for _ in range(60):
            assert session.query(DataObject.name).first()

    assert pages == 3


def test_a_page_that_is_full_is_followed_by_another(irods):
    for number in range(500):
        (irods.root / f"file{number}").touch()
    with connect(irods) as session:
        assert [len(page) for page in session.query(DataObject.name).get_batches()] == [500, 0]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_arrive_as_they_are(irods, name, tmp_path):
    (irods.root / name).mkdir()
    (irods.root / name / name).write_bytes(b"hello")
    path = f"{irods.home}/{name}/{name}"
    with connect(irods) as session:
        assert [each.name for each in session.collections.get(irods.home).subcollections] == [name]
        found = session.data_objects.get(path, str(tmp_path / "got"))
        assert list(listing(session, Collection.name == f"{irods.home}/{name}")) == [path]
        assert session.data_objects.chksum(path) == HELLO

    assert (found.path, found.checksum) == (path, HELLO)
    assert (tmp_path / "got").read_bytes() == b"hello"


def test_conditions_choose_as_sql_does(irods):
    for name in ("a_1", "ab1", "c"):
        (irods.root / name).write_bytes(name.encode() * len(name))

    def names(session, *criteria):
        found = session.query(DataObject.name).order_by(DataObject.name, "desc").filter(*criteria)
        return [row[DataObject.name] for row in found]

    with connect(irods) as session:
        assert names(session) == ["c", "ab1", "a_1"]
        assert names(session, Like(DataObject.name, "a_1")) == ["ab1", "a_1"]
        assert names(session, Like(DataObject.name, r"a\_1")) == ["a_1"]
        assert names(session, In(DataObject.name, ["c", "ab1"])) == ["c", "ab1"]
        assert names(session, DataObject.name != "c", DataObject.size > 8) == ["ab1", "a_1"]
        assert names(session, DataObject.name == "nothing") == []


def test_every_replica_is_a_row(irods):
    (irods.root / "a").write_bytes(b"hello")
    irods.replicas[f"{irods.home}/a"] = [Replica(size=3, modified=1_000, checksum="")]
    with connect(irods) as session:
        found = session.data_objects.get(f"{irods.home}/a")
        rows = list(session.query(DataObject.name, DataObject.size, DataObject.replica_status))

    assert [(each.number, each.status, each.size) for each in found.replicas] == [
        (0, "1", 5),
        (1, "0", 3),
    ]
    assert [(row[DataObject.size], row[DataObject.replica_status]) for row in rows] == [
        (5, "1"),
        (3, "0"),
    ]


def test_a_file_is_got_one_by_one(irods, tmp_path):
    for size in (0, 1, 9_000_000):
        (irods.root / str(size)).write_bytes(os.urandom(size))
    with connect(irods) as session:
        for size in (0, 1, 9_000_000):
            got = tmp_path / str(size)
            got.touch()
            options = {FORCE_FLAG_KW: ""}
            session.data_objects.get(f"{irods.home}/{size}", str(got), num_threads=1, **options)
            assert got.read_bytes() == (irods.root / str(size)).read_bytes()

    assert irods.connections == 1


def test_a_large_file_is_got_in_parallel_byte_for_byte(irods, tmp_path):
    content = os.urandom(40 << 20)
    (irods.root / "large").write_bytes(content)
    with connect(irods) as session:
        assert session.collections.exists(irods.home)
        session.data_objects.get(f"{irods.home}/large", str(tmp_path / "got"), num_threads=4)

    assert (tmp_path / "got").read_bytes() == content
    assert irods.connections == irods.requests.count("DATA_OBJ_OPEN_AN")
    assert irods.requests.count("REPLICA_CLOSE_APN") == irods.connections - 1
    if (os.cpu_count() or 1) >= 4:
        assert irods.connections == 4


def test_a_checksum_is_unknown_until_it_is_asked_for(tmp_path):
    with IrodsServer(with_checksums=False) as irods:
        path = f"{irods.home}/a"
        (irods.root / "a").write_bytes(b"hello")
        with connect(irods) as session:
            assert session.data_objects.get(path).checksum is None
            assert session.data_objects.chksum(path) == HELLO
            assert session.data_objects.get(path).checksum == HELLO
            irods.wrong_checksums[path] = "sha2:wrong"
            assert session.data_objects.chksum(path) == "sha2:wrong"
            assert session.data_objects.get(path).checksum == "sha2:wrong"


def test_what_is_missing_is_said_to_be(irods, tmp_path):
    missing = f"{irods.home}/missing"
    with connect(irods) as session:
        with pytest.raises(CollectionDoesNotExist):
            session.collections.get(missing)
        with pytest.raises(CollectionDoesNotExist):
            session.data_objects.get(f"{missing}/a")
        with pytest.raises(DataObjectDoesNotExist):
            session.data_objects.get(missing)
        assert listing(session, Collection.name == missing) == {}
        assert not session.data_objects.exists(missing)
        with pytest.raises(OBJ_PATH_DOES_NOT_EXIST):
            session.data_objects.chksum(missing)
        assert irods.connections == 1
        with pytest.raises(OBJ_PATH_DOES_NOT_EXIST):
            session.data_objects.open(missing, "r")
        with pytest.raises(OBJ_PATH_DOES_NOT_EXIST):
            session.data_objects.get(missing, str(tmp_path / "got"))

    assert not (tmp_path / "got").exists()


def read_whole(session, path):
    """Read by messages that come whole or raise: what readinto() waits on for ever may not come."""
    raw = session.data_objects.open(path, "r").detach()
    content = io.BytesIO()
    try:
        while piece := raw.conn.read_file(raw.desc, 1 << 20):
            content.write(piece)
    except NetworkException:
        raw.conn.socket.close()  # its pool forgets it as it is
        io.RawIOBase.close(raw)  # close() would talk to the server
        raise
    raw.close()
    return content.getvalue()


@pytest.mark.parametrize("with_reset", [True, False])
@pytest.mark.parametrize("server", ["irods", "irods_over_tls"])
def test_a_cut_connection_is_an_error_and_the_next_one_works(server, with_reset, request):
    irods = request.getfixturevalue(server)
    (irods.root / "a").write_bytes(b"hello" * 1_000_000)
    irods.cut_after_bytes, irods.cut_with_reset = 2_000_000, with_reset
    started_at = time.monotonic()
    with (connect_over_tls if irods.ca_file else connect)(irods) as session:
        assert session.collections.exists(irods.home)
        with pytest.raises(NetworkException, match="receive"):
            read_whole(session, f"{irods.home}/a")
        assert read_whole(session, f"{irods.home}/a") == b"hello" * 1_000_000

    assert time.monotonic() - started_at < 5
    assert (irods.connections, irods.logins, irods.cuts_left) == (2, 2, 0)


def test_a_cut_comes_after_the_bytes_it_was_told(irods):
    (irods.root / "a").write_bytes(b"hello" * 1_000_000)
    irods.cut_after_bytes, irods.cut_with_reset = 2_000_000, False
    with connect(irods) as session:
        assert session.collections.exists(irods.home)
        raw = session.data_objects.open(f"{irods.home}/a", "r").detach()
        client, taken = raw.conn.socket, 0
        for length in (1_500_000, 1_500_000):
            body = OpenedDataObjRequest(l1descInx=raw.desc, len=length, offset=0)
            client.sendall(iRODSMessage("RODS_API_REQ", body, int_info=675).pack())
            header = client.recv(int.from_bytes(client.recv(4), "big")).decode()
            announced = int(header.partition("<bsLen>")[2].partition("<")[0])
            wanted = length
            while wanted and (piece := client.recv(wanted)):
                wanted -= len(piece)
            taken += length - wanted
            assert announced == length
        client.close()
        io.RawIOBase.close(raw)

    assert taken == 2_000_000


def test_a_stalled_read_ends_with_the_clients_timeout(irods):
    (irods.root / "a").write_bytes(b"hello")
    irods.stall_seconds = 30
    with connect(irods, connection_timeout=0.5) as session:
        assert session.collections.exists(irods.home)
        with pytest.raises(NetworkException, match="receive"):
            read_whole(session, f"{irods.home}/a")
