"""A running service, asked through its web interface.

In: its address, and the token where it wants one.  Out: what it knows of sessions, as it tells it.
A web interface of biomaj-download 3 tells less: how many files of a session are settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote

import requests

from biomaj_download.bearer import BearerSession
from biomaj_download.client.session import ANSWER_SECONDS, CONNECT_SECONDS
from biomaj_download.errors import OptionError, ServiceError, ServiceRefused
from biomaj_download.message import downmessage_pb2 as wire

Facts = Mapping[str, Any]

_PROBLEM = "application/problem+json"
_LONGEST_QUOTE_CHARACTERS = 200
#: A page of files or sessions.
PAGE_ENTRIES = 100


class Service:
    """The web interface at a URL; for one thread.

    Raises:
        ServiceError: from any method, when it cannot be reached or answers otherwise.
        ServiceRefused: it wants a token, or another one.
        OptionError: it has no such session.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self._http = BearerSession(token or None)

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def overview(self) -> Facts:
        """Return all at once: sessions, what runs, queue, consumers, hosts."""
        return self._ask("GET", "overview")

    def queue(self) -> Facts:
        """Return how many requests wait that no consumer has yet, and dead letters."""
        return self._ask("GET", "queue")

    def sessions(self, bank: str | None = None) -> list[Facts]:
        """Return the open sessions, newest first."""
        parameters = {"limit": PAGE_ENTRIES, **({"bank": bank} if bank else {})}
        return cast("list[Facts]", self._ask("GET", "sessions", parameters=parameters)["sessions"])

    def session(self, bank: str, session: str) -> Facts:
        """Return one session, with what runs of it."""
        try:
            return self._ask("GET", _route("sessions", bank, session))
        except NoSuchRoute:
            return self._old_session(bank, session)

    def _old_session(self, bank: str, session: str) -> Facts:
        told = self._ask("GET", _route("status/download", bank, session))
        done, failed = max(0, int(told["progress"])), max(0, int(told["errors"]))
        if not told.get("open", True):
            raise _not_open(bank, session)
        return {"bank": bank, "session": session, "done": done - failed, "failed": failed}

    def failures(self, bank: str, session: str) -> list[Facts]:
        """Return the files that failed, newest first; an old service does not tell them."""
        parameters = {"state": "failed", "limit": PAGE_ENTRIES}
        try:
            answer = self._ask("GET", _route("sessions", bank, session, "files"), parameters)
        except NoSuchRoute:
            return []
        return cast("list[Facts]", answer["files"])

    def open_session(self, bank: str) -> str:
        """Open a session of a bank and return its id."""
        return str(self._ask("POST", _route("session", bank))["session"])

    def expect(self, bank: str, session: str, files: int) -> None:
        """Tell how many files a session is to have; a service of an earlier release ignores it."""
        self._ask("GET", _route("status/download", bank, session), {"of": files})

    def submit(self, operations: Iterable[wire.Operation]) -> int:
        """Hand requests over; return how many."""
        number = 0
        for operation in operations:
            self._ask(
                "POST",
                "operations",
                data=operation.SerializeToString(),
                headers={"Content-Type": "application/x-protobuf"},
            )
            number += 1
        return number

    def cancel(self, bank: str, session: str) -> None:
        """End a session: what runs ends within seconds, what waits never begins."""
        try:
            self._ask("DELETE", _route("sessions", bank, session))
        except NoSuchRoute:
            self._ask("DELETE", _route("session", bank, session))

    def _ask(
        self,
        method: str,
        route: str,
        parameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Facts:
        place = f"download service at {self.url}"
        try:
            response = self._http.request(
                method,
                f"{self.url}/api/download/{route}",
                params=parameters,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                **more,
            )
        except requests.ConnectionError as error:
            raise ServiceError(
                f"{place}: does not answer; start it by `biomaj-download serve`, or say where it is"
                " (--url, BIOMAJ_DOWNLOAD_URL)"
            ) from error
        except requests.RequestException as error:
            raise ServiceError(f"{place}: {error}") from error
        if not response.ok:
            raise _refusal(place, route, response)
        return _facts(place, response)


class NoSuchRoute(ServiceError):
    """The service is of a release that has no such route."""


def _refusal(place: str, route: str, response: requests.Response) -> Exception:
    """Return the error that an answer means."""
    if response.status_code in (401, 403):
        return ServiceRefused(
            f"{place}: {_detail(response)}; give the token in BIOMAJ_WEB_TOKEN or web.token"
        )
    if response.status_code in (404, 405):
        if response.headers.get("Content-Type", "").startswith(_PROBLEM):
            return OptionError(f"{place}: {_detail(response)}")
        return NoSuchRoute(f"{place}: has no {route}: it is older than this command")
    return ServiceError(f"{place}: {_detail(response)}")


def _detail(response: requests.Response) -> str:
    try:
        problem = response.json()
        return str(problem["detail"] or problem["title"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason}"


def _facts(place: str, response: requests.Response) -> Facts:
    if not response.content:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        text = response.text[:_LONGEST_QUOTE_CHARACTERS]
        raise ServiceError(f"{place}: expected a JSON object, got {text!r}")
    return answer


def _not_open(bank: str, session: str) -> OptionError:
    return OptionError(f"{bank}/{session}: expected an open session, got none")


def _route(*parts: str) -> str:
    first, *rest = parts
    return "/".join((first, *(quote(part, safe="") for part in rest)))
