"""One bank's session on the download service, through the service's web interface.

In: the address of the web interface and a bank.  Out: progress, error texts.
The web interface of biomaj-download 3 is asked in the same words: it ignores the arguments of the
long poll and answers at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import requests
from requests.utils import get_auth_from_url, urldefragauth

from biomaj_download.bearer import BearerSession
from biomaj_download.errors import ServiceError, mapped
from biomaj_download.store.base import Progress

#: Names the token of a service that wants one for its old routes, too (`web.token_for_old_routes`).
TOKEN_VARIABLE = "BIOMAJ_WEB_TOKEN"  # nosec B105 # noqa: S105 - no token, but where one is

#: The web interface holds a question about progress for so long, unless progress comes before:
#: well under the 30 s after which gunicorn and load balancers, as they come, cut a request.
LONG_POLL_SECONDS = 20

#: Give a request up after so long without a connection, or without an answer.
CONNECT_SECONDS = 10
ANSWER_SECONDS = 30

#: Time between two questions to a web interface that does not hold them: it grows from one to the
#: other while nothing happens, so that a look is late by a third of the time waited at most.
FIRST_LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 2.0
LOOK_GROWTH = 1.5

#: An error quotes so much of an answer that is none of the service's.
LONGEST_QUOTE_CHARACTERS = 200


class ServiceSession:
    """A session, from `open` to `delete`; for one thread.

    Raises:
        ServiceError: from any method, when the service cannot be reached or answers otherwise.
    """

    def __init__(self, url: str, bank: str) -> None:
        user, password = get_auth_from_url(url)
        self._http = BearerSession(None if user else os.environ.get(TOKEN_VARIABLE) or None)
        if user:
            self._http.auth = (user, password)
        self._url = f"{urldefragauth(url).rstrip('/')}/api/download"
        self._name = f"download service at {self._url}"
        self._bank = bank
        self._last_progress = Progress(None, None)
        self._look_seconds = FIRST_LOOK_SECONDS
        self.id = ""

    def open(self) -> str:
        """Have the service open a session and return its id."""
        answer = self._ask("POST", f"session/{quote(self._bank, safe='')}", "session")
        self.id = str(answer["session"])
        return self.id

    def progress(self) -> Progress:
        """Return what is settled so far."""
        return self._progress({})

    def wait_for_progress(self, *, after: int, timeout_seconds: int) -> Progress:
        """Return as soon as more than `after` files are settled, or after a while."""
        began = time.monotonic()
        held_seconds = min(timeout_seconds, LONG_POLL_SECONDS)
        progress = self._progress({"after": after, "wait_seconds": held_seconds})
        if progress != self._last_progress:
            self._last_progress = progress
            self._look_seconds = FIRST_LOOK_SECONDS
        if progress.done is None or progress.done <= after:
            time.sleep(max(0.0, self._look_seconds - (time.monotonic() - began)))
            self._look_seconds = min(self._look_seconds * LOOK_GROWTH, LONGEST_LOOK_SECONDS)
        return progress

    def pop_errors(self) -> list[str]:
        """Return the error texts that nobody has read yet."""
        answer = self._ask("GET", self._route("error/download"), "error")
        return [str(text) for text in answer["error"]]

    def delete(self) -> None:
        """Have the service forget the session: what is still queued for it is skipped."""
        self._ask("DELETE", self._route("session"))

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _route(self, what: str) -> str:
        return f"{what}/{quote(self._bank, safe='')}/{quote(self.id, safe='')}"

    def _progress(self, parameters: Mapping[str, int]) -> Progress:
        answer = self._ask(
            "GET", self._route("status/download"), "progress", "errors", parameters=parameters
        )
        # The web interface of biomaj-download 3 does not say whether a session is open.
        is_open = bool(answer.get("open", True))
        return Progress(_count(answer["progress"]), _count(answer["errors"]), is_open)

    def _ask(
        self, method: str, route: str, *expected: str, parameters: Mapping[str, int] | None = None
    ) -> Mapping[str, Any]:
        """Return the service's answer, which is a JSON object with the expected members."""
        waiting_seconds = (parameters or {}).get("wait_seconds", 0)
        with mapped({requests.RequestException: ServiceError}, subject=self._name):
            response = self._http.request(
                method,
                f"{self._url}/{route}",
                params=parameters,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS + waiting_seconds),
            )
            response.raise_for_status()
            answer = response.json()
        if not isinstance(answer, dict) or not answer.keys() >= set(expected):
            raise ServiceError(
                f"{self._name}: expected an answer with {', '.join(expected) or 'members'},"
                f" got {response.text[:LONGEST_QUOTE_CHARACTERS]!r}"
            )
        return answer


def _count(value: int) -> int | None:
    """Return a number of files; the service says -1 before there is one."""
    return value if value >= 0 else None
