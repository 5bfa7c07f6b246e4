"""How much RabbitMQ holds."""

from __future__ import annotations

from contextlib import closing

import pytest

from biomaj_download.broker.depth import Depth, RabbitmqDepth
from biomaj_download.errors import BrokerError


def test_queues_that_were_never_made_hold_nothing(rabbitmq_settings):
    with closing(RabbitmqDepth(rabbitmq_settings)) as depth:
        assert depth.ask() == Depth(messages=0, consumers=0, dead_letters=0)


def test_messages_are_counted_on_one_connection_each_time_anew(rabbitmq_settings, open_with):
    with closing(RabbitmqDepth(rabbitmq_settings)) as depth:
        before = depth.ask()
        broker = open_with()
        for number in range(3):
            broker.publish(b"x", message_id=str(number))

        assert before.messages == 0
        assert depth.ask() == Depth(messages=3, consumers=0, dead_letters=0)


def test_a_broker_that_is_not_there_is_named(rabbitmq_settings):
    away = rabbitmq_settings.model_copy(update={"port": 1})

    with closing(RabbitmqDepth(away)) as depth, pytest.raises(BrokerError, match=":1"):
        depth.ask()
