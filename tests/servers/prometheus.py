"""A Prometheus of its own, with a configuration of the test's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
import yaml

from tests.servers.process import Server, poll


class Prometheus(Server):
    """Scrapes `jobs` (job -> host:port) each second."""

    program = "prometheus"
    package = "prometheus"

    def __init__(self, jobs: Mapping[str, str]) -> None:
        super().__init__()
        scrapes: list[dict[str, Any]] = [
            {"job_name": job, "static_configs": [{"targets": [target]}]}
            for job, target in jobs.items()
        ]
        document = {"global": {"scrape_interval": "1s"}, "scrape_configs": scrapes}
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(document))
        self.url = f"http://{self.host}:{self.port}"

    def command(self) -> list[str]:
        return [
            self.program_path,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.host}:{self.port}",
        ]

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def query(self, expression: str) -> dict[str, float]:
        """Return an expression's values, by their labels.

        Raises:
            ValueError: Prometheus refused it.
        """
        answer = requests.get(
            f"{self.url}/api/v1/query", params={"query": expression}, timeout=10
        ).json()
        if answer["status"] != "success":
            raise ValueError(f"{expression}: {answer['error']}")
        return {
            ",".join(f"{k}={v}" for k, v in sorted(entry["metric"].items())): float(
                entry["value"][1]
            )
            for entry in answer["data"]["result"]
        }

    def scrape_errors(self) -> dict[str, str]:
        """Return each job's last error, after at least one scrape; empty: none."""
        for _ in poll(30):
            data = requests.get(f"{self.url}/api/v1/targets", timeout=10).json()["data"]
            targets = data["activeTargets"]
            if targets and all(target["health"] != "unknown" for target in targets):
                return {target["labels"]["job"]: target["lastError"] for target in targets}
        raise TimeoutError("nothing was scraped")
