"""Let messages through to the workers: those that are wanted, and that nobody works on already.

In: deliveries, from the broker's thread.  Out: tasks for the workers; all else is settled here, or
waits. The store is asked for many messages at a time.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from queue import Empty, SimpleQueue

from biomaj_download.broker.base import REQUEUED_HEADER, Broker, Delivery
from biomaj_download.errors import Cancelled, DownloadError, UnsafePath
from biomaj_download.job import Job, Kind
from biomaj_download.machine import is_gone, this_process
from biomaj_download.message.codec import LIMITS, UnreadableMessage, decode
from biomaj_download.publish import final_name
from biomaj_download.settings import MessageSettings
from biomaj_download.store.base import Answer, Claim, Message, Store, Verdict
from biomaj_download.store.patience import Stopped, patiently

log = logging.getLogger("biomaj.download.admission")

#: A message whose file another one writes is asked for again so often.
ASK_AGAIN_SECONDS = 1.0
#: Messages in one question to the store.
MOST_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class Task:
    """A message on its way to a worker.

    `job` None: it is no request. `problem`: why it is not worked on, but counted as failed.
    """

    broker: Broker
    delivery: Delivery
    message: Message
    job: Job | None = None
    problem: DownloadError | None = None
    is_waiting: bool = False


class Admission:
    """Asks the store for messages, on a thread of its own; any thread may call `arrive`.

    A message whose file is written elsewhere waits here: it keeps no worker, and lends its place
    at the broker to another one.
    """

    def __init__(
        self,
        store: Store,
        broker: Broker,
        admit: Callable[[Task], None],
        *,
        limits: MessageSettings = LIMITS,
    ) -> None:
        self._store = store
        self._broker = broker
        self._admit = admit
        self._limits = limits
        self._closing = threading.Event()
        self._process = this_process()
        self._numbers = itertools.count()
        #: None: look around, for there is news.
        self._arrived: SimpleQueue[Delivery | None] = SimpleQueue()
        self._waiting: list[Task] = []
        self._ask_again_at = 0.0
        self._thread = threading.Thread(target=self._run, name="admission", daemon=True)
        self._thread.start()

    def arrive(self, delivery: Delivery) -> None:
        """Take a delivery, and return at once."""
        if self._closing.is_set():
            self._broker.requeue(delivery)
        else:
            self._arrived.put(delivery)

    def ask_again(self) -> None:
        """Ask for those that wait: somebody here has finished."""
        if self._waiting:
            self._ask_again_at = 0.0
            self._arrived.put(None)

    def close(self) -> None:
        """Give back what waits, and admit nothing more."""
        self._closing.set()
        self._arrived.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            tasks = [self._task(delivery) for delivery in self._next_deliveries()]
            if self._waiting and time.monotonic() >= self._ask_again_at:
                tasks, self._waiting = self._waiting + tasks, []
                self._ask_again_at = time.monotonic() + ASK_AGAIN_SECONDS
            self._judge(tasks)
        self._give_back(self._waiting)
        with suppress(Empty):
            while True:
                delivery = self._arrived.get_nowait()
                if delivery is not None:
                    self._broker.requeue(delivery)

    def _next_deliveries(self) -> Sequence[Delivery]:
        """Return what has arrived, once something has, or the waiting ones are to be asked for."""
        wait_seconds = max(self._ask_again_at - time.monotonic(), 0) if self._waiting else None
        deliveries: list[Delivery] = []
        with suppress(Empty):
            delivery = self._arrived.get(timeout=wait_seconds)
            while delivery is not None:
                deliveries.append(delivery)
                if len(deliveries) >= MOST_AT_ONCE:
                    break
                delivery = self._arrived.get_nowait()
        return deliveries

    def _task(self, delivery: Delivery) -> Task:
        """Read a message."""
        holder = f"{self._process}/{next(self._numbers)}"
        try:
            job = decode(delivery.body, self._limits)
        except UnreadableMessage as error:
            message = _message(delivery, error.bank, error.session, holder)
            return Task(broker=self._broker, delivery=delivery, message=message, problem=error)
        except Exception as error:  # a message that we cannot read must not end all work
            log.exception("unexpected failure, message put aside")
            problem = UnreadableMessage(f"message: unexpected failure: {error}")
            message = _message(delivery, "", "", holder)
            return Task(broker=self._broker, delivery=delivery, message=message, problem=problem)
        message = _message(delivery, job.bank, job.session, holder, job)
        return Task(broker=self._broker, delivery=delivery, message=message, job=job)

    def _judge(self, tasks: Sequence[Task]) -> None:
        """Ask for what is of a session, and obey; let the rest through, to be put aside."""
        asked: list[Task] = []
        for task in tasks:
            if _is_of_a_session(task):
                asked.append(task)
            else:
                self._admit(task)
        if not asked:
            return
        try:
            verdicts = self._ask(asked)
        except Stopped:
            self._give_back(asked)
            return
        except Exception:  # the thread must not end: no message would be worked on any more
            log.exception("messages given back number=%d", len(asked))
            self._give_back(asked)
            return
        for task, verdict in zip(asked, verdicts, strict=True):
            self._obey(task, verdict)

    def _ask(self, tasks: Sequence[Task]) -> Sequence[Verdict]:
        """Return the store's verdicts, after breaking the leases of processes that are gone."""
        claims = [_claim(task) for task in tasks]
        verdicts = self._claimed(claims)
        broken = {
            place: replace(claims[place], breaks=verdict.holder)
            for place, verdict in enumerate(verdicts)
            if verdict.answer is Answer.BUSY and is_gone(verdict.holder.rpartition("/")[0])
        }
        if broken:
            for place, verdict in zip(broken, self._claimed([*broken.values()]), strict=True):
                verdicts[place] = verdict
        return verdicts

    def _claimed(self, claims: Sequence[Claim]) -> list[Verdict]:
        return patiently(lambda: self._store.claim_many(claims), self._closing)

    def _obey(self, task: Task, verdict: Verdict) -> None:
        # What is no request is put aside whatever becomes of its session, but counted there once.
        if verdict.answer is Answer.WANTED or task.job is None:
            self._admit(task)
        elif verdict.answer is Answer.CANCELLED:
            self._admit(replace(task, problem=Cancelled("the bank was cancelled")))
        elif verdict.answer is Answer.BUSY:
            self._put_aside(task, verdict.holder)
        else:
            message = task.message
            log.info(
                "skipped bank=%s session=%s: %s",
                message.bank,
                message.session,
                "the session is gone" if verdict.answer is Answer.GONE else "it is counted already",
            )
            self._broker.accept(task.delivery)

    def _put_aside(self, task: Task, holder: str) -> None:
        if not task.is_waiting:
            log.info("waiting targets=%s holder=%s", task.message.targets, holder)
            self._broker.lend_place(task.delivery)
        self._waiting.append(replace(task, is_waiting=True))

    def _give_back(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._broker.requeue(task.delivery)


def _message(
    delivery: Delivery, bank: str, session: str, holder: str, job: Job | None = None
) -> Message:
    """Return what the store knows a delivery by: its id, or for old clients its content."""
    key = delivery.message_id or sha256(delivery.body).hexdigest()
    return Message(
        bank=bank,
        session=session,
        key=key,
        is_unique=delivery.message_id is not None,
        targets=() if job is None else _targets(job, key),
        holder=holder,
    )


def _targets(job: Job, key: str) -> tuple[str, ...]:
    """Return what only one message at a time may write: its files, or a session's list."""
    if job.kind is Kind.LIST:
        return (f"list:{job.session}:{key}",)
    try:
        names = [file.save_as or job.save_as or file.name for file in job.files]
        return tuple(final_name(job.local_dir, name) for name in names)
    except UnsafePath:  # the worker says so
        return ()


def _is_of_a_session(task: Task) -> bool:
    """Say whether a session waits for a message; that of one that is no request may be unknown."""
    return task.job is not None or bool(task.message.bank and task.message.session)


def _claim(task: Task) -> Claim:
    return Claim(
        message=task.message,
        redelivered=task.delivery.redelivered,
        again=REQUEUED_HEADER in task.delivery.headers,
    )
