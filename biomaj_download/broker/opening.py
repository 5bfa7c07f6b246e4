"""Settings in, the broker that they name out."""

from __future__ import annotations

from pathlib import Path

from biomaj_download.broker.base import Broker
from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.errors import ConfigError
from biomaj_download.settings import Settings


def open_broker(settings: Settings) -> Broker:
    """Open the broker that `broker.url` names; the caller closes it.

    Raises:
        ConfigError: the URL names no broker of ours.
        BrokerError: the queue file cannot be opened. RabbitMQ is first contacted when used.
    """
    url = settings.broker.url
    if url is None:
        return RabbitmqBroker(settings.rabbitmq)
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path:
        raise ConfigError(
            f"broker.url: expected sqlite:PATH, or nothing for RabbitMQ, got scheme {scheme!r}"
        )
    return EmbeddedBroker(Path(path))
