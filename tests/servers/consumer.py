"""A consumer of two processes that serves its figures."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.servers.own import REPOSITORY, OwnServer


class Consumer(OwnServer):
    """`settings` are sections of the configuration file; `port` is that of the figures."""

    def __init__(self, settings: Mapping[str, Any], *, processes: int = 2) -> None:
        super().__init__()
        self.listen = f"{self.host}:{self.port}"
        self.configure(
            {
                "worker": {"processes": processes},
                "metrics": {"listen": self.listen},
                "storage": {"state_dir": str(self.folder), "reserve_bytes": 0},
                **settings,
            }
        )

    def command(self) -> list[str]:
        return [sys.executable, str(REPOSITORY / "bin" / "biomaj_download_consumer.py")]

    def is_ready(self) -> bool:
        try:
            return requests.get(f"http://{self.listen}/metrics", timeout=5).ok
        except requests.ConnectionError:
            return False

    def scrape(self) -> str:
        """Return its figures as they stand."""
        return requests.get(f"http://{self.listen}/metrics", timeout=10).text

    def processes(self) -> list[int]:
        """Return the ids of the processes that consume."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children]

    def kill_process(self, pid: int) -> None:
        """End one of them, as the kernel does that runs out of memory."""
        os.kill(pid, 9)
