"""Which broker the settings open."""

from __future__ import annotations

import pytest

from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.broker.opening import open_broker
from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.errors import ConfigError
from biomaj_download.settings import BrokerSettings, Settings


def test_no_url_opens_rabbitmq():
    assert isinstance(open_broker(Settings()), RabbitmqBroker)


def test_an_sqlite_url_opens_the_queue_file(tmp_path):
    broker = open_broker(Settings(broker=BrokerSettings(url=f"sqlite:{tmp_path}/queue.db")))

    assert isinstance(broker, EmbeddedBroker)
    assert (tmp_path / "queue.db").exists()
    broker.close()


@pytest.mark.parametrize("url", ["amqp://user:secret@host", "sqlite:", "queue.db"])
def test_another_url_is_a_configuration_error_without_its_password(url):
    with pytest.raises(ConfigError, match=r"broker.url: expected sqlite:PATH") as caught:
        open_broker(Settings(broker=BrokerSettings(url=url)))

    assert "secret" not in str(caught.value)
