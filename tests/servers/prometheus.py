"""A Prometheus of its own, on the configuration that is shipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import requests
import yaml

from tests.servers.process import Server, poll

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"


class Prometheus(Server):
    """Scrapes the jobs of the configuration each second, at `targets` (job -> host:port)."""

    program = "prometheus"
    package = "prometheus"

    def __init__(self, targets: Mapping[str, str]) -> None:
        super().__init__()
        document = yaml.safe_load(CONFIGURATION.read_text())
        document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        document["rule_files"] = [str(CONFIGURATION.parent / "alerts.yml")]
        for scrape in document["scrape_configs"]:
            scrape["static_configs"] = [{"targets": [targets[scrape["job_name"]]]}]
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
