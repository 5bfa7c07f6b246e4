"""A site to measure on: RabbitMQ, Redis, an origin, the web interface, and consumers to compare."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pika
import redis
import yaml

from biomaj_download.message import downmessage_pb2 as wire
from tests.servers.biomaj import DownloadWeb
from tests.servers.nginx import NginxServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[1]
OURS = (sys.executable, str(ROOT / "bin" / "biomaj_download_consumer.py"))
QUEUE, BANK, PREFIX = "biomajdownload", "bench", "biomaj"
_GIVE_UP_SECONDS = 600


@dataclass(frozen=True)
class Run:
    """What one run of a consumer came to."""

    files_per_second: float
    memory_bytes: int
    errors: int


class Site:
    """The servers, and a folder that both consumers write to."""

    def __init__(self, stack: ExitStack) -> None:
        folder = tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp")
        self.folder = Path(stack.enter_context(folder))
        # ext4 makes files slowly where many were just deleted, as by tests: spread ours.
        subprocess.run(["chattr", "+T", self.folder], check=False, stderr=subprocess.DEVNULL)
        self.rabbitmq = stack.enter_context(RabbitmqServer())
        self.redis = stack.enter_context(RedisServer())
        self.nginx = stack.enter_context(NginxServer())
        self.web = stack.enter_context(DownloadWeb(self.rabbitmq, self.redis))
        self.keys = stack.enter_context(redis.Redis(host=self.redis.host, port=self.redis.port))
        self.config = self.folder / "config.yml"
        self.configure()

    def configure(self, **sections: object) -> None:
        """Write the configuration that both packages read."""
        document = {
            "redis": {
                "host": self.redis.host,
                "port": self.redis.port,
                "db": 0,
                "prefix": PREFIX,
            },
            "rabbitmq": {
                "host": self.rabbitmq.host,
                "port": self.rabbitmq.port,
                "user": self.rabbitmq.user,
                "password": self.rabbitmq.password,
                "virtual_host": self.rabbitmq.virtual_host,
            },
            "web": {
                "port": self.web.port,
                "local_endpoint": self.web.url,
                "hostname": self.web.host,
            },
            "consul": {"host": None, "id": "bench"},
            "prometheus": True,
            "log_config": {"version": 1, "handlers": {}},
        }
        self.config.write_text(yaml.safe_dump({**document, **sections}))

    def publish(self, requests: Sequence[wire.Operation]) -> None:
        """Put requests on the queue as BioMAJ core does: persistent, without an id."""
        account = pika.PlainCredentials(self.rabbitmq.user, self.rabbitmq.password)
        parameters = pika.ConnectionParameters(
            self.rabbitmq.host, self.rabbitmq.port, self.rabbitmq.virtual_host, account
        )
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_purge(QUEUE)
        for request in requests:
            channel.basic_publish(
                "",
                QUEUE,
                request.SerializeToString(),
                pika.BasicProperties(delivery_mode=2),
            )
        connection.close()

    def new_session(self) -> str:
        """Open a session."""
        session = str(uuid.uuid4())
        self.keys.set(f"{PREFIX}:{BANK}:session:{session}", 1)
        return session

    def request(
        self, session: str, home: Path, protocol: int, server: str, root: str
    ) -> wire.Operation:
        """Return a DOWNLOAD without a file yet, filled in as BioMAJ core does."""
        operation = wire.Operation(type=wire.Operation.DOWNLOAD)
        download = operation.download
        download.bank, download.session, download.local_dir = BANK, session, str(home)
        download.timeout_download = 3600
        download.http_method = wire.DownloadFile.GET
        remote = download.remote_file
        remote.protocol, remote.server, remote.remote_dir = protocol, server, root
        parse = remote.http_parse
        for field in parse.DESCRIPTOR.fields:
            if field.name != "file_date_format":
                setattr(parse, field.name, getattr(parse, field.name))
        return operation

    def race(self, command: Sequence[str], session: str, files: int) -> Run:
        """Run a consumer on the full queue; measured from the first file counted to the last."""
        key = f"{PREFIX}:{BANK}:session:{session}"
        with subprocess.Popen(
            command, env={"BIOMAJ_CONFIG": str(self.config), "PATH": "/usr/bin:/bin"}
        ) as consumer:
            try:
                first, started = self._wait(key, 1, consumer)
                _, ended = self._wait(key, files, consumer)
                memory_bytes = _memory_bytes(consumer.pid)
            finally:
                consumer.terminate()
        errors = int(self.keys.get(f"{key}:error") or 0)
        progress = int(self.keys.get(f"{key}:progress") or 0)
        if progress != files:
            raise SystemExit(f"progress: expected {files}, got {progress}")
        return Run((files - first) / (ended - started), memory_bytes, errors)

    def _wait(
        self, key: str, progress: int, consumer: subprocess.Popen[bytes]
    ) -> tuple[int, float]:
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while time.monotonic() < deadline and consumer.poll() is None:
            now = int(self.keys.get(f"{key}:progress") or 0)
            if now >= progress:
                return now, time.monotonic()
            time.sleep(0.005)
        raise SystemExit(f"no progress {progress} (exit code {consumer.poll()})")


@contextmanager
def site() -> Iterator[Site]:
    """Start everything; stop it at the end."""
    with ExitStack() as stack:
        yield Site(stack)


def alternately(
    runs: int, first: Callable[[], float], second: Callable[[], float]
) -> tuple[float, float]:
    """Return the medians of two measures, taken in turn."""
    pairs = [(first(), second()) for _ in range(runs)]
    return median(one for one, _ in pairs), median(other for _, other in pairs)


def table(title: str, rows: Sequence[tuple[str, str, str]]) -> str:
    """Return a Markdown table of what was measured, the figure and the goal."""
    lines = [f"### {title}", "", "| what | measured | goal |", "|---|---|---|"]
    lines += [f"| {what} | {measured} | {goal} |" for what, measured, goal in rows]
    return "\n".join(lines) + "\n"


def _memory_bytes(pid: int) -> int:
    """Return what a process and its children hold; what they share counts once (Pss)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (own,) = (line.split()[1] for line in rollup if line.startswith("Pss:"))
    return int(own) * 1024 + sum(_memory_bytes(int(child)) for child in children)
