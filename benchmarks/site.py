"""A site to measure on: RabbitMQ, Redis, the web interface, and consumers to compare."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pika
import redis
import yaml

from biomaj_download.message import downmessage_pb2 as wire
from tests.servers.biomaj import DownloadWeb
from tests.servers.process import poll
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[1]
CONSUMER = (sys.executable, str(ROOT / "bin" / "biomaj_download_consumer.py"))
QUEUE, BANK, PREFIX = "biomajdownload", "bench", "biomaj"
_GIVE_UP_SECONDS = 1200
_START_SECONDS = 30
#: A consumer's processes start side by side, so the last one is soon there after the first.
_SETTLE_SECONDS = 1
#: How often memory is looked at: that takes the consumer's own time.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Run:
    """What one run of a consumer came to; `memory_bytes` is the most that was seen."""

    seconds: float
    files_per_second: float
    memory_bytes: int
    cpu_seconds_per_file: float


class Site:
    """The servers, and a folder that both consumers write to."""

    def __init__(self, stack: ExitStack) -> None:
        folder = tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp")
        self.folder = Path(stack.enter_context(folder))
        # ext4 makes files slowly where many were just deleted, as by tests: spread ours.
        subprocess.run(["chattr", "+T", self.folder], check=False, stderr=subprocess.DEVNULL)
        self.rabbitmq = stack.enter_context(RabbitmqServer())
        self.redis = stack.enter_context(RedisServer())
        self.web = stack.enter_context(DownloadWeb(self.rabbitmq, self.redis))
        self.keys = stack.enter_context(redis.Redis(host=self.redis.host, port=self.redis.port))
        self.config = self.folder / "config.yml"
        self.configure()

    def configure(self, **sections: Mapping[str, object] | bool) -> None:
        """Write the configuration that both packages read, with these sections of ours."""
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
            "storage": {"state_dir": str(self.folder / "state")},
            "log_config": {"version": 1, "handlers": {}},
        }
        self.config.write_text(yaml.safe_dump({**document, **sections}))

    def publish(self, requests: Iterable[wire.Operation], *, with_ids: bool = False) -> None:
        """Put requests on the queue as BioMAJ core does: persistent; ids only as our client does."""
        account = pika.PlainCredentials(self.rabbitmq.user, self.rabbitmq.password)
        parameters = pika.ConnectionParameters(
            self.rabbitmq.host, self.rabbitmq.port, self.rabbitmq.virtual_host, account
        )
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        for number, request in enumerate(requests):
            channel.basic_publish(
                "",
                QUEUE,
                request.SerializeToString(),
                pika.BasicProperties(delivery_mode=2, message_id=str(number) if with_ids else None),
            )
        connection.close()

    def new_home(self) -> Path:
        """Make a folder to download to; its files are kept to the end.

        ext4 makes new files slowly just after many were deleted.
        """
        return Path(tempfile.mkdtemp(dir=self.folder))

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

    def race(self, command: Sequence[str], session: str, files: int, *, consumers: int = 1) -> Run:
        """Run consumers on the full queue; measured from the first file counted to the last."""
        with self._running(command, consumers) as running:
            watch = _Watch(self, session, running)
            first = watch.until(1)
            last = watch.until(files)
        return _run(first, last, watch.memory_bytes)

    def bring(self, command: Sequence[str], session: str, request: wire.Operation) -> Run:
        """Put one request before a consumer that waits for it; measured until it is counted."""
        with self._running(command, 1) as running:
            watch = _Watch(self, session, running)
            self._until_consumed(len(running))
            before = watch.moment()
            self.publish([request])
            last = watch.until(1)
        return _run(before, last, watch.memory_bytes)

    def progress(self, session: str) -> int:
        """Return how many files of a session are counted.

        Raises:
            SystemExit: there was an error.
        """
        key = f"{PREFIX}:{BANK}:session:{session}"
        if errors := int(self.keys.get(f"{key}:error") or 0):
            raise SystemExit(f"{errors} files failed: {self.keys.lrange(f'{key}:errors', 0, 2)}")
        return int(self.keys.get(f"{key}:progress") or 0)

    @contextmanager
    def _running(
        self, command: Sequence[str], consumers: int
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        environment = {"BIOMAJ_CONFIG": str(self.config), "PATH": "/usr/bin:/bin"}
        with ExitStack() as stack:
            running = []
            for _ in range(consumers):
                consumer = stack.enter_context(subprocess.Popen(command, env=environment))
                stack.callback(consumer.terminate)
                running.append(consumer)
            yield running

    def _until_consumed(self, consumers: int) -> None:
        """Wait until the consumers hold the queue, and a moment for all of their processes."""
        account = pika.PlainCredentials(self.rabbitmq.user, self.rabbitmq.password)
        parameters = pika.ConnectionParameters(self.rabbitmq.host, self.rabbitmq.port, "/", account)
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            channel.queue_declare(QUEUE, durable=True)
            for _ in poll(_START_SECONDS):
                told = channel.queue_declare(QUEUE, passive=True)
                if told.method.consumer_count >= consumers:
                    time.sleep(_SETTLE_SECONDS)
                    return
        raise SystemExit("the consumer does not consume")


@dataclass(frozen=True)
class _Moment:
    seconds: float
    cpu_seconds: float
    progress: int


class _Watch:
    """Looks at a session's progress, and at what its consumers need."""

    def __init__(
        self, site: Site, session: str, consumers: Sequence[subprocess.Popen[bytes]]
    ) -> None:
        self._site = site
        self._session = session
        self._consumers = consumers
        self.memory_bytes = 0

    def until(self, progress: int) -> _Moment:
        """Wait until so many files are counted."""
        looked_at = time.monotonic()
        for _ in poll(_GIVE_UP_SECONDS):
            now = self._site.progress(self._session)
            if now >= progress:
                break
            codes = [consumer.poll() for consumer in self._consumers]
            if any(code is not None for code in codes):
                raise SystemExit(f"a consumer ended: {codes}")
            if time.monotonic() > looked_at + _LOOK_SECONDS:
                looked_at = time.monotonic()
                self._look_at_memory()
        else:
            raise SystemExit(f"progress: expected {progress}, got {now}")
        moment = self.moment()
        self._look_at_memory()
        return moment

    def moment(self) -> _Moment:
        """Return how far they are."""
        return _Moment(
            time.monotonic(),
            sum(_cpu_seconds(consumer.pid) for consumer in self._consumers),
            self._site.progress(self._session),
        )

    def _look_at_memory(self) -> None:
        now = sum(_memory_bytes(consumer.pid) for consumer in self._consumers)
        self.memory_bytes = max(self.memory_bytes, now)


def _run(first: _Moment, last: _Moment, memory_bytes: int) -> Run:
    seconds, files = last.seconds - first.seconds, last.progress - first.progress
    return Run(
        seconds=seconds,
        files_per_second=files / seconds,
        memory_bytes=memory_bytes,
        cpu_seconds_per_file=(last.cpu_seconds - first.cpu_seconds) / files,
    )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory_bytes(pid: int) -> int:
    """Return what a process and its children hold; what they share counts once (Pss)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (own,) = (line.split()[1] for line in rollup if line.startswith("Pss:"))
    return int(own) * 1024 + sum(map(_memory_bytes, _children(pid)))


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children had, without those that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime (proc_pid_stat(5))
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(_cpu_seconds, _children(pid)))
