"""A RabbitMQ node of its own: data, cookie, name server and ports are private."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.servers.process import Server, find_program, free_port
from tests.servers.tls import Certificate

CONFIG = """\
listeners.tcp.1 = {server.host}:{server.port}
default_user = {server.user}
default_pass = {server.password}
default_vhost = {server.virtual_host}
loopback_users = none
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
"""


TLS_CONFIG = """\
listeners.ssl.1 = {server.host}:{server.tls_port}
ssl_options.cacertfile = {certificate.ca_file}
ssl_options.certfile = {certificate.cert_file}
ssl_options.keyfile = {certificate.key_file}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_options.versions.1 = {version}
"""


class Epmd(Server):
    """Erlang's name server, through which `rabbitmqctl` finds the node."""

    program = "epmd"
    package = "erlang-base"

    def command(self) -> list[str]:
        return [self.program_path, "-address", self.host, "-port", str(self.port)]


class RabbitmqServer(Server):
    """RabbitMQ, with one administrator; queues outlive `stop` and `start`.

    With a certificate it also listens at `tls_port`, to those that show one of the same authority.
    """

    program = "rabbitmq-server"
    package = "rabbitmq-server"
    user = "biomaj"
    password = "rabbit-secret"
    virtual_host = "/"

    def __init__(
        self,
        *,
        more_config: str = "",
        certificate: Certificate | None = None,
        tls_version: str = "tlsv1.2",
    ) -> None:
        super().__init__()
        self.tls_port = free_port()
        if certificate:
            more_config += TLS_CONFIG.format(
                server=self, certificate=certificate, version=tls_version
            )
        self._epmd = Epmd()
        self._on_close.callback(self._epmd.close)
        self._distribution_port = free_port()
        (self.folder / "rabbitmq.conf").write_text(CONFIG.format(server=self) + more_config)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").touch()
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text("BIOMAJTESTCOOKIE")
        cookie.chmod(0o400)

    @property
    def url(self) -> str:
        """Return the AMQP URL of the virtual host."""
        return f"amqp://{self.user}:{self.password}@{self.host}:{self.port}/%2F"

    @property
    def section(self) -> dict[str, object]:
        """Return the section `rabbitmq` of a configuration that leads here."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "virtual_host": self.virtual_host,
        }

    def command(self) -> list[str]:
        return [self.program_path]

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "HOME": folder,
            "ERL_EPMD_ADDRESS": self.host,
            "ERL_EPMD_PORT": str(self._epmd.port),
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_NODENAME": f"biomaj-test-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": f"{folder}/rabbitmq.pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
            ),
        }

    def is_ready(self) -> bool:
        return self.answers(b"AMQP\x00\x00\x09\x01", b"\x01")  # a method frame: Connection.Start

    def start(self) -> None:
        self._epmd.start()
        super().start()

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on this node and return what it prints."""
        done = subprocess.run(
            [find_program("rabbitmqctl", self.package), "--quiet", *arguments],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def plain_channel(rabbitmq: RabbitmqServer) -> Iterator[BlockingChannel]:
    """Look at the broker from outside, with plain pika."""
    parameters = pika.ConnectionParameters(
        host=rabbitmq.host,
        port=rabbitmq.port,
        virtual_host=rabbitmq.virtual_host,
        credentials=pika.PlainCredentials(rabbitmq.user, rabbitmq.password),
    )
    with pika.BlockingConnection(parameters) as connection:
        yield connection.channel()
