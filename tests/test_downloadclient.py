"""The client as BioMAJ core's workflow calls it, here and through a service."""

from __future__ import annotations

import inspect
import subprocess
import sys
from contextlib import closing
from uuid import uuid4

import pytest
import redis

from biomaj_download.download.curl import CurlDownload, HTTPParse
from biomaj_download.downloadclient import DownloadClient
from biomaj_download.errors import Cancelled, ServiceError, UnknownProtocol
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import DEFAULT_PATTERNS
from tests.servers.download_service import DownloadServiceStandIn, settings_of
from tests.servers.faulty_http import Answer
from tests.servers.process import free_port

NAMES = [f"sequences-{number}.fa" for number in range(12)]
BANK = {
    "remote.dir": "/",
    "http.parse.dir.line": DEFAULT_PATTERNS.dir_line,
    "http.parse.file.line": DEFAULT_PATTERNS.file_line,
}


@pytest.fixture
def content():
    """Name and bytes of the files of a bank."""
    return {name: name.encode() * 1000 for name in NAMES}


@pytest.fixture(params=["http", "ftp"])
def handler_of(request, content):
    """Serve a bank by a protocol; return a function that asks a client for its handler."""
    server = request.getfixturevalue({"http": "nginx", "ftp": "ftp_server"}[request.param])
    folder = server.root / f"bank-{uuid4()}"
    folder.mkdir()
    for name, body in content.items():
        (folder / name).write_bytes(body)

    def handler_of(client):
        return client.get_handler(
            request.param,
            f"{server.host}:{server.port}",
            f"/{folder.name}/",
            credentials=None if request.param == "http" else f"{server.user}:{server.password}",
            http_parse=HTTPParse(DEFAULT_PATTERNS.dir_line, DEFAULT_PATTERNS.file_line),
            options={"stop_condition": "stop_after_attempt(1)"},
        )

    return handler_of


@pytest.fixture
def client():
    with closing(DownloadClient()) as client:
        yield client


@pytest.fixture
def service(rabbitmq):
    with DownloadServiceStandIn(settings_of(rabbitmq), holds=True) as service:
        service.finishes_at_once = True
        yield service


@pytest.fixture
def remote_client(rabbitmq):
    """Make a client of a service, with more arguments if need be."""
    opened = []

    def make(**more):
        client = DownloadClient(
            rabbitmq.host,
            rabbitmq.port,
            rabbitmq.virtual_host,
            rabbitmq.user,
            rabbitmq.password,
            **more,
        )
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


def test_download_client_brings_a_bank_home_without_a_service(
    client, handler_of, content, tmp_path
):
    client.set_queue_size(4)
    client.create_session("alu")
    handler = handler_of(client)
    handler.match([r"^sequences-\d+\.fa$"], *handler.list())

    client.download_remote_files(BANK, [handler], tmp_path)
    has_failed = client.wait_for_download()
    client.clean()

    assert has_failed is False
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_download_client_tells_that_a_file_failed_without_a_service(
    client, handler_of, tmp_path, caplog
):
    client.create_session("alu")
    handler = handler_of(client)
    handler.set_files_to_download([NAMES[0], "missing.fa"])

    client.download_remote_files(BANK, [handler], tmp_path)

    assert client.wait_for_download() is True
    assert client.download_status() == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[0]]
    assert "missing.fa" in caplog.text


def test_download_client_has_a_bank_brought_home_by_a_service(remote_client, service, tmp_path):
    client = remote_client()
    client.set_rate_limiting(4)
    client.set_queue_size(4)
    session = client.create_session("alu", service.url)
    handlers = [client.get_handler("ftp", "one", "/"), client.get_handler("sftp", "two", "/")]
    for handler in handlers:
        handler.set_files_to_download(NAMES)

    client.download_remote_files(BANK, handlers, tmp_path)
    before = client.download_status()
    has_failed = client.wait_for_download()
    after = client.download_status()
    client.clean()

    jobs = service.take(2 * len(NAMES))
    assert [(job.server, job.files[0].name) for job in jobs] == [
        (server, name) for server in ("one", "two") for name in NAMES
    ]
    assert {(job.bank, job.session, job.local_dir) for job in jobs} == {("alu", session, tmp_path)}
    assert (before, has_failed, after) == ((-1, -1), False, (2 * len(NAMES), -1))
    assert service.most_unfinished <= 4
    assert service.web.sessions == {}


def test_download_client_hands_over_a_request_that_core_built(remote_client, service):
    client = remote_client()
    session = client.create_session("alu", service.url)

    client.download_remote_file(operation_as_core_builds_it(session))

    assert client.wait_for_download() is False
    (job,) = service.take(1)
    assert (job.protocol, job.files[0].name, job.files[0].root) == ("http", "/sub/a.fa", "")


def operation_as_core_builds_it(session):
    """Return a request in which core left out what it does not know: here a root."""
    operation = wire.Operation()
    operation.type = 1
    message = wire.DownloadFile()
    message.bank = "alu"
    message.session = session
    message.local_dir = "/data/alu/offline"
    remote_file = wire.DownloadFile.RemoteFile()
    remote_file.protocol = wire.DownloadFile.Protocol.Value("HTTP")
    remote_file.server = "example.org"
    remote_file.remote_dir = ""
    remote_file.files.add().name = "/sub/a.fa"
    message.http_method = wire.DownloadFile.HTTP_METHOD.Value("GET")
    message.remote_file.MergeFrom(remote_file)
    operation.download.MergeFrom(message)
    return operation


def test_download_client_has_no_limit_after_a_rate_of_0(remote_client, service):
    client = remote_client()
    client.set_rate_limiting(4)
    client.set_rate_limiting(0)
    client.create_session("alu", service.url)
    handler = client.get_handler("ftp", "one", "/")
    handler.set_files_to_download(NAMES)

    client.download_remote_files(BANK, [handler], "/data")

    assert len(service.take(len(NAMES))) == len(NAMES)


def test_download_client_obeys_the_cancel_flag_of_the_bank(remote_client, service, redis_server):
    with redis.Redis(redis_server.host, redis_server.port) as redis_client:
        redis_client.set("site:alu:action:cancel", 1)
        client = remote_client(redis_client=redis_client, redis_prefix="site")
        client.set_rate_limiting(1)
        session = client.create_session("alu", service.url)
        client.download_remote_file(operation_as_core_builds_it(session))

        with pytest.raises(Cancelled):
            client.wait_for_download()


def test_download_client_asks_three_times_for_a_session(remote_client, faulty_http, monkeypatch):
    monkeypatch.setattr("biomaj_download.client.patience.FIRST_WAIT_SECONDS", 0.02)
    faulty_http.add("/api/download/session/alu", Answer(status=503))

    with pytest.raises(ServiceError, match="503"):
        remote_client().create_session("alu", faulty_http.url)

    assert len(faulty_http.requests) == 3


def test_download_client_gives_handlers_while_its_service_is_away():
    with closing(DownloadClient("127.0.0.1", free_port())) as client:
        handler = client.get_handler("HTTP", "example.org", "/pub/", save_as="a")

    assert isinstance(handler, CurlDownload)
    assert (handler.server, handler.save_as, handler.method) == ("example.org", "a", "GET")


def test_download_client_knows_no_handler_of_an_unknown_protocol(client):
    with pytest.raises(UnknownProtocol, match="gopher"):
        client.get_handler("gopher", "example.org", "/")


def test_download_client_needs_a_session_before_files(client):
    with pytest.raises(ServiceError, match="expected a session"):
        client.download_remote_files(BANK, [], "/data")


def test_download_client_can_be_cleaned_and_closed_at_any_time(remote_client):
    for client in (DownloadClient(), remote_client()):
        client.clean()
        client.close()
        client.close()


def test_download_client_has_the_arguments_that_core_passes_by_place():
    parameters = inspect.signature(DownloadClient).parameters

    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "rabbitmq_host": None,
        "rabbitmq_port": 5672,
        "rabbitmq_vhost": "/",
        "rabbitmq_user": None,
        "rabbitmq_password": None,
        "pool_size": 5,
        "redis_client": None,
        "redis_prefix": None,
    }


def test_download_client_without_a_service_needs_the_libraries_of_none():
    script = (
        "import sys; sys.modules.update(flask=None, redis=None, pika=None)\n"
        "from biomaj_download.downloadclient import DownloadClient\n"
        "client = DownloadClient()\n"
        "client.create_session('alu')\n"
        "assert client.wait_for_download() is False\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_download_client_of_a_service_needs_neither_flask_nor_redis():
    script = (
        "import sys; sys.modules.update(flask=None, redis=None)\n"
        "from biomaj_download.downloadclient import DownloadClient\n"
        "DownloadClient('127.0.0.1').close()\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
