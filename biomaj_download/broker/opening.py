"""Settings in, the broker that they name out."""

from __future__ import annotations

from pathlib import Path

from biomaj_download.broker.base import Broker
from biomaj_download.broker.dead import DeadLetters
from biomaj_download.broker.dead_embedded import EmbeddedDeadLetters
from biomaj_download.broker.dead_rabbitmq import RabbitmqDeadLetters
from biomaj_download.broker.depth import DepthAsker, EmbeddedDepth, RabbitmqDepth
from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.errors import ConfigError
from biomaj_download.server_tls import check_tls_files
from biomaj_download.settings import RabbitmqSettings, Settings


def open_broker(settings: Settings) -> Broker:
    """Open the broker that `broker.url` names; the caller closes it.

    Raises:
        ConfigError: the URL names no broker of ours, or a file for TLS is wrong.
        BrokerError: the queue file cannot be opened. RabbitMQ is first contacted when used.
    """
    path = _queue_path(settings)
    return RabbitmqBroker(_rabbitmq(settings)) if path is None else EmbeddedBroker(path)


def open_dead_letters(settings: Settings) -> DeadLetters:
    """Return the dead letters of the broker that `broker.url` names; contacted when used.

    Raises:
        ConfigError: the URL names no broker of ours, or a file for TLS is wrong.
    """
    path = _queue_path(settings)
    return RabbitmqDeadLetters(_rabbitmq(settings)) if path is None else EmbeddedDeadLetters(path)


def _rabbitmq(settings: Settings) -> RabbitmqSettings:
    check_tls_files(settings.rabbitmq, section="rabbitmq")
    return settings.rabbitmq


def open_depth(settings: Settings) -> DepthAsker:
    """Return what asks the broker that `broker.url` names how much it holds; contacted when used.

    Raises:
        ConfigError: the URL names no broker of ours.
    """
    path = _queue_path(settings)
    return RabbitmqDepth(settings.rabbitmq) if path is None else EmbeddedDepth(path)


def _queue_path(settings: Settings) -> Path | None:
    """Return the file of the embedded queue; None: it is RabbitMQ."""
    url = settings.broker.url
    if url is None:
        return None
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path:
        raise ConfigError(
            "broker.url: expected sqlite:PATH, amqps://HOST, amqp://HOST, or nothing for the"
            f" RabbitMQ of section rabbitmq, got scheme {scheme!r}"
        )
    return Path(path)
