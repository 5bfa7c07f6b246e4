"""How often and how long a server that is away is asked."""

from __future__ import annotations

import pytest

from biomaj_download.client.patience import bear, insist
from biomaj_download.errors import BrokerError, ServiceError, StoreError


class Away:
    """Is away for so many questions."""

    def __init__(self, times, error):
        self.asked = 0
        self._times = times
        self._error = error

    def __call__(self):
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        return "here"


@pytest.mark.parametrize("error", [ServiceError("away"), BrokerError("away")])
def test_insist_asks_until_there_is_an_answer(quick_patience, error):
    assert insist(3, Away(2, error)) == "here"


def test_insist_raises_the_error_of_the_last_try(quick_patience):
    server = Away(3, ServiceError("away"))

    with pytest.raises(ServiceError, match="away"):
        insist(3, server)

    assert server.asked == 3


def test_bear_tells_once_that_a_server_is_away(quick_patience, caplog):
    assert bear(Away(5, ServiceError("gone for lunch"))) == "here"

    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "server away, asking again: gone for lunch"
    ]


def test_bear_gives_up_after_a_while(quick_patience, monkeypatch):
    monkeypatch.setattr("biomaj_download.client.patience.PATIENCE_SECONDS", 0.1)

    with pytest.raises(BrokerError, match="away"):
        bear(Away(1000, BrokerError("away")))


def test_bear_asks_nobody_again_whose_error_is_another_one(quick_patience):
    server = Away(1, StoreError("broken"))

    with pytest.raises(StoreError):
        bear(server)

    assert server.asked == 1
