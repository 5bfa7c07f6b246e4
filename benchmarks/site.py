"""A site to measure on: RabbitMQ, Redis, the web interface, and consumers to compare."""

from __future__ import annotations

import itertools
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
#: How often progress is looked at: that takes the consumer's time, too, so a long run is looked at
#: less often; each look is late by a hundredth of the run at most.
_POLL_SECONDS = 0.005
_POLL_SHARE = 0.01
_MOST_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Moment:
    """How far consumers were: files counted, and what they had needed of the machine."""

    seconds: float
    files: int
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Run:
    """What happened between two moments; `memory_bytes` is the most that was seen."""

    first: Moment
    last: Moment
    memory_bytes: int

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.last.seconds - self.first.seconds

    @property
    def files(self) -> int:
        """Return how many files were counted."""
        return self.last.files - self.first.files

    @property
    def files_per_second(self) -> float:
        """Return the rate; where all were counted by the first moment, that of one file."""
        return max(self.files, 1) / self.seconds

    @property
    def cpu_seconds_per_file(self) -> float:
        """Return what a file took of the processors."""
        return (self.last.cpu_seconds - self.first.cpu_seconds) / max(self.files, 1)


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

    def configure(
        self, *, is_durable: bool = True, **sections: Mapping[str, object] | bool
    ) -> None:
        """Write the configuration that both packages read, with these sections of ours.

        `is_durable`: files survive a power cut, as they do unless an operator says otherwise.
        """
        document = {
            "redis": {
                "host": self.redis.host,
                "port": self.redis.port,
                "db": 0,
                "prefix": PREFIX,
            },
            "rabbitmq": self.rabbitmq.section,
            "web": {
                "port": self.web.port,
                "local_endpoint": self.web.url,
                "hostname": self.web.host,
            },
            "consul": {"host": None, "id": "bench"},
            "prometheus": True,
            "storage": {"state_dir": str(self.folder / "state"), "fsync": is_durable},
            "log_config": {"version": 1, "handlers": {}},
        }
        self.config.write_text(yaml.safe_dump({**document, **sections}))

    def publish(self, requests: Iterable[wire.Operation], *, with_ids: bool = False) -> None:
        """Put requests on the queue, persistent; without ids as BioMAJ core, else as our client."""
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

    def race(
        self,
        command: Sequence[str],
        session: str,
        files: int,
        *,
        consumers: int = 1,
        warm_up: int = 1,
    ) -> Run:
        """Run consumers on the full queue; measured once `warm_up` files are counted."""
        (run,) = self.stages(command, session, (warm_up, files), consumers)
        return run

    def stages(
        self, command: Sequence[str], session: str, counts: Sequence[int], consumers: int = 1
    ) -> list[Run]:
        """Run consumers on the full queue; measured between these counts of files."""
        with self.running(command, consumers) as running:
            watch = _Watch(self, session, running)
            moments = [(watch.until(files), watch.take_peak()) for files in counts]
        return [Run(first, last, peak) for (first, _), (last, peak) in itertools.pairwise(moments)]

    def bring(self, command: Sequence[str], session: str, request: wire.Operation) -> Run:
        """Put one request before a consumer that waits for it; measured until it is counted."""
        with self.running(command, 1) as running:
            watch = _Watch(self, session, running)
            self._until_consumed(len(running))
            first = watch.moment()
            self.publish([request])
            last = watch.until(1)
        return Run(first, last, watch.take_peak())

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
    def running(
        self, command: Sequence[str], consumers: int = 1
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Have consumers run, in a process or more each."""
        environment = {"BIOMAJ_CONFIG": str(self.config), "PATH": "/usr/bin:/bin"}
        with ExitStack() as stack:
            running = []
            log = stack.enter_context((self.folder / "consumers.log").open("ab"))
            for _ in range(consumers):
                consumer = stack.enter_context(
                    subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                )
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


class _Watch:
    """Looks at a session's progress, and at what its consumers need."""

    def __init__(
        self, site: Site, session: str, consumers: Sequence[subprocess.Popen[bytes]]
    ) -> None:
        self._site = site
        self._session = session
        self._consumers = consumers
        self._peak_bytes = 0

    def until(self, files: int) -> Moment:
        """Wait until so many files are counted."""
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        looked_at = started = time.monotonic()
        while (now := self._site.progress(self._session)) < files:
            codes = [consumer.poll() for consumer in self._consumers]
            if time.monotonic() > deadline or any(code is not None for code in codes):
                told = (self._site.folder / "consumers.log").read_text(errors="replace")[-2000:]
                raise SystemExit(
                    f"progress: expected {files}, got {now}, exit codes {codes}: {told}"
                )
            if time.monotonic() > looked_at + _LOOK_SECONDS:
                looked_at = time.monotonic()
                self._peak_bytes = max(self._peak_bytes, self._memory_bytes())
            share_seconds = _POLL_SHARE * (time.monotonic() - started)
            time.sleep(min(max(_POLL_SECONDS, share_seconds), _MOST_POLL_SECONDS))
        return self.moment()

    def moment(self) -> Moment:
        """Return how far they are now."""
        files = self._site.progress(self._session)
        seconds = time.monotonic()
        cpu_seconds = sum(_cpu_seconds(consumer.pid) for consumer in self._consumers)
        memory_bytes = self._memory_bytes()
        self._peak_bytes = max(self._peak_bytes, memory_bytes)
        return Moment(seconds, files, cpu_seconds, memory_bytes)

    def take_peak(self) -> int:
        """Return the most memory that was seen since the last call."""
        peak, self._peak_bytes = self._peak_bytes, 0
        return peak

    def _memory_bytes(self) -> int:
        return sum(_memory_bytes(consumer.pid) for consumer in self._consumers)


def _children(pid: int) -> list[int]:
    return [int(child) for child in _told(f"/proc/{pid}/task/{pid}/children").split()]


def _memory_bytes(pid: int) -> int:
    """Return what a process and its children hold; what they share counts once (Pss)."""
    rollup = _told(f"/proc/{pid}/smaps_rollup").splitlines()
    own = sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return own * 1024 + sum(map(_memory_bytes, _children(pid)))


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children had, without those that ended."""
    fields = _told(f"/proc/{pid}/stat").rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:13]))  # utime and stime (proc_pid_stat(5))
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(_cpu_seconds, _children(pid)))


def _told(path: str) -> str:
    """Return what the kernel tells of a process; nothing: it has ended meanwhile."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
