"""Have the service download: requests go out through RabbitMQ, progress comes by its web interface.

In: operations.  Out: progress, and whether a file failed.
With a limit at most that many files are handed over and unfinished, and the next one goes out as
soon as one ends.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from uuid import uuid4

from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.client.base import Downloads
from biomaj_download.client.cancelling import CancelFlag
from biomaj_download.client.patience import bear, insist
from biomaj_download.client.session import LONG_POLL_SECONDS, ServiceSession
from biomaj_download.errors import ConfigError, ServiceError
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import job_of
from biomaj_download.settings import RabbitmqSettings
from biomaj_download.store.base import Progress

log = logging.getLogger("biomaj.download.client")

#: A service that does not give a session after so many tries counts as absent.
SESSION_TRIES = 3

#: A look at progress takes so long at most where the cancel flag wants to be looked at too.
CANCEL_LOOK_SECONDS = 3

#: Requests that are published, and if need be published again, as one: to an old consumer a
#: request that comes twice is two.
BATCH_MESSAGES = 500

#: Progress is logged so often at most.
TELL_SECONDS = 10.0


class RemoteDownloads(Downloads):
    """Files that the service downloads.

    Raises:
        ServiceError, BrokerError: from any method, when the service or the broker stays away.
    """

    def __init__(self, settings: RabbitmqSettings, cancel_flag: CancelFlag) -> None:
        super().__init__(at_once=None)
        self._broker = RabbitmqBroker(settings)
        self._cancel_flag = cancel_flag
        self._session: ServiceSession | None = None
        self._bank = ""
        self._forget()

    def open(self, bank: str, url: str | None) -> str:
        """Have the service open a session."""
        if not url:
            raise ConfigError(
                f"bank {bank}: expected the URL of the download service's web interface, got none"
            )
        self._forget()
        self._bank = bank
        self._session = ServiceSession(url, bank)
        return insist(SESSION_TRIES, self._session.open)

    def submit(self, operations: Sequence[wire.Operation]) -> None:
        """Hand requests over, or keep them for `wait` where there is a limit."""
        self._waiting.extend([(_body_of(operation), str(uuid4())) for operation in operations])
        if self.at_once is None:
            self._hand_over()

    def progress(self) -> Progress:
        """Ask the service what is settled so far."""
        return bear(self._open_session.progress)

    def wait(self) -> bool:
        """Hand over what waits, and return when all is settled."""
        if not self._handed_over and not self._waiting:
            return False
        while self._waiting or self._done < self._handed_over:
            self._hand_over()
            self._take_note(bear(self._look))
        # An old consumer may count a file before it counts and stores its error.
        self._report_errors()
        return self._failed

    def clean(self) -> None:
        """Have the service forget the session; one that is away is left alone."""
        session = self._session
        self._forget()
        if session is None:
            return
        try:
            insist(SESSION_TRIES, session.delete)
        except ServiceError as error:
            log.warning("session not cleaned bank=%s session=%s: %s", self._bank, session.id, error)
        finally:
            session.close()

    def close(self) -> None:
        """Let go of connections."""
        self._forget()
        self._broker.close()

    @property
    def _open_session(self) -> ServiceSession:
        if self._session is None:
            raise ServiceError("download client: expected a session, got none: create one first")
        return self._session

    def _forget(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None
        self._waiting: deque[tuple[bytes, str]] = deque()
        self._handed_over = 0
        self._done = 0
        self._failed = False
        self._errors = 0
        self._told = 0.0

    def _hand_over(self) -> None:
        """Publish as many requests as may be under way."""
        free = len(self._waiting)
        if self.at_once is not None:
            free = min(free, self.at_once - (self._handed_over - self._done))
        while free > 0:
            batch = [self._waiting.popleft() for _ in range(min(free, BATCH_MESSAGES))]
            publish = partial(self._publish, batch)
            if self._handed_over:
                bear(publish)
            else:
                publish()
            self._handed_over += len(batch)
            free -= len(batch)

    def _publish(self, batch: list[tuple[bytes, str]]) -> None:
        """Put requests on the queue; again under the same ids, if need be, they count once."""
        self._cancel_flag.check(self._bank)
        if len(batch) == 1:
            self._broker.publish(batch[0][0], message_id=batch[0][1])
        else:
            self._broker.publish_many(batch)

    def _look(self) -> Progress:
        """Ask for progress: for any while a request waits its turn, else for the end of all.

        The first progress is asked for in any case: from a service that does not say whether a
        session is open, it tells one that is lost later from one in which nothing has happened.
        """
        self._cancel_flag.check(self._bank)
        is_any_awaited = self._waiting or not self._done
        return self._open_session.wait_for_progress(
            after=self._done if is_any_awaited else self._handed_over - 1,
            timeout_seconds=(
                CANCEL_LOOK_SECONDS if self._cancel_flag.can_be_set else LONG_POLL_SECONDS
            ),
        )

    def _take_note(self, progress: Progress) -> None:
        if not progress.is_open or (progress.done or 0) < self._done:
            raise ServiceError(
                f"bank {self._bank}: expected session {self._open_session.id} with {self._done} or"
                f" more settled files, got {progress.done or 'none'}: the service has lost the"
                " session, or somebody cleaned it (Redis without persistence loses all when it"
                " restarts)"
            )
        self._done = progress.done or 0
        if (progress.errors or 0) > self._errors:
            self._errors = progress.errors or 0
            self._report_errors()
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            log.info(
                "downloading bank=%s done=%d of=%d errors=%d",
                self._bank,
                self._done,
                self._handed_over + len(self._waiting),
                self._errors,
            )

    def _report_errors(self) -> None:
        """Log the errors that nobody has read yet."""
        errors = bear(self._open_session.pop_errors)
        self._failed = self._failed or self._errors > 0 or bool(errors)
        for text in errors:
            log.error("download failed bank=%s: %s", self._bank, text)


def _body_of(operation: wire.Operation) -> bytes:
    """Return the message of a request that the service can read; a file may have no root."""
    job_of(operation)
    return operation.SerializeToString()
