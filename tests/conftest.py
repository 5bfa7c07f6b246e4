"""Real servers for all tests: each starts with the first test that asks for it.

A server that cannot run here skips its tests, by name; where `CI` is set it fails them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from typing import NoReturn
from uuid import uuid4

import pytest
import trustme

from tests.servers.faulty_http import FaultyHttpServer
from tests.servers.nginx import NginxServer
from tests.servers.process import MissingServer, Server
from tests.servers.rabbitmq import RabbitmqServer, plain_channel
from tests.servers.redis import RedisServer
from tests.servers.rsyncd import RsyncServer
from tests.servers.sshd import SshServer
from tests.servers.tls import issue_certificate
from tests.servers.vsftpd import Tls, VsftpdServer

#: What a server that counts connections gives one address.
FEW_CONNECTIONS = 5
#: Slow enough for a connection to be cut in the middle of a file.
SLOW_BYTES_A_SECOND = 2_000_000


def do_without(missing: MissingServer) -> NoReturn:
    """Skip the test that needs what cannot run here; where `CI` is set, fail it."""
    if os.environ.get("CI"):
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(str(missing))


def pytest_sessionstart():
    """Let a terminated run stop its servers as an interrupted one does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def started_servers():
    """The servers of this run; closed in the end."""
    servers: list[Server] = []
    yield servers
    for server in reversed(servers):
        server.close()


@pytest.fixture(autouse=True)
def _servers_run_again(started_servers):
    """Start the servers again that a test stopped."""
    yield
    for server in started_servers:
        server.start()


@pytest.fixture(scope="session")
def start_server(started_servers):
    """Start a server, or skip or fail the test where it cannot run."""

    def start(make, *arguments):
        try:
            server = make(*arguments)
        except MissingServer as missing:
            do_without(missing)
        started_servers.append(server)
        server.start()
        return server

    return start


@pytest.fixture(scope="session")
def authority():
    """Who certifies RabbitMQ, Redis and their clients."""
    return trustme.CA()


@pytest.fixture(scope="session")
def issue(authority, tmp_path_factory):
    """Issue a certificate for a name; by another authority, if one is given."""

    def issue(*names, by=authority):
        return issue_certificate(tmp_path_factory.mktemp("certificate"), *names, authority=by)

    return issue


@pytest.fixture(scope="session")
def rabbitmq(start_server, issue):
    return start_server(partial(RabbitmqServer, certificate=issue("127.0.0.1")))


@pytest.fixture
def channel(rabbitmq):
    with plain_channel(rabbitmq) as channel:
        yield channel


@pytest.fixture
def queue(rabbitmq):
    """The name of a queue that does not exist yet, deleted with its dead letters in the end."""
    name = f"test-{uuid4()}"
    yield name
    with plain_channel(rabbitmq) as channel:
        channel.queue_delete(name)
        channel.queue_delete(f"{name}.dead")


@pytest.fixture(scope="session")
def redis_server(start_server, issue):
    return start_server(partial(RedisServer, certificate=issue("127.0.0.1")))


@pytest.fixture(scope="session")
def nginx(start_server):
    return start_server(NginxServer)


@pytest.fixture(scope="session")
def ftp_server(start_server):
    return start_server(VsftpdServer)


@pytest.fixture(scope="session")
def crowded_ftp_server(start_server):
    return start_server(partial(VsftpdServer, connections_per_address=FEW_CONNECTIONS))


@pytest.fixture(scope="session")
def ftps_server(start_server):
    return start_server(VsftpdServer, Tls.EXPLICIT)


@pytest.fixture(scope="session")
def ftps_implicit_server(start_server):
    return start_server(VsftpdServer, Tls.IMPLICIT)


@pytest.fixture(scope="session")
def slow_ftp_server(start_server):
    return start_server(partial(VsftpdServer, bytes_a_second=SLOW_BYTES_A_SECOND))


@pytest.fixture(scope="session")
def slow_ftps_server(start_server):
    return start_server(partial(VsftpdServer, Tls.EXPLICIT, bytes_a_second=SLOW_BYTES_A_SECOND))


@pytest.fixture(scope="session")
def slow_ftps_implicit_server(start_server):
    return start_server(partial(VsftpdServer, Tls.IMPLICIT, bytes_a_second=SLOW_BYTES_A_SECOND))


@pytest.fixture(scope="session")
def ssh_server(start_server):
    return start_server(SshServer)


@pytest.fixture(scope="session")
def rsync_server(start_server):
    return start_server(RsyncServer)


@pytest.fixture
def faulty_http():
    with FaultyHttpServer() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB; its folder."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode()}")
    yield folder
    # Lazily: a test that failed may hold a file open.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
