from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from contextlib import closing
from uuid import uuid4

import pytest
from click.testing import CliRunner

from biomaj_download.broker.opening import open_broker, open_dead_letters
from biomaj_download.cli import main
from biomaj_download.exit_codes import UNREACHABLE
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.serving import embedded_in
from biomaj_download.settings import Settings, load_settings
from tests.contract.broker import bodies, consuming, read
from tests.servers.process import free_port
from tests.servers.rabbitmq import plain_channel

SECRET = "h1dden"


@pytest.fixture
def embedded(tmp_path):
    """The words that name a data directory, and its settings."""
    return ("--data", str(tmp_path)), embedded_in(tmp_path, Settings())


@pytest.fixture
def distributed(rabbitmq, monkeypatch):
    """No words: the environment names a queue of its own on RabbitMQ."""
    queue = f"test-{uuid4()}"
    monkeypatch.setenv("RABBITMQ_HOST", rabbitmq.host)
    monkeypatch.setenv("RABBITMQ_PORT", str(rabbitmq.port))
    monkeypatch.setenv("RABBITMQ_USER", rabbitmq.user)
    monkeypatch.setenv("RABBITMQ_PASSWORD", rabbitmq.password)
    monkeypatch.setenv("BIOMAJ_RABBITMQ_QUEUE", queue)
    yield (), load_settings()
    with plain_channel(rabbitmq) as channel:
        channel.queue_delete(queue)
        channel.queue_delete(f"{queue}.dead")


@pytest.fixture(params=["embedded", "distributed"])
def place(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def settings(place):
    return place[1]


@pytest.fixture
def run(place):
    words, _ = place
    return lambda *arguments: CliRunner().invoke(main, ["dead", *arguments, *words])


@pytest.fixture
def process(place):
    """Run the command as a process of its own."""
    words, _ = place

    def process(*arguments, **options):
        command = [sys.executable, "-m", "biomaj_download.cli", "dead", *arguments, *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, **options
        )

    return process


@pytest.fixture
def die(settings):
    """Put messages on the queue, and reject them."""

    def die(*messages, reason="no request"):
        with closing(open_broker(settings)) as broker:
            broker.publish_many((body, f"id-{number}") for number, body in enumerate(messages))
            with consuming(broker) as consumption:
                for _ in messages:
                    broker.reject(*consumption.take(1), reason=reason)
        return [letter.id for letter in read(open_dead_letters(settings))]

    return die


@pytest.fixture
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def request_body():
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    download = operation.download
    download.bank, download.session, download.local_dir = "bank", "session-1", "/db"
    remote = download.remote_file
    remote.protocol, remote.server, remote.remote_dir = wire.DownloadFile.FTP, "host", "/dir"
    remote.credentials = f"user:{SECRET}"
    remote.files.add(name="a.gz")
    return operation.SerializeToString()


def test_list_shows_a_line_for_each_letter_and_how_many_there_are(die, process):
    ids = die(request_body(), b"\xffnoise", b"more")

    listed = process("list", "--limit", "2")

    assert (listed.returncode, listed.stderr) == (0, "")
    first, second, last = listed.stdout.splitlines()
    assert first.startswith(ids[0][:12])
    assert "bank/session-1  no request" in first
    assert second.startswith(ids[1][:12])
    assert "-/-  no request" in second
    assert last == "2 of 3 dead letters"


def test_list_tells_programs_all_but_the_body(die, run):
    ids = die(request_body(), b"\xffnoise")

    result = run("list", "--json")

    first, second = json.loads(result.stdout)
    assert (first["id"], first["bank"], first["files"]) == (ids[0], "bank", ["a.gz"])
    assert (second["id"], second["bank"], second["size_bytes"]) == (ids[1], None, 6)
    assert SECRET not in result.output


def test_list_lets_no_reason_command_the_terminal(die, run):
    die(b"body", reason="\x1b[2Jone\ntwo\u202e")

    listed = run("list").stdout

    assert len(listed.splitlines()) == 2
    assert "\\x1b[2Jone\\ntwo\\u202e" in listed


def test_list_says_that_there_are_none(settings, run):
    open_broker(settings).close()

    result = run("list")

    assert (result.exit_code, result.stdout) == (0, "0 of 0 dead letters\n")


def test_where_there_is_no_broker_it_is_told_what_helps(monkeypatch):
    monkeypatch.setenv("RABBITMQ_HOST", "127.0.0.1")
    monkeypatch.setenv("RABBITMQ_PORT", str(free_port()))

    result = CliRunner().invoke(main, ["dead", "list"])

    assert result.exit_code == UNREACHABLE
    assert "start RabbitMQ, or say where it is" in result.stderr
    assert "--data DIR" in result.stderr


def test_show_tells_all_of_a_letter_but_no_secret(die, process):
    _, id_ = die(b"noise", request_body())

    shown = process("show", id_[:8].upper())

    assert shown.returncode == 0, shown.stderr
    letter = json.loads(shown.stdout)
    assert (letter["id"], letter["reason"], letter["message_id"]) == (id_, "no request", "id-1")
    assert letter["message"]["download"]["remote_file"]["credentials"] == "***"
    assert letter["message"]["download"]["local_dir"] == "/db"
    assert SECRET not in shown.stdout


def test_requeue_puts_the_named_letters_back(die, run, settings):
    one, _, three = die(b"one", b"two", b"three")

    result = run("requeue", one[:10], three)

    assert (result.exit_code, result.stdout) == (0, "2 of 2 requeued\n")
    assert bodies(read(open_dead_letters(settings))) == [b"two"]
    with closing(open_broker(settings)) as broker, consuming(broker) as consumption:
        assert bodies(consumption.take(2)) == [b"one", b"three"]


def test_requeue_and_drop_take_all(die, run, settings):
    die(b"one", b"two")
    dropped = run("drop", "--all", "--yes")
    die(b"three")
    requeued = run("requeue", "--all")

    assert (dropped.exit_code, dropped.stdout) == (0, "2 of 2 dropped\n")
    assert (requeued.exit_code, requeued.stdout) == (0, "1 of 1 requeued\n")
    assert open_dead_letters(settings).count() == 0


@pytest.mark.parametrize("order", [("requeue",), ("drop", "--yes")])
def test_nothing_is_done_when_one_id_is_unknown_or_too_short_or_none_is_named(
    die, run, settings, order
):
    (id_,) = die(b"one")
    unknown = "0000" if not id_.startswith("0000") else "1111"
    wrong = [(id_, unknown), (id_, ""), (id_, id_[:3]), (), (id_, "--all")]

    results = [run(*order, *words) for words in wrong]

    assert [result.exit_code for result in results] == [2] * len(wrong)
    assert f"'{unknown}': expected the ID of one dead letter, none fit" in results[0].stderr
    assert "at least 4 digits" in results[1].stderr
    assert "expected either IDs or --all" in results[3].stderr
    assert open_dead_letters(settings).count() == 1


def test_an_id_that_fits_several_letters_is_refused(die, run, settings, monkeypatch):
    monkeypatch.setattr("biomaj_download.command.dead.FEWEST_DIGITS", 1)
    ids = die(*(b"%d" % number for number in range(17)))
    firsts = [id_[0] for id_ in ids]
    ambiguous = next(digit for digit in firsts if firsts.count(digit) > 1)

    result = run("drop", "--yes", ambiguous)

    assert result.exit_code == 2
    assert f"{firsts.count(ambiguous)} fit" in result.stderr
    assert open_dead_letters(settings).count() == 17


def test_drop_refuses_to_go_on_unasked_without_a_terminal(die, process, settings):
    (id_,) = die(b"one")

    refused = process("drop", id_, stdin=subprocess.DEVNULL)

    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert open_dead_letters(settings).count() == 1


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
def test_drop_asks_on_a_terminal(die, process, settings, answer, code, left):
    (id_,) = die(b"one")
    ours, theirs = pty.openpty()
    os.write(ours, answer)

    asked = process("drop", id_, stdin=theirs)

    os.close(ours)
    os.close(theirs)
    assert "Forget 1 dead letters for ever?" in asked.stdout + asked.stderr
    assert asked.returncode == code
    assert open_dead_letters(settings).count() == left


@pytest.mark.usefixtures("distributed")
def test_a_broker_that_cannot_be_reached_is_named_in_a_line(monkeypatch, closed_port):
    monkeypatch.setenv("RABBITMQ_PORT", str(closed_port))
    monkeypatch.setenv("RABBITMQ_PASSWORD", SECRET)
    command = [sys.executable, "-m", "biomaj_download.cli", "dead"]

    for words in (["list"], ["show", "0000"], ["requeue", "--all"], ["drop", "--all", "--yes"]):
        failed = subprocess.run(
            [*command, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert failed.returncode == 3
        assert failed.stderr.count("\n") == 1
        assert f"127.0.0.1:{closed_port}/" in failed.stderr
        assert SECRET not in failed.stderr


def test_a_data_directory_without_a_queue_is_named(tmp_path):
    result = CliRunner().invoke(main, ["dead", "list", "--data", str(tmp_path / "typo")])

    assert result.exit_code == 3
    assert "expected a queue file, there is none" in result.stderr
    assert not (tmp_path / "typo").exists()
