"""The queue in one SQLite file."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FuturesTimeoutError
from contextlib import closing

import pytest

from biomaj_download.broker.dead import identity_of
from biomaj_download.broker.dead_embedded import EmbeddedDeadLetters
from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.broker.queue_file import FIRST_SCHEMA
from biomaj_download.errors import BrokerError
from biomaj_download.settings import BrokerSettings, Settings
from tests.contract.broker import BrokerContract, DeadLetter, consuming, read, wait_for


class TestEmbeddedBroker(BrokerContract):
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "new" / "queue.db"

    @pytest.fixture
    def settings(self, path):
        return Settings(broker=BrokerSettings(url=f"sqlite:{path}"))

    @pytest.fixture
    def dead_letters(self, path):
        def read() -> list[DeadLetter]:
            with closing(sqlite3.connect(path)) as connection:
                rows = connection.execute("SELECT body, message_id, reason FROM dead")
                return [DeadLetter(*row) for row in rows]

        return read

    def test_messages_wait_for_the_next_start(self, path, broker):
        broker.publish(b"body", message_id="one")
        broker.close()

        with consuming(EmbeddedBroker(path)) as consumption:
            (delivery,) = consumption.take(1)

        assert (delivery.body, delivery.redelivered) == (b"body", False)

    def test_redeliveries_are_counted(self, broker):
        broker.publish(b"body", message_id="one")

        with consuming(broker) as consumption:
            (first,) = consumption.take(1)
            broker.requeue(first)
            (second,) = consumption.take(1)
            broker.requeue(second)
            (third,) = consumption.take(1)

        counts = [d.headers.get("x-delivery-count") for d in (first, second, third)]
        assert counts == [None, 1, 2]

    def test_settlements_wait_for_a_file_that_is_locked_for_long(
        self, path, broker, open_one, caplog, monkeypatch
    ):
        monkeypatch.setattr("biomaj_download.broker.queue_file.BUSY_TIMEOUT_SECONDS", 0.05)
        broker.publish(b"body", message_id="one")
        with consuming(broker) as consumption, closing(sqlite3.connect(path)) as other:
            (delivery,) = consumption.take(1)
            other.execute("BEGIN IMMEDIATE")

            broker.accept(delivery)
            wait_for(lambda: "broker lost" in caplog.text)
            assert not broker.is_connected()
            other.rollback()
            wait_for(broker.is_connected)

        assert "broker back" in caplog.text
        assert self.first_waiting(open_one()) == b"marker"

    def test_a_consumer_shows_that_it_lives_while_it_waits_for_the_file(
        self, path, broker, caplog, monkeypatch
    ):
        monkeypatch.setattr("biomaj_download.broker.queue_file.BUSY_TIMEOUT_SECONDS", 0.05)
        monkeypatch.setattr("biomaj_download.broker.outage.FIRST_WAIT_SECONDS", 30)
        broker.publish(b"body", message_id="one")
        with consuming(broker) as consumption, closing(sqlite3.connect(path)) as other:
            (delivery,) = consumption.take(1)
            other.execute("BEGIN IMMEDIATE")
            broker.accept(delivery)
            wait_for(lambda: "broker lost" in caplog.text)

            assert consumption.turns(3)

    def test_publish_names_the_file_when_it_cannot_store(self, path, broker, monkeypatch):
        monkeypatch.setattr("biomaj_download.broker.queue_file.BUSY_TIMEOUT_SECONDS", 0.05)
        impatient = EmbeddedBroker(path)
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")

            with pytest.raises(BrokerError, match=f"{path}: database is locked"):
                impatient.publish(b"body", message_id="one")
        impatient.close()

        assert self.first_waiting(broker) == b"marker"

    def test_of_many_messages_all_are_stored_or_none(self, broker):
        with pytest.raises(BrokerError, match="NOT NULL"):
            broker.publish_many([(b"body", "one"), (None, "two")])

        assert self.first_waiting(broker) == b"marker"

    def test_a_file_from_before_dead_letters_had_ids_is_brought_up_to_date(self, path, open_one):
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(FIRST_SCHEMA)
            connection.execute("INSERT INTO messages (body, message_id) VALUES ('waiting', 'one')")
            connection.execute("INSERT INTO dead (body, reason) VALUES (x'00', 'no request')")
            connection.commit()

        (letter,) = read(EmbeddedDeadLetters(path))
        assert EmbeddedDeadLetters(path).requeue({letter.id}) == {letter.id}

        assert (letter.body, letter.reason, len(letter.id)) == (b"\x00", "no request", 32)
        assert letter.died_at is not None
        with consuming(open_one()) as consumption:
            waiting, requeued = consumption.take(2)
        assert (waiting.body, requeued.body) == ("waiting", b"\x00")
        assert requeued.message_id == identity_of(None, b"\x00")

    def test_dead_letters_are_not_looked_for_in_a_file_that_is_not_there(self, path):
        with pytest.raises(BrokerError, match=f"{path}: expected a queue file"):
            EmbeddedDeadLetters(path).count()

        assert not path.parent.exists()

    def test_a_requeued_message_stays_one_and_its_deliveries_count_anew(
        self, path, die, letters, open_one
    ):
        die("one")
        letters.requeue({letter.id for letter in read(letters)})

        broker = open_one()
        with consuming(broker) as consumption:
            broker.requeue(*consumption.take(1))
            (again,) = consumption.take(1)
            broker.reject(again, reason="no request")

        assert again.headers == {"x-delivery-count": 1, "x-requeued": 1}
        assert read(letters)[0].headers == again.headers

    def test_a_new_file_that_another_process_is_making_is_waited_for(self, tmp_path):
        path = tmp_path / "queue.db"
        with closing(sqlite3.connect(path)) as other, ThreadPoolExecutor(1) as pool:
            other.execute("BEGIN IMMEDIATE")

            opening = pool.submit(EmbeddedBroker, path)
            with pytest.raises(FuturesTimeoutError):
                opening.result(timeout=0.3)
            other.rollback()

            opening.result().close()

    def test_a_file_that_is_no_queue_is_named(self, tmp_path):
        path = tmp_path / "queue.db"
        path.write_bytes(b"no database" * 1000)

        with pytest.raises(BrokerError, match=f"{path}: file is not a database"):
            EmbeddedBroker(path)
