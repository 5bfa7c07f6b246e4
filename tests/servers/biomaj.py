"""The download service as a site runs it: gunicorn and a consumer process, one configuration."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import requests
import yaml

from tests.servers.process import Server
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[2]


class BiomajProcess(Server):
    """A process of the service; `sections`: what its configuration holds besides the servers."""

    program = "python3"
    package = "python3"

    def __init__(
        self,
        rabbitmq: RabbitmqServer,
        redis_server: RedisServer,
        sections: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
        *,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self._more_environment = environment
        self._config_path = self.folder / "config.yml"
        configuration: dict[str, dict[str, object]] = {
            "rabbitmq": rabbitmq.section,
            "redis": {"host": redis_server.host, "port": redis_server.port},
            "web": {"port": self.port},
            "log_config": {
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"dated": {"format": "%(asctime)s %(message)s"}},
                "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "dated"}},
                "root": {"level": "INFO", "handlers": ["console"]},
            },
        }
        for name, values in sections.items():
            configuration.setdefault(name, {}).update(values)
        self._config_path.write_text(yaml.safe_dump(configuration))

    def environment(self) -> dict[str, str]:
        return {
            "BIOMAJ_CONFIG": str(self._config_path),
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            **self._more_environment,
        }


class DownloadWeb(BiomajProcess):
    """The web interface in gunicorn."""

    @property
    def url(self) -> str:
        """Return what BioMAJ calls the proxy."""
        return f"http://{self.host}:{self.port}"

    def command(self) -> list[str]:
        configuration = str(ROOT / "gunicorn_conf.py")
        return [sys.executable, "-m", "gunicorn", "-c", configuration, "biomaj_download.wsgi:app"]

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/download", timeout=5).json() == {"msg": "pong"}
        except requests.RequestException:
            return False


class DownloadConsumer(BiomajProcess):
    """A consumer; ready when it consumes."""

    def command(self) -> list[str]:
        return [sys.executable, str(ROOT / "bin" / "biomaj_download_consumer.py")]

    def start(self) -> None:
        self._lines_before = self.log().count("\n")
        super().start()

    def is_ready(self) -> bool:
        return any("consuming" in line for line in self.log().splitlines()[self._lines_before :])
