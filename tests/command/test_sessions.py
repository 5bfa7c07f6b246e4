"""Commands that ask a running service, which is the embedded one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from biomaj_download.command import watching
from biomaj_download.command.service import Facts, Service
from biomaj_download.command.watching import Watching
from biomaj_download.errors import OptionError, ServiceError
from tests.command.conftest import COMMAND
from tests.servers.faulty_http import Answer
from tests.servers.process import free_port, poll

ONCE = ("-o", "stop_condition=stop_after_attempt(1)")


@pytest.fixture
def halting(faulty_http) -> str:
    """The address of a file that stops in its middle."""
    body = b"x" * 200_000
    return faulty_http.add("/db/halting.dat", Answer(body=body, stall_after=100_000))


def session_in(output: str) -> str:
    """Return the session that `submit` named."""
    return output.split("bank/")[1].split(maxsplit=1)[0]


def test_submit_has_the_service_download_and_follows_it(run, service, tree, url, tmp_path):
    result = run("submit", "bank", url, "--match", "**/*", "-d", tmp_path / "home", *ONCE)

    assert result.exit_code == 0, result.output
    assert "submitted 3 files: bank/" in result.stdout
    assert "3 of 3 done, 0 failed" in result.stdout
    assert (tmp_path / "home/sub/deep/c d.dat").read_bytes() == b"d" * 300


def test_submit_lists_as_the_configuration_says(service, tree, url, tmp_path):
    words = ["submit", "bank", url, "--match", "**/*", "-d", str(tmp_path / "home"), "--detach"]
    denied = {"BIOMAJ_TRANSFER_DENIED_NETWORKS": '["127.0.0.0/8"]'}

    done = subprocess.run(
        [*COMMAND, *words, *ONCE],
        env={**os.environ, **denied, "BIOMAJ_DOWNLOAD_URL": service},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode != 0
    assert "submitted" not in done.stdout
    assert "denied" in done.stderr


def test_submit_ends_with_1_if_a_file_failed(run, service, nginx, tree, url, tmp_path):
    result = run("submit", "bank", f"{url}a.dat", f"{url}no.dat", "-d", tmp_path / "home", *ONCE)

    assert result.exit_code == 1, result.output
    assert "1 of 2 done, 1 failed" in result.stdout
    assert (tmp_path / "home/a.dat").exists()


def test_submit_that_is_detached_leaves_its_session_to_others(run, service, tree, url, tmp_path):
    submitted = run("submit", "bank", f"{url}a.dat", "-d", tmp_path / "home", "--detach", *ONCE)
    session = session_in(submitted.output)

    for _ in range(100):
        result = run("status", "bank", session)
        if "1 done" in result.stdout or "1 of 1 done" in result.stdout:
            break
        time.sleep(0.1)

    assert result.exit_code == 0, result.output
    assert f"bank/{session}" in result.stdout


def test_cancel_ends_what_runs(run, service, halting, faulty_http, tmp_path):
    submitted = run("submit", "bank", halting, "-d", tmp_path / "home", "--detach")
    session = session_in(submitted.output)

    refused = run("cancel", "bank", session)
    result = run("cancel", "bank", session, "--yes")

    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert result.exit_code == 0, result.output
    assert result.stdout == f"cancelled: bank/{session}\n"
    with pytest.raises(OptionError):
        Service(service, None).session("bank", session)


def test_cancel_asks_on_a_terminal(on_terminal, run, service, halting, tmp_path):
    session = session_in(run("submit", "bank", halting, "-d", tmp_path, "--detach").output)
    terminal = on_terminal("cancel", "bank", session)

    terminal.read_until("[y/N]: ")
    terminal.type("n\n")
    terminal.read_to_the_end()

    assert terminal.process.returncode == 1
    assert Service(service, None).session("bank", session)["session"] == session


def test_ctrl_c_ends_the_watching_and_not_the_session(on_terminal, run, service, halting, tmp_path):
    session = session_in(run("submit", "bank", halting, "-d", tmp_path, "--detach").output)
    terminal = on_terminal("watch", "bank", session)

    terminal.read_until(f"bank/{session}")
    terminal.process.send_signal(signal.SIGINT)
    text = terminal.read_to_the_end()

    assert terminal.process.returncode == 128 + signal.SIGINT
    assert "the session goes on" in text
    assert Service(service, None).session("bank", session)["session"] == session


def test_an_unknown_session_is_named(run, service):
    result = run("watch", "bank", "00000000-0000-4000-8000-000000000000")

    assert result.exit_code == 2
    assert "session" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("watch", "b"),
        ("cancel", "b", "--yes"),
        ("submit", "b", "http://h/f", "-d", "/x"),
    ],
)
def test_a_service_that_is_not_there_is_a_code_of_its_own(run, monkeypatch, words):
    monkeypatch.setenv("BIOMAJ_DOWNLOAD_URL", f"http://127.0.0.1:{free_port()}")

    result = run(*words)

    assert result.exit_code == 3
    assert "does not answer; start it by `biomaj-download serve`" in result.stderr


class Told:
    """A service that tells these facts of a session, one after the other, or fails by them."""

    def __init__(self, *told: Facts | Exception, messages: Sequence[int] = ()) -> None:
        self._told = iter(told)
        self._messages = iter(messages)

    def session(self, bank: str, session: str) -> Facts:
        told = next(self._told)
        if isinstance(told, Exception):
            raise told
        return {"bank": bank, "session": session, "failed": 0, "running": 0, "waiting": 0, **told}

    def failures(self, bank: str, session: str) -> Sequence[Facts]:
        return []

    def queue(self) -> Facts:
        return {"messages": next(self._messages, 0)}


def test_watch_goes_on_while_files_wait_in_the_queue(monkeypatch, capsys):
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.01)
    told = Told(*[{"done": 1}] * 6, *[{"done": 4}] * 4, messages=[3] * 5)

    assert Watching(told, "bank", "s", as_json=False).run() == 0

    assert "4 done" in capsys.readouterr().out


def test_watch_shows_no_password_of_a_service_that_is_away(monkeypatch, capsys):
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.01)
    away = ServiceError("download service at http://me:planted@h: does not answer")

    Watching(Told({"done": 1}, away, OptionError("closed")), "bank", "s", as_json=False).run()

    shown = capsys.readouterr()
    assert "does not answer" in shown.err
    assert "planted" not in shown.err + shown.out


def test_status_in_json_is_for_programs(run, service, halting, tmp_path):
    session = session_in(run("submit", "bank", halting, "-d", tmp_path, "--detach").output)

    result = run("status", "bank", session, "--json")

    assert json.loads(result.stdout)["session"] == session


def test_watch_bears_a_service_that_is_away_for_a_while(on_terminal, tmp_path):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with process_of("serve", "--port", port, "--data", tmp_path / "data"):
        service = Service(address, None)
        session = service.open_session("bank")
        service.expect("bank", session, 1)
        terminal = on_terminal("watch", "bank", session, "--url", address)
        terminal.read_until(f"bank/{session}")
    text = terminal.read_until("asking again")
    with process_of("serve", "--port", port, "--data", tmp_path / "data"):
        terminal.process.send_signal(signal.SIGINT)
        text = terminal.read_to_the_end()

    assert "does not answer" in text
    assert terminal.process.returncode == 128 + signal.SIGINT


@contextmanager
def process_of(*words: object) -> Iterator[None]:
    """Have a command run that says in a line when it is ready."""
    process = subprocess.Popen([*COMMAND, *map(str, words)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, process.stdout:
        process.stdout.readline()
        yield
        process.kill()


@pytest.fixture
def half_done(run, service, halting, url, tree, tmp_path) -> str:
    """A session of which a file is there, one is missing, and one hangs."""
    words = (f"{url}a.dat", f"{url}no.dat", halting, "-d", tmp_path / "home", "--detach", *ONCE)
    session = session_in(run("submit", "bank", *words).output)
    for _ in poll(30):
        told = json.loads(run("status", "bank", session, "--json", *data(tmp_path)).stdout)
        if told["done"] + told["failed"] == 2 and told["running_files"]:
            return session
    raise AssertionError("two of the files did not end")


def data(tmp_path) -> tuple[object, ...]:
    return ("--data", tmp_path / "data")


def test_status_shows_all_that_the_store_knows(run, half_done, tmp_path):
    everything = run("status", *data(tmp_path))
    of_bank = run("status", "bank", *data(tmp_path))
    of_another = run("status", "other", *data(tmp_path))

    assert everything.exit_code == 0, everything.output
    line = everything.stdout.splitlines()[0]
    assert line.startswith(f"bank/{half_done}")
    assert "1 of 3 done, 1 failed, 1 running" in line
    assert "consumers: 1" in everything.stdout
    assert of_bank.stdout.startswith(f"bank/{half_done}")
    assert of_another.stdout == "no session\n"


def test_status_of_a_session_shows_what_runs_and_what_failed(run, half_done, tmp_path):
    result = run("status", "bank", half_done[:8], *data(tmp_path))

    assert result.exit_code == 1
    assert "  running: halting.dat  100 kB" in result.stdout
    assert "(remote-file-missing)" in result.stdout


def test_watch_shows_a_session_that_changes_on_a_terminal(on_terminal, half_done, tmp_path):
    terminal = on_terminal("watch", "bank", *data(tmp_path))

    text = terminal.read_until("running: halting.dat")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_to_the_end()

    assert "running: halting.dat" in text


def test_cancel_of_the_only_session_needs_no_id(run, half_done, tmp_path):
    result = run("cancel", "bank", "--yes", *data(tmp_path))
    again = run("cancel", "bank", "--yes", *data(tmp_path))

    assert result.exit_code == 0, result.output
    assert again.exit_code == 2
    assert "expected an open session, got none" in again.stderr


def test_a_short_id_is_refused(run, half_done, tmp_path):
    result = run("status", "bank", half_done[:2], *data(tmp_path))

    assert result.exit_code == 2
    assert "at least 4 letters" in result.stderr


def test_submit_takes_no_two_files_of_one_name(run, service, url, tmp_path):
    result = run("submit", "bank", f"{url}a.dat", f"{url}sub/a.dat", "-d", tmp_path)

    assert result.exit_code == 2
    assert "a.dat: expected a file name of its own" in result.stderr


def test_submit_tells_no_account_to_two_hosts(run, service, monkeypatch, tmp_path):
    monkeypatch.setenv("BIOMAJ_DOWNLOAD_CREDENTIALS", "me:secret")

    result = run("submit", "bank", "ftp://one.example/a", "ftp://two.example/b", "-d", tmp_path)

    assert result.exit_code == 2
    assert "expected addresses of one host" in result.stderr


def test_watch_says_when_somebody_else_has_closed_the_session(
    on_terminal, run, service, halting, tmp_path
):
    submitted = run("submit", "bank", halting, "-d", tmp_path / "home", "--detach", *ONCE)
    session = session_in(submitted.output)
    watching = subprocess.Popen([*COMMAND, "watch", "bank", session], stderr=subprocess.PIPE)
    time.sleep(3)

    run("cancel", "bank", session, "--yes")

    _, told = watching.communicate(timeout=30)
    assert watching.returncode == 1
    assert b"closed before all of it had ended" in told


def test_cancel_of_an_unknown_session_is_an_error(run, half_done, tmp_path):
    result = run("cancel", "bank", "0" * 36, "--yes", *data(tmp_path))

    assert result.exit_code == 2
    assert "expected an open session, got none" in result.stderr


def test_a_service_that_wants_a_token_is_not_a_file_that_failed(run, faulty_http, monkeypatch):
    faulty_http.add("/api/download/overview", Answer(status=401))
    monkeypatch.setenv("BIOMAJ_DOWNLOAD_URL", faulty_http.url)

    result = run("status")

    assert result.exit_code == 3
    assert "BIOMAJ_WEB_TOKEN" in result.stderr
