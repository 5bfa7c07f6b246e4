"""How long a consumer waits for a broker that is away."""

from __future__ import annotations

from biomaj_download.broker.outage import Outage


def waits(outage: Outage, number: int) -> list[float]:
    return [outage.failed(OSError("gone"), "gone") for _ in range(number)]


def test_waits_grow_from_a_second_to_half_a_minute_and_vary():
    outage = Outage("broker")

    tries = waits(outage, 40)

    ceilings = [1, 2, 4, 8, 16] + [30] * 35
    assert all(c / 2 <= wait <= c for wait, c in zip(tries, ceilings, strict=True))
    assert len(set(tries)) == len(tries)


def test_waits_begin_anew_when_the_broker_was_back():
    outage = Outage("broker")
    waits(outage, 10)

    outage.over()

    assert waits(outage, 1)[0] <= 1


def test_each_kind_of_error_is_logged_once_an_outage(caplog):
    outage = Outage("broker")

    for error in (OSError("a"), OSError("b"), ValueError("c")):
        outage.failed(error, str(error))
    outage.over()
    outage.failed(OSError("d"), "d")

    texts = [record.getMessage()[-1] for record in caplog.records if record.levelname == "ERROR"]
    assert texts == ["a", "c", "d"]
    assert "broker back server=broker" in caplog.text
