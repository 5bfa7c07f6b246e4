"""The web interface under a real gunicorn, on the configuration that is shipped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.servers.own import REPOSITORY, OwnServer
from tests.servers.process import children_of

CONFIGURATION = REPOSITORY / "gunicorn_conf.py"
WORKERS = 2


class Gunicorn(OwnServer):
    """Two worker processes; `settings` are sections of the configuration file."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
    ) -> None:
        super().__init__()
        self._environment = dict(environment or {})
        self.verify = str(ca_file) if ca_file else True
        self.url = f"{'https' if ca_file else 'http'}://{self.host}:{self.port}"
        self.configure({**settings, "web": {"hostname": self.host, "port": self.port}})

    def command(self) -> list[str]:
        application = "biomaj_download.biomaj_download_web:app"
        return [sys.executable, "-m", "gunicorn", "-c", str(CONFIGURATION), application]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self._environment}

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/api/download").ok
        except requests.ConnectionError:
            return False

    def ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request over a connection of its own, so that any worker may get it."""
        return requests.request(
            method, self.url + path, verify=self.verify, timeout=60, **arguments
        )

    def reload(self) -> None:
        """Have the configuration read again, and new workers started."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGHUP)

    def workers(self) -> list[int]:
        """Return the worker processes."""
        assert self._process is not None
        return children_of(self._process.pid)

    def booted_workers(self) -> int:
        """Return how many workers were ever started."""
        return self.log().count("Booting worker")
