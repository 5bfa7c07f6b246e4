from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.servers.faulty_http import Answer
from tests.servers.process import free_port


@pytest.fixture
def site(rabbitmq, redis_server, tmp_path, monkeypatch) -> Iterator[None]:
    """A configuration that names real servers."""
    sections = {
        "rabbitmq": rabbitmq.section,
        "redis": {"host": redis_server.host, "port": redis_server.port},
        "storage": {"state_dir": str(tmp_path / "state")},
    }
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(sections))
    monkeypatch.setenv("BIOMAJ_CONFIG", str(path))


def lines(result) -> dict[str, tuple[bool, str]]:
    """Return what was found of each thing."""
    found = json.loads(result.stdout)
    return {entry["name"]: (entry["is_ok"], entry["text"]) for entry in found}


def test_check_finds_a_site_in_order(run, site, tmp_path):
    url = f"http://127.0.0.1:{free_port()}"

    result = run("check", "-d", tmp_path / "new/db", "--url", url, "--json")

    found = lines(result)
    wrong = {name for name, (is_ok, _) in found.items() if not is_ok}
    assert wrong == {"web interface"}
    assert result.exit_code == 3
    assert found["configuration"][1].endswith("config.yml")
    assert "stay free" in found[f"disk {tmp_path}/new/db"][1]
    assert "sftp" in found["protocols"][1]
    assert "dead letters" in found["broker"][1]
    assert not (tmp_path / "new").exists()


def test_check_says_what_to_do(run, monkeypatch):
    port = str(free_port())
    for variable in ("RABBITMQ_PORT", "REDIS_PORT"):
        monkeypatch.setenv(variable, port)

    result = run("check", "--url", f"http://127.0.0.1:{port}")

    assert result.exit_code == 3
    remedies = [line for line in result.stdout.splitlines() if line.startswith("NOT OK")]
    assert [line.split(":")[0].split("  ")[1] for line in remedies] == [
        "broker",
        "store",
        "web interface",
    ]
    assert all("; start " in line for line in remedies)


def test_check_of_what_is_local_asks_no_server(run):
    result = run("check", "--local")

    assert result.exit_code == 0, result.output
    assert "broker" not in result.stdout
    assert "no file: defaults and the environment" in result.stdout


def test_check_shows_a_wrong_configuration_and_goes_no_further(run, monkeypatch):
    monkeypatch.setenv("BIOMAJ_WORKER_SLOTS", "many")

    result = run("check")

    assert result.exit_code == 2
    assert result.stdout.startswith("NOT OK  configuration: ")
    assert "BIOMAJ_WORKER_SLOTS" in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_check_shows_no_account_of_the_services_address(run, faulty_http):
    faulty_http.add("/readyz", Answer(body=b"{}"))

    result = run("check", "--url", f"http://me:planted@127.0.0.1:{faulty_http.port}")

    assert "is ready" in result.output
    assert "planted" not in result.output


def test_check_shows_where_passwords_come_from_but_none_of_them(run, tmp_path, monkeypatch):
    file = tmp_path / "password"
    file.write_text("planted-one\n")
    file.chmod(0o644)
    monkeypatch.setenv("BIOMAJ_REDIS_PASSWORD_FILE", str(file))
    monkeypatch.setenv("RABBITMQ_PASSWORD", "planted-two")

    result = run("check", "--local")

    assert "rabbitmq.password from RABBITMQ_PASSWORD" in result.stdout
    assert f"redis.password from {file}, which all may read" in result.stdout
    assert "planted" not in result.output


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("machine h login u password secret extra-secret", 0o644, "chmod 600 ~/.netrc"),
        ("# für alle\nmachine h login u password secret", 0o600, "~/.netrc: expected UTF-8"),
    ],
    ids=["open to others", "Latin-1"],
)
def test_check_shows_what_is_wrong_with_a_netrc_but_not_what_is_in_it(
    run, tmp_path, text, mode, told
):
    netrc = tmp_path / "home/.netrc"
    netrc.write_bytes(text.encode("latin-1"))
    netrc.chmod(mode)

    checked = run("check", "--local")
    got = run("get", "http://127.0.0.1:9/x")

    assert (checked.exit_code, got.exit_code) == (2, 2)
    assert told in checked.stdout
    assert told in got.stderr
    assert "secret" not in checked.output + got.output


def test_check_names_a_disk_that_is_full(run, small_disk, monkeypatch):
    (small_disk / "fill").write_bytes(b"x" * 6 * 1024 * 1024)

    result = run("check", "--local", "-d", small_disk)

    assert result.exit_code == 1
    assert "make room, or lower storage.reserve_bytes" in result.stdout


def test_check_of_an_embedded_service_that_never_ran_makes_nothing(run, tmp_path):
    result = run("check", "--data", tmp_path / "data", "--json")

    found = lines(result)
    assert found["broker"][0]
    assert found["store"][0]
    assert "made when the service starts" in found["store"][1]
    assert not (tmp_path / "data").exists()
