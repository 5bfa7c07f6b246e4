"""The web interface under a real gunicorn, on the configuration that is shipped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.servers.process import Server

REPOSITORY = Path(__file__).parents[2]
CONFIGURATION = REPOSITORY / "gunicorn_conf.py"
WORKERS = 2


class Gunicorn(Server):
    """Two worker processes; `settings` are sections of the configuration file."""

    program = "python3"
    package = "python3"

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
        web = {"hostname": self.host, "port": self.port}
        (self.folder / "config.yml").write_text(yaml.safe_dump({**settings, "web": web}))
        #: Where temporary files go.
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()

    def command(self) -> list[str]:
        application = "biomaj_download.biomaj_download_web:app"
        return [sys.executable, "-m", "gunicorn", "-c", str(CONFIGURATION), application]

    def environment(self) -> dict[str, str]:
        return {
            "BIOMAJ_CONFIG": str(self.folder / "config.yml"),
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(self.temporary),
            **self._environment,
        }

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

    def booted_workers(self) -> int:
        """Return how many workers were ever started."""
        return self.log().count("Booting worker")
