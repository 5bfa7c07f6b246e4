"""A process of this package on a configuration of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.servers.process import Server

REPOSITORY = Path(__file__).parents[2]


class OwnServer(Server):
    """`configure` writes the file that it reads; temporary files go to `temporary`."""

    program = "python3"
    package = "python3"

    def __init__(self) -> None:
        super().__init__()
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()

    def configure(self, document: Mapping[str, Any]) -> None:
        """Write the configuration."""
        (self.folder / "config.yml").write_text(yaml.safe_dump(dict(document)))

    def environment(self) -> dict[str, str]:
        return {
            "BIOMAJ_CONFIG": str(self.folder / "config.yml"),
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(self.temporary),
        }
