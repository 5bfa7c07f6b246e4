"""Random redeliveries, crashes and cancellations of two consumers: each message counts once.

The store, admission, worker, publication and recorder are the true ones, called from one thread so
that a crash can come between any two of their steps; the broker is a list.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from biomaj_download import admission, verified
from biomaj_download.broker.base import Delivery
from biomaj_download.flush import Flusher
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.outbox import Outbox
from biomaj_download.reporting import Reporter
from biomaj_download.result import Ended
from biomaj_download.settings import RedisSettings, Settings
from biomaj_download.store.base import Store
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.store.redis import RedisStore
from biomaj_download.worker import Worker

BANK = "bank"
#: The store's steps that a crash may come before or after.
STEPS = ("claim_many", "settle_many", "release", "note_start")


class Crash(BaseException):
    """The process is killed here: no `except Exception` may see it."""


class Message:
    """A message on the broker's list."""

    def __init__(self, body: bytes, message_id: str | None) -> None:
        self.body = body
        self.message_id = message_id
        self.redelivered = False


class ListBroker:
    """A queue in a list; what is delivered is `out` until it is settled."""

    def __init__(self) -> None:
        self.queue: list[Message] = []
        self.out: dict[str, tuple[Message, object]] = {}
        self.accepted: list[Message] = []
        self.dead: list[Message] = []

    def deliver(self, consumer: object) -> Delivery | None:
        """Hand the oldest message to a consumer."""
        if not self.queue:
            return None
        message = self.queue.pop(0)
        token = str(uuid.uuid4())
        self.out[token] = (message, consumer)
        return Delivery(
            body=message.body,
            token=token,
            message_id=message.message_id,
            redelivered=message.redelivered,
        )

    def take_back(self, consumer: object) -> None:
        """Have all come again that a consumer has: it is gone, or took too long."""
        for token, (message, holder) in list(self.out.items()):
            if holder is consumer:
                del self.out[token]
                self._again(message)

    def accept(self, delivery: Delivery) -> None:
        message, _ = self.out.pop(str(delivery.token), (None, None))
        if message is not None:
            self.accepted.append(message)

    def reject(self, delivery: Delivery, *, reason: str) -> None:
        message, _ = self.out.pop(str(delivery.token), (None, None))
        if message is not None:
            self.dead.append(message)

    def requeue(self, delivery: Delivery) -> None:
        message, _ = self.out.pop(str(delivery.token), (None, None))
        if message is not None:
            self._again(message)

    def lend_place(self, delivery: Delivery) -> None:
        """It has room for all."""

    def _again(self, message: Message) -> None:
        message.redelivered = True
        self.queue.insert(0, message)


class Fuse:
    """Kills the process at one of its next steps, before or after it."""

    def __init__(self) -> None:
        self.steps_left: int | None = None

    def step(self) -> None:
        """Take a step, or die."""
        if self.steps_left is None:
            return
        if self.steps_left == 0:
            raise Crash
        self.steps_left -= 1

    def around(self, function: Any) -> Any:
        """Return a function with a step before and after it."""

        def stepped(*arguments: Any, **named: Any) -> Any:
            self.step()
            answer = function(*arguments, **named)
            self.step()
            return answer

        return stepped


class MortalBroker:
    """What one consumer sees of the broker: a settlement may be its last deed."""

    def __init__(self, broker: ListBroker, fuse: Fuse) -> None:
        self.accept = fuse.around(broker.accept)
        self.reject = fuse.around(broker.reject)
        self.requeue = fuse.around(broker.requeue)
        self.lend_place = broker.lend_place


class Consumer:
    """A consumer process, whose threads are this one."""

    def __init__(self, store: Store, broker: ListBroker, folder: Path) -> None:
        self.name = f"process-{uuid.uuid4()}"
        self.fuse = Fuse()
        self._broker = broker
        seen = MortalStore(store, self.fuse)
        reporter = Reporter(Settings())
        self.worker = Worker(seen, reporter, outbox=Outbox(folder), max_deliveries=1000)  # type: ignore[arg-type]
        self._ended: list[Ended] = []
        self._flusher = Flusher()
        self.worker._publication.publish = self._ended.append  # type: ignore[method-assign]
        recorder = self.worker._recorder
        self.worker._publication._record = lambda ended: recorder._record([ended])
        self.admission = self.worker.admission(
            MortalBroker(broker, self.fuse),  # type: ignore[arg-type]
            self.worker.handle,
        )
        self.admission._process = self.name
        self.admission.ask_again = lambda: None  # type: ignore[method-assign]

    def work(self, *, at_most: int) -> None:
        """Work on messages, and look again at those that wait."""
        deliveries = [self._broker.deliver(self) for _ in range(at_most)]
        tasks = [self.admission._task(delivery) for delivery in deliveries if delivery]
        waiting, self.admission._waiting = self.admission._waiting, []
        self.admission._judge([*waiting, *tasks])
        self.worker._publication.publish_batch(list(self._ended), self._flusher)
        self._ended.clear()

    def close(self) -> None:
        """End the threads; a killed process lets go of its files as they are."""
        for ended in self._ended:
            if ended.result.unpublished is not None:
                ended.result.unpublished.held.close()
        self.fuse.steps_left = None
        self.admission._waiting = []
        self.admission.close()
        self.worker.stop()
        self.worker.close()


class MortalStore:
    """What one consumer sees of the store."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        for name in dir(store):
            if not name.startswith("_"):
                setattr(self, name, getattr(store, name))
        for name in STEPS:
            setattr(self, name, fuse.around(getattr(store, name)))
        self.settle = lambda outcome: self.settle_many([outcome])[0]  # type: ignore[attr-defined]


class Site(RuleBasedStateMachine):
    """Two consumers, a session, and what is known of its messages."""

    make_store: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store: Store = type(self).make_store(self.folder)
        self.broker = ListBroker()
        self.session = self.store.create_session(BANK)
        self.is_open = True
        self.may_be_cleaned = False
        self.submitted: list[Message] = []
        self.is_failing: dict[bytes, bool] = {}
        self.gone: set[str] = set()
        self.killed_while_publishing = Fuse()
        self.opened = ExitStack()
        self.opened.enter_context(
            patch.object(admission, "is_gone", lambda process: process in self.gone)
        )
        give_name = verified.give_name
        self.opened.enter_context(
            patch.object(verified, "give_name", lambda *a: self._around(give_name, *a))
        )
        self.running: Consumer | None = None
        self.consumers = [self._consumer() for _ in range(2)]

    def _consumer(self) -> Consumer:
        return Consumer(self.store, self.broker, self.folder / "state")

    def _around(self, give_name: Any, *arguments: Any) -> Any:
        assert self.running is not None
        return self.running.fuse.around(give_name)(*arguments)

    @rule(is_old=st.booleans(), copies=st.integers(1, 3), fails=st.booleans(), shares=st.booleans())
    def submit(self, is_old: bool, copies: int, fails: bool, shares: bool) -> None:
        """Submit a file, more than once where a client does so; some share their target."""
        name = f"{len(self.submitted)}.dat"
        origin = self.folder / "origin"
        origin.mkdir(exist_ok=True)
        if not fails:
            (origin / name).write_bytes(name.encode() * 1000)
        operation = wire.Operation(type=wire.Operation.DOWNLOAD)
        download = operation.download
        download.bank, download.session = BANK, self.session
        download.local_dir = str(self.folder / "home")
        remote = download.remote_file
        remote.protocol, remote.server = wire.DownloadFile.LOCAL, "here"
        remote.remote_dir = str(origin)
        save_as = "shared.dat" if shares else name
        remote.files.add(name=name, root=str(origin), save_as=save_as)
        download.options["stop_condition"] = "stop_after_attempt(1)"
        body = operation.SerializeToString()
        self.is_failing[body] = fails
        for _ in range(copies):
            message = Message(body, None if is_old else str(uuid.uuid4()))
            self.submitted.append(message)
            self.broker.queue.append(message)

    @precondition(lambda self: self.submitted)
    @rule(data=st.data())
    def submit_again(self, data: st.DataObject) -> None:
        """Publish a message again under its id, as after a lost confirm."""
        message = data.draw(st.sampled_from(self.submitted))
        if message.message_id is not None:
            self.broker.queue.append(Message(message.body, message.message_id))

    @rule(which=st.integers(0, 1), at_most=st.integers(1, 4))
    def work(self, which: int, at_most: int) -> None:
        """Let a consumer work."""
        self.running = self.consumers[which]
        self.running.work(at_most=at_most)

    @rule(which=st.integers(0, 1), at_most=st.integers(1, 4), steps=st.integers(0, 25))
    def crash(self, which: int, at_most: int, steps: int) -> None:
        """Kill a consumer at one of its steps, and start another one."""
        self.running = dying = self.consumers[which]
        dying.fuse.steps_left = steps
        with suppress(Crash):
            dying.work(at_most=at_most)
        self.gone.add(dying.name)
        self.broker.take_back(dying)
        dying.close()
        self.consumers[which] = self._consumer()

    @rule(which=st.integers(0, 1))
    def take_back(self, which: int) -> None:
        """Have a consumer's waiting messages come again, as after an acknowledgement time-out."""
        self.broker.take_back(self.consumers[which])

    @initialize(may_be_cleaned=st.sampled_from([False, False, False, True]))
    def begin(self, may_be_cleaned: bool) -> None:
        """Most sessions live to the end."""
        self.may_be_cleaned = may_be_cleaned

    @precondition(lambda self: self.is_open and self.may_be_cleaned)
    @rule()
    def clean(self) -> None:
        """Clean the session."""
        self.store.delete_session(BANK, self.session)
        self.is_open = False

    @invariant()
    def counts_are_right(self) -> None:
        """Never above the number submitted, and nothing is acknowledged that is not counted."""
        if not self.is_open:
            return
        done, errors, _ = self.store.progress(BANK, self.session)
        assert (done or 0) <= len(self.submitted)
        assert (errors or 0) <= sum(self.is_failing[one.body] for one in self.submitted)
        settled = {one.message_id for one in self.broker.accepted if one.message_id}
        assert len(settled) <= (done or 0)

    @invariant()
    def files_are_right(self) -> None:
        """Under a final name stands a whole file, of a message that did not fail."""
        home = self.folder / "home"
        contents = {bytes(f"{n}.dat", "ascii") * 1000 for n in range(len(self.submitted))}
        for path in home.glob("*") if home.exists() else ():
            if not path.name.startswith("."):
                assert path.read_bytes() in contents

    def teardown(self) -> None:
        """Work until nothing is left, and count."""
        try:
            for _ in range(1000):
                if not self.broker.queue and not self.broker.out:
                    break
                for which in (0, 1):
                    self.work(which, 4)
            assert not self.broker.queue
            assert not self.broker.out
            assert not self.broker.dead
            if self.is_open:
                self._count_in_the_end()
        finally:
            for consumer in self.consumers:
                consumer.close()
            self.opened.close()
            self.store.delete_session(BANK, self.session)
            self.store.close()
            shutil.rmtree(self.folder)

    def _count_in_the_end(self) -> None:
        done, errors, _ = self.store.progress(BANK, self.session)
        least = [one for one in self.submitted if one not in self._ambiguous()]
        assert len(least) <= (done or 0) <= len(self.submitted)
        assert (errors or 0) >= sum(self.is_failing[one.body] for one in least)
        names = {path.name for path in (self.folder / "home").glob("*")}
        for message in self.submitted:
            file = wire.Operation.FromString(message.body).download.remote_file.files[0]
            if not self.is_failing[message.body]:
                assert file.save_as in names
            elif file.save_as != "shared.dat":
                assert file.save_as not in names

    def _ambiguous(self) -> list[Message]:
        """Return the twins, beyond the first, of an old client's messages that came again.

        A redelivered one without an id may be the first, counted and not yet acknowledged, or
        another, never seen: nothing in AMQP tells them apart, and a count too many is worse.
        """
        old = [one for one in self.submitted if one.message_id is None]
        bodies = Counter(one.body for one in old)
        seen: set[bytes] = set()
        ambiguous = []
        for one in old:
            is_twin = bodies[one.body] > 1 and one.body in seen
            came_again = any(other.redelivered for other in old if other.body == one.body)
            if is_twin and came_again:
                ambiguous.append(one)
            seen.add(one.body)
        return ambiguous


def run(make_store: Any, examples: int) -> None:
    """Let hypothesis drive a site with this store."""
    machine = type("SiteOnAStore", (Site,), {"make_store": staticmethod(make_store)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(300)
def test_each_message_counts_once_whatever_happens():
    run(lambda folder: EmbeddedStore(folder / "sessions.sqlite"), examples=100)


@pytest.mark.timeout(300)
def test_each_message_counts_once_whatever_happens_on_redis(redis_server):
    where = RedisSettings(host=redis_server.host, port=redis_server.port, prefix="machine")
    run(lambda _folder: RedisStore(where), examples=100)
