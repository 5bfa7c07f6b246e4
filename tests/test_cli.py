from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from biomaj_download import __version__
from biomaj_download.cli import main
from biomaj_download.message import downmessage_pb2 as wire
from tests.exposition import samples
from tests.servers.faulty_http import Answer
from tests.servers.process import poll
from tests.servers.systemd import Systemd

ONCE = ("-o", "stop_condition=stop_after_attempt(1)")


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def served(nginx) -> str:
    root = nginx.root / "cli"
    root.mkdir(exist_ok=True)
    (root / "a b.dat").write_bytes(b"a" * 1000)
    (root / "c.dat").write_bytes(b"c" * 10)
    return f"{nginx.url}/cli"


def test_get_brings_files_home_and_says_so(run, served, tmp_path):
    result = run("get", f"{served}/a%20b.dat", f"{served}/c.dat", "-d", tmp_path / "new")

    assert result.exit_code == 0, result.output
    assert "2 of 2 files here, 1.0 kB" in result.stdout
    assert (tmp_path / "new" / "a b.dat").read_bytes() == b"a" * 1000


def test_get_by_ftp_takes_the_account_from_the_environment(run, ftp_server, tmp_path, monkeypatch):
    (ftp_server.root / "cli.dat").write_bytes(b"ftp")
    monkeypatch.setenv("BIOMAJ_DOWNLOAD_CREDENTIALS", f"{ftp_server.user}:{ftp_server.password}")

    result = run("get", f"{ftp_server.url}/cli.dat", "-d", tmp_path, *ONCE)

    assert result.exit_code == 0, result.output
    assert (tmp_path / "cli.dat").read_bytes() == b"ftp"


def test_get_needs_no_password_of_the_service(run, served, tmp_path, monkeypatch):
    config = tmp_path / "config.yml"
    config.write_text("rabbitmq: {password_file: /not/there}")
    monkeypatch.setenv("BIOMAJ_CONFIG", str(config))

    result = run("get", f"{served}/c.dat", "-d", tmp_path)

    assert result.exit_code == 0, result.output


def test_get_says_which_files_failed_and_keeps_the_others(run, served, tmp_path):
    result = run("get", f"{served}/none.dat", f"{served}/c.dat", "-d", tmp_path, *ONCE)

    assert result.exit_code == 1
    assert "1 of 2 files here" in result.stdout
    assert "none.dat" in result.stderr
    assert "404" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["c.dat"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["gopher://h/x"], "expected an address"),
        (["http://h/dir/"], "directory"),
        (["http://h/x", "-o", "nonsense"], "NAME=VALUE"),
        (["http://h/x", "-o", "stop_condition=now()"], "stop_condition"),
        ([], "URL"),
    ],
)
def test_get_names_what_was_wrong_in_its_arguments(run, arguments, expected):
    result = run("get", *arguments)

    assert result.exit_code == 2
    assert expected in result.stderr


@pytest.mark.parametrize("url", ["http://user:secret@h/x", "gopher://user:secret@h/"])
def test_get_takes_no_password_from_its_words_and_shows_none(run, url, tmp_path):
    result = run("get", url, "-d", tmp_path, *ONCE)

    assert result.exit_code == 2
    assert "secret" not in result.output


def test_a_command_that_is_misspelt_is_guessed(run):
    result = run("snyc")

    assert result.exit_code == 2
    assert "No such command 'snyc'. Did you mean 'sync'?" in result.stderr


def test_command_tells_its_version(run):
    assert __version__ in run("--version").output


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with Systemd() as systemd:
        yield systemd


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start the service; return the process and the address of its routes."""
    started = []

    def serve(
        *words: str, under: Sequence[str] = (), **environment: str
    ) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [
                *(*under, sys.executable, "-m", "biomaj_download.cli"),
                *("serve", "--port=0", f"--data={tmp_path}", *words),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        started.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(",")
        return process, f"{url}/api/download"

    yield serve
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ask(api: str, served: str, local_dir: Path) -> tuple[str, int]:
    """Request a file in a new session; return the session and the answer's status."""
    session = requests.post(f"{api}/session/bank", timeout=10).json()["session"]
    answer = requests.post(
        f"{api}/operations",
        data=operation_for(served, session, local_dir).SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        timeout=10,
    )
    return session, answer.status_code


def test_serve_does_a_whole_session_and_stops_when_told(serve, served, tmp_path):
    process, api = serve()

    session, accepted = ask(api, served, tmp_path / "home")
    status = requests.get(
        f"{api}/status/download/bank/{session}",
        params={"after": 0, "wait_seconds": 30},
        timeout=40,
    ).json()
    for _ in poll(30):
        figures = samples(
            requests.get(f"{api.removesuffix('/api/download')}/metrics", timeout=10).text
        )
        if figures.get("biomaj_download_total"):
            break
    process.send_signal(signal.SIGTERM)

    assert accepted == 202
    assert status == {"progress": 1, "errors": -1, "open": True}
    assert (tmp_path / "home" / "c.dat").read_bytes() == b"c" * 10
    assert figures["biomaj_download_total"] == 1
    assert process.wait(timeout=60) == 0


def test_serve_tells_systemd_how_it_fares(serve, systemd):
    process, api = serve(**systemd.environment(watchdog_seconds=2))

    ready = systemd.wait_for("READY")
    for _ in range(2):
        systemd.wait_for("WATCHDOG")
    process.send_signal(signal.SIGINT)

    assert ready["STATUS"] == f"serving on {api.removesuffix('/api/download')}"
    systemd.wait_for("STOPPING")
    assert process.wait(timeout=60) == 0


def test_serve_ends_at_once_when_told_twice(serve, systemd, faulty_http, tmp_path):
    faulty_http.add("/cli/c.dat", Answer(body=b"c" * 1000, stall_after=500))
    process, api = serve(**systemd.environment())
    ask(api, f"{faulty_http.url}/cli", tmp_path / "home")
    for _ in poll(20):
        if faulty_http.requests:
            break

    process.send_signal(signal.SIGTERM)
    systemd.wait_for("STOPPING")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGTERM)

    assert process.wait(2) == 128 + signal.SIGTERM


def operation_for(served: str, session: str, local_dir: Path) -> wire.Operation:
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    download = operation.download
    download.bank, download.session, download.local_dir = "bank", session, str(local_dir)
    remote = download.remote_file
    remote.protocol, remote.remote_dir = wire.DownloadFile.HTTP, "/cli"
    remote.server = served.removeprefix("http://").removesuffix("/cli")
    remote.files.add(name="c.dat", root="/cli")
    return operation


def refusal_of_serve(folder: Path, *words: object) -> str:
    """Return what `serve` says that it cannot start with these words."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "biomaj_download.cli", "serve"),
            *("--data", str(folder), *map(str, words)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 3
    assert "Traceback" not in result.stderr
    return result.stderr


def test_serve_says_that_its_port_is_taken_and_what_helps(nginx, tmp_path):
    told = refusal_of_serve(tmp_path, "--port", nginx.port)

    assert f"port {nginx.port} of 127.0.0.1 is taken" in told
    assert "--port" in told


def test_serve_says_that_an_address_is_not_of_this_host(tmp_path):
    told = refusal_of_serve(tmp_path, "--host", "192.0.2.1", "--port", 0)

    assert "192.0.2.1 is no address of this host" in told
    assert "--host" in told


def test_serve_says_that_nobody_knows_a_name(run, tmp_path):
    result = run("serve", "--data", tmp_path, "--port", "0", "--host", "no..name")

    assert result.exit_code == 3
    assert "no..name: expected an address or a name of this host" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file")
def test_serve_listens_at_one_address_of_a_name_that_has_several(serve, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("::1 several\n127.0.0.1 several\n")
    mount = 'mount --bind "$0" /etc/hosts && exec "$@"'

    _, api = serve("--host=several", under=("unshare", "--mount", "sh", "-c", mount, str(hosts)))

    assert api.startswith("http://several:")
    answer = requests.get(api.replace("several", "127.0.0.1"), timeout=10)
    assert answer.json() == {"msg": "pong"}


def test_serve_says_why_it_cannot_start(run, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("")

    result = run("serve", "--data", taken / "data", "--port", "0")

    assert result.exit_code == 3
    assert "not started" in result.stderr


def test_serve_ends_as_all_commands_do_where_a_setting_is_wrong(run, monkeypatch, tmp_path):
    monkeypatch.setenv("BIOMAJ_WORKER_SLOTS", "many")

    result = run("serve", "--data", tmp_path / "data")

    assert result.exit_code == 2
    assert "BIOMAJ_WORKER_SLOTS" in result.stderr
