"""The real servers keep what the tests of the rooms rely on."""

from __future__ import annotations

import ftplib
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from contextlib import closing

import pika
import pycurl
import pytest
import redis

from tests.servers.process import poll


def test_rabbitmq_keeps_durable_queues_while_it_is_stopped(rabbitmq):
    parameters = pika.URLParameters(rabbitmq.url)
    with pika.BlockingConnection(parameters) as connection:
        connection.channel().queue_declare("kept", durable=True)

    rabbitmq.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((rabbitmq.host, rabbitmq.port))
    rabbitmq.start()

    with pika.BlockingConnection(parameters) as connection:
        connection.channel().queue_delete("kept")


def test_redis_keeps_its_keys_while_it_is_stopped(redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("kept", "1")

        redis_server.stop()
        redis_server.start()

        assert client.getdel("kept") == b"1"


def test_nginx_serves_its_root_by_http_and_by_trusted_https(nginx):
    (nginx.root / "served.txt").write_text("hello")

    context = ssl.create_default_context(cafile=nginx.ca_file)
    with urllib.request.urlopen(f"{nginx.https_url}/served.txt", context=context) as response:
        assert response.read() == b"hello"
    with urllib.request.urlopen(f"{nginx.url}/") as response:
        assert b'href="served.txt"' in response.read()

    assert "GET /served.txt 200" in nginx.access_log.read_text()


@pytest.mark.parametrize("user", ["anonymous", "biomaj"])
def test_ftp_server_lets_both_users_in(ftp_server, user):
    (ftp_server.root / "served.txt").write_text("hello")
    with ftplib.FTP() as client:
        client.connect(ftp_server.host, ftp_server.port)

        client.login(user, ftp_server.password)

        assert "served.txt" in client.nlst()


def test_ftps_server_shows_a_certificate_of_its_authority(ftps_server):
    context = ssl.create_default_context(cafile=ftps_server.ca_file)
    with ftplib.FTP_TLS(context=context) as client:
        client.connect(ftps_server.host, ftps_server.port)

        client.login(ftps_server.user, ftps_server.password)

        assert client.pwd() == "/"


def test_ftps_implicit_server_speaks_tls_from_the_first_byte(ftps_implicit_server):
    context = ssl.create_default_context(cafile=ftps_implicit_server.ca_file)
    address = (ftps_implicit_server.host, ftps_implicit_server.port)
    with (
        socket.create_connection(address) as plain,
        context.wrap_socket(plain, server_hostname=ftps_implicit_server.host) as secure,
    ):
        assert secure.recv(3) == b"220"


def test_ssh_server_lists_its_root_for_its_key_and_host_key(ssh_server):
    (ssh_server.root / "served.txt").write_text("hello")
    options = [f"UserKnownHostsFile={ssh_server.known_hosts_file}", "StrictHostKeyChecking=yes"]
    command = ["sftp", "-q", "-P", str(ssh_server.port), "-i", str(ssh_server.key_file)]
    for option in options:
        command += ["-o", option]

    done = subprocess.run(
        [*command, f"{ssh_server.user}@{ssh_server.host}:{ssh_server.root}"],
        input="ls\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert "served.txt" in done.stdout


def test_ssh_server_takes_the_password_where_it_has_one(ssh_server):
    if ssh_server.password is None:
        pytest.skip("sshd checks passwords for root alone")
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"{ssh_server.url}/")
    curl.setopt(pycurl.SSH_KNOWNHOSTS, str(ssh_server.known_hosts_file))
    curl.setopt(pycurl.SSH_AUTH_TYPES, pycurl.SSH_AUTH_PASSWORD)
    curl.setopt(pycurl.USERPWD, f"{ssh_server.user}:{ssh_server.password}")

    with closing(curl):
        assert " ." in curl.perform_rs()


def test_rsync_server_lists_its_root(rsync_server):
    (rsync_server.root / "served.txt").write_text("hello")

    done = subprocess.run(
        ["rsync", f"{rsync_server.url}/"], capture_output=True, text=True, timeout=30, check=True
    )

    assert "served.txt" in done.stdout


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_with_the_process_that_started_it(redis_server, end):
    code = (
        "from tests.servers.redis import RedisServer; import time\n"
        "server = RedisServer(); server.start(); print(server._process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as starter:
        server_pid = int(starter.stdout.readline())

        starter.send_signal(end)

    for _ in poll(10):
        if not _is_alive(server_pid):
            break
    assert not _is_alive(server_pid)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
