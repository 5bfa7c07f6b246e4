"""A bank comes home: client, RabbitMQ, consumer, web server, Redis, web interface, client.

All are processes of their own, as on a site.
"""

from __future__ import annotations

import time
from contextlib import closing
from uuid import uuid4

import pika
import pytest
import requests

from biomaj_download.downloadclient import DownloadClient
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from tests import background
from tests.servers.biomaj import DownloadConsumer, DownloadWeb
from tests.servers.download_service import settings_of
from tests.servers.process import poll

FILE_BYTES = 10 * 1024
NUMBER_OF_FILES = 500


@pytest.fixture(scope="module")
def consumer(rabbitmq, redis_server):
    settings_of(rabbitmq)
    with DownloadConsumer(rabbitmq, redis_server) as consumer:
        yield consumer


@pytest.fixture(scope="module")
def web(rabbitmq, redis_server):
    with DownloadWeb(rabbitmq, redis_server) as web:
        yield web


@pytest.fixture(scope="module")
def bank(nginx):
    """A folder of small files on a web server."""
    folder = nginx.root / f"bank-{uuid4()}"
    folder.mkdir()
    for number in range(NUMBER_OF_FILES):
        (folder / f"{number}.fa").write_bytes(number.to_bytes(2, "big") * (FILE_BYTES // 2))
    return folder


@pytest.fixture
def client(rabbitmq, consumer):
    """A client with the limit that BioMAJ sets where a bank does not."""
    with closing(
        DownloadClient(
            rabbitmq.host,
            rabbitmq.port,
            rabbitmq.virtual_host,
            rabbitmq.user,
            rabbitmq.password,
        )
    ) as client:
        client.set_rate_limiting(4)
        yield client


@pytest.fixture
def handler(client, nginx, bank):
    """The downloader of all files of the bank."""
    handler = client.get_handler(
        "http",
        f"{nginx.host}:{nginx.port}",
        f"/{bank.name}/",
        options={"stop_condition": "stop_after_attempt(1)"},
    )
    handler.set_files_to_download([path.name for path in sorted(bank.iterdir())])
    return handler


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_road_brings_500_files_home_while_the_old_one_brings_two(
    client, handler, web, bank, tmp_path
):
    client.create_session("alu", web.url)
    started = time.monotonic()

    client.download_remote_files({}, [handler], tmp_path)
    has_failed = client.wait_for_download()

    assert time.monotonic() - started < 20
    assert has_failed is False
    assert client.download_status() == (NUMBER_OF_FILES, -1)
    assert contents(tmp_path) == contents(bank)


def test_road_tells_which_file_did_not_come(client, handler, web, tmp_path, caplog):
    client.create_session("alu", web.url)
    handler.set_files_to_download(["1.fa", "missing.fa"])

    client.download_remote_files({}, [handler], tmp_path)

    assert client.wait_for_download() is True
    assert client.download_status() == (2, 1)
    assert "missing.fa: expected the file, got HTTP status 404" in caplog.text


def test_road_counts_every_file_once_when_a_consumer_dies(
    client, handler, web, consumer, bank, tmp_path
):
    client.create_session("alu", web.url)
    client.download_remote_files({}, [handler], tmp_path)
    result = background.start(client.wait_for_download)

    for _ in poll(20):
        if len(list(tmp_path.iterdir())) > NUMBER_OF_FILES // 4:
            break
    consumer.kill()
    assert not result.done()
    consumer.start()

    assert result.result(timeout=60) is False
    assert client.download_status() == (NUMBER_OF_FILES, -1)
    assert contents(tmp_path) == contents(bank)


def test_road_serves_a_client_that_names_no_message_and_no_root(
    web, consumer, rabbitmq, nginx, bank, tmp_path
):
    routes = f"{web.url}/api/download"
    session = requests.post(f"{routes}/session/alu", timeout=10).json()["session"]
    operation = new_operation(Kind.DOWNLOAD, bank="alu", session=session, local_dir=str(tmp_path))
    remote_file = operation.download.remote_file
    remote_file.protocol = wire.DownloadFile.HTTP
    remote_file.server = f"{nginx.host}:{nginx.port}"
    remote_file.remote_dir = f"/{bank.name}/"
    remote_file.files.add(name="7.fa", save_as="seven.fa")

    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        for _ in range(2):
            connection.channel().basic_publish(
                "",
                "biomajdownload",
                operation.SerializePartialToString(),
                pika.BasicProperties(delivery_mode=2),
            )
    status = {}
    for _ in poll(20):
        status = requests.get(f"{routes}/status/download/alu/{session}", timeout=10).json()
        if status["progress"] == 2:
            break

    assert status == {"progress": 2, "errors": -1, "open": True}
    assert contents(tmp_path) == {"seven.fa": (bank / "7.fa").read_bytes()}
