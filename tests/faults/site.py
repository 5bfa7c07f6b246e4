"""A site for one fault: a queue and sessions of its own on real servers, consumers, and a bank."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pika
from pika.spec import BasicProperties
from typing_extensions import Self

from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.settings import RabbitmqSettings, RedisSettings
from biomaj_download.store.base import Progress
from biomaj_download.store.redis import RedisStore
from tests.servers.biomaj import DownloadConsumer
from tests.servers.process import poll
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

BANK = "bank"


class Site:
    """One session of one bank; what it starts ends with it."""

    def __init__(self, rabbitmq: RabbitmqServer, redis_server: RedisServer, home: Path) -> None:
        self.rabbitmq = rabbitmq
        self.redis_server = redis_server
        self.home = home
        self.queue = self.prefix = f"fault-{uuid.uuid4()}"
        self.store = RedisStore(
            RedisSettings(host=redis_server.host, port=redis_server.port, prefix=self.prefix)
        )
        self._opened = ExitStack()
        self._opened.callback(self.store.close)
        self._broker: RabbitmqBroker | None = None
        self._session = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def session(self) -> str:
        """The session, opened when it is first asked for."""
        self._session = self._session or self.store.create_session(BANK)
        return self._session

    def consumer(
        self,
        make: Callable[..., DownloadConsumer] = DownloadConsumer,
        **sections: Mapping[str, object],
    ) -> DownloadConsumer:
        """Start a consumer, as `make` makes it; `sections`: what its configuration has besides."""
        given = {name: {**values} for name, values in sections.items()}
        given.setdefault("rabbitmq", {})["queue"] = self.queue
        given.setdefault("redis", {})["prefix"] = self.prefix
        given.setdefault("storage", {})["state_dir"] = str(self.home.parent / "state")
        return self._opened.enter_context(make(self.rabbitmq, self.redis_server, given))

    def request(self, url: str, save_as: str = "", **options: str) -> wire.Operation:
        """Return the request for the file behind an address, as BioMAJ core sends it."""
        parts = urlsplit(url)
        folder, _, name = parts.path.rpartition("/")
        operation = wire.Operation(type=wire.Operation.DOWNLOAD)
        download = operation.download
        download.bank, download.session = BANK, self.session
        download.local_dir = str(self.home)
        remote = download.remote_file
        remote.protocol = wire.DownloadFile.Protocol.Value(parts.scheme.upper())
        remote.server, remote.remote_dir = parts.netloc, f"{folder}/"
        remote.files.add(name=name, root=f"{folder}/", save_as=save_as or name)
        download.options["stop_condition"] = "stop_after_attempt(3)"
        download.options["wait_policy"] = "wait_fixed(0.2)"
        download.options.update(options)
        return operation

    def submit(self, operations: Iterable[wire.Operation]) -> list[str]:
        """Publish as our client does; return the message ids."""
        messages = [(one.SerializeToString(), str(uuid.uuid4())) for one in operations]
        self.broker.publish_many(messages)
        return [message_id for _, message_id in messages]

    def submit_raw(self, *bodies: bytes, message_id: str | None = None) -> None:
        """Publish bodies as they are; `message_id` None: as old clients do."""
        with pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url)) as connection:
            channel = connection.channel()
            channel.queue_declare(self.queue, durable=True)
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish(
                    "", self.queue, body, BasicProperties(delivery_mode=2, message_id=message_id)
                )

    @property
    def broker(self) -> RabbitmqBroker:
        """The publisher's side."""
        if self._broker is None:
            server = self.rabbitmq
            self._broker = RabbitmqBroker(
                RabbitmqSettings(
                    host=server.host,
                    port=server.port,
                    user=server.user,
                    password=server.password,
                    queue=self.queue,
                )
            )
            self._opened.callback(self._broker.close)
        return self._broker

    def progress(self) -> Progress:
        """Return what is settled so far."""
        return self.store.progress(BANK, self.session)

    def wait(self, done: int, seconds: float = 60) -> Progress:
        """Return the progress when so many are settled, or the time is up."""
        return self.store.wait_for_progress(
            BANK, self.session, after=done - 1, timeout_seconds=seconds
        )

    def wait_for_queue(self, messages: int, seconds: float = 30) -> int:
        """Return how many messages the broker holds, when they are so many or the time is up."""
        held = -1
        for _ in poll(seconds):
            held = self.messages_in(self.queue)
            if held == messages:
                break
        return held

    def messages_in(self, queue: str) -> int:
        """Return how many messages a queue holds, delivered or not."""
        rows = self.rabbitmq.rabbitmqctl("list_queues", "name", "messages").splitlines()
        return sum(int(row.split()[1]) for row in rows if row.split()[0] == queue)

    def files(self) -> Mapping[str, bytes]:
        """Return what stands under final names."""
        return {
            path.name: path.read_bytes() for path in self.home.rglob("*") if not _is_hidden(path)
        }

    def leftovers(self) -> Sequence[str]:
        """Return the names of what is not a final file."""
        return [path.name for path in self.home.rglob("*") if _is_hidden(path)]

    def part_bytes(self) -> int:
        """Return how much of unfinished files is here."""
        return sum(path.stat().st_size for path in self._parts())

    def wait_for_part(self, least_bytes: int, seconds: float = 60) -> None:
        """Return when so much of an unfinished file is here."""
        for _ in poll(seconds):
            if self.part_bytes() >= least_bytes:
                return
        raise AssertionError(f"expected {least_bytes} bytes of a part, got {self.part_bytes()}")

    def _parts(self) -> Iterator[Path]:
        return self.home.rglob(".*.part")


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.is_dir()
