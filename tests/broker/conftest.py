"""What the tests of the broker's rooms share: a queue of their own on the real RabbitMQ."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import closing, suppress
from uuid import uuid4

import pytest
from pydantic import SecretStr

from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.settings import RabbitmqSettings
from tests.servers.rabbitmq import plain_channel


@pytest.fixture
def count_waiting(rabbitmq, queue):
    """Tell how many messages wait on the queue."""

    def count():
        with plain_channel(rabbitmq) as channel:
            return channel.queue_declare(queue, passive=True).method.message_count

    return count


@pytest.fixture
def rabbitmq_settings(rabbitmq, queue):
    return RabbitmqSettings(
        host=rabbitmq.host,
        port=rabbitmq.port,
        user=rabbitmq.user,
        password=rabbitmq.password,
        virtual_host=rabbitmq.virtual_host,
        queue=queue,
    )


@pytest.fixture
def open_with(rabbitmq_settings):
    """Open a broker with changed settings; closed in the end."""
    opened = []

    def open_with(**changes):
        opened.append(RabbitmqBroker(rabbitmq_settings.model_copy(update=changes)))
        return opened[-1]

    yield open_with
    for broker in opened:
        broker.close()


@pytest.fixture
def broker(open_with):
    return open_with()


@pytest.fixture
def account(rabbitmq):
    """An account that may use every queue, but makes none until `.allow_to_make_queues`."""
    account = Account(rabbitmq)
    yield account
    rabbitmq.rabbitmqctl("delete_user", account.name)


class Account:
    def __init__(self, rabbitmq):
        self._rabbitmq = rabbitmq
        self.name = f"user-{uuid4()}"
        rabbitmq.rabbitmqctl("add_user", self.name, "secret")
        self._set_permissions(configure="^$")

    @property
    def credentials(self):
        return {"user": self.name, "password": SecretStr("secret")}

    def allow_to_make_queues(self):
        self._set_permissions(configure=".*")

    def _set_permissions(self, *, configure):
        self._rabbitmq.rabbitmqctl(
            "set_permissions", "-p", self._rabbitmq.virtual_host, self.name, configure, ".*", ".*"
        )


@pytest.fixture
def close_all_connections(rabbitmq):
    def close():
        rabbitmq.rabbitmqctl("close_all_connections", "-p", rabbitmq.virtual_host, "maintenance")

    return close


@pytest.fixture
def quick_waits(monkeypatch):
    monkeypatch.setattr("biomaj_download.broker.outage.FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr("biomaj_download.broker.outage.LONGEST_WAIT_SECONDS", 0.2)


@pytest.fixture
def logged_errors(caplog):
    def read():
        return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]

    return read


class DeafServer:
    """Takes connections and closes them at once."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                self.connections += 1

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def deaf_server():
    with closing(DeafServer()) as server:
        yield server


@pytest.fixture
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
