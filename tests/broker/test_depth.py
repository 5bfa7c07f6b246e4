"""How much RabbitMQ holds."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from biomaj_download.broker import depth as depth_module
from biomaj_download.broker.depth import Depth, DepthAsker, DepthGauge, RabbitmqDepth
from biomaj_download.errors import BrokerError
from tests.servers.process import poll


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


class HangingDepth(DepthAsker):
    """Answers once."""

    def __init__(self):
        self.may_end = threading.Event()
        self._answers = [Depth(messages=1)]

    def ask(self):
        if not self._answers:
            self.may_end.wait()
            return Depth(messages=2)
        return self._answers.pop()

    def close(self):
        pass


def test_a_broker_that_hangs_after_an_answer_is_away_until_it_answers(monkeypatch):
    monkeypatch.setattr(depth_module, "ASK_SECONDS", 0.02)
    monkeypatch.setattr(depth_module, "SILENT_SECONDS", 0.5)
    asker = HangingDepth()
    with closing(DepthGauge(asker)) as gauge:
        gauge.check()
        for _ in poll(10):
            try:
                gauge.check()
            except BrokerError as error:
                told = str(error)
                break
        assert told == "no answer"

        asker.may_end.set()
        for _ in poll(10):
            if gauge.latest().messages == 2:
                break
        gauge.check()
