"""What the embedded service's web server answers by itself."""

from __future__ import annotations

import socket

import pytest

from biomaj_download.biomaj_download_web import LONGEST_BODY_BYTES
from biomaj_download.rest.headers import HEADERS
from tests.command.conftest import served


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(tmp_path_factory.mktemp("data")) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (f"POST /api/download/metrics HTTP/1.1\r\nContent-Length: {LONGEST_BODY_BYTES}", 413),
        ("GET / HTTP/1.1\r\nno header", 400),
    ],
)
def test_a_refusal_has_the_headers_of_safety(address, request_head, status):
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(f"{request_head}\r\nHost: localhost\r\n\r\n".encode())
        answer = connection.makefile("rb").read().decode()

    head = answer.partition("\r\n\r\n")[0].splitlines()
    assert head[0].split()[1] == str(status)
    assert [
        f"{name}: {value}" for name, value in HEADERS.items() if f"{name}: {value}" not in head
    ] == []
