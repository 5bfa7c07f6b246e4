from __future__ import annotations

import logging
import os

import pytest

from biomaj_download.errors import ConfigError
from biomaj_download.settings import load_settings, secret_sources


@pytest.fixture
def write(tmp_path):
    """Write a file that its owner alone reads; return its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    return write


def load(write, text, **environment):
    return load_settings(write("config.yml", text.encode()), environment)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b"s3cret", "s3cret"),
        (b" s3 cret \n", " s3 cret "),
        ("cl\u00e9\n".encode(), "cl\u00e9"),
    ],
)
def test_a_password_is_read_from_its_file_without_the_lines_end(write, content, secret):
    path = write("rabbit", content)

    settings = load(write, f"rabbitmq: {{user: biomaj, password_file: {path}}}")

    assert settings.rabbitmq.password.get_secret_value() == secret


def test_only_the_secrets_that_are_wanted_are_read(write, tmp_path):
    proxies = write("proxies", b"{ftp.example.org: direct}")
    text = f"""
        rabbitmq: {{password_file: {tmp_path}/not-there}}
        transfer: {{proxies_file: {proxies}}}
    """
    path = write("config.yml", text.encode())

    settings = load_settings(path, {}, secrets_of=["transfer"])

    assert settings.transfer.proxies == {"ftp.example.org": "direct"}
    with pytest.raises(ConfigError, match=r"rabbitmq\.password_file"):
        load_settings(path, {})


def test_a_relative_name_is_a_credential_of_systemd(write, tmp_path):
    write("redis", b"s3cret\n")

    settings = load(write, "redis: {password_file: redis}", CREDENTIALS_DIRECTORY=str(tmp_path))

    assert settings.redis.password.get_secret_value() == "s3cret"


def test_without_credentials_a_relative_name_is_of_the_working_directory(
    write, tmp_path, monkeypatch
):
    write("redis", b"s3cret\n")
    monkeypatch.chdir(tmp_path)

    settings = load(write, "redis: {password_file: redis}")

    assert settings.redis.password.get_secret_value() == "s3cret"


def test_proxies_come_from_a_file_with_their_passwords(write):
    path = write("proxies", b'"*": http://user:s3cret@proxy:3128\n')

    settings = load(write, f"transfer: {{proxies_file: {path}}}")

    assert settings.transfer.proxies == {"*": "http://user:s3cret@proxy:3128"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "an empty one"),
        (b"\n", "an empty one"),
        (b"\xff\xfes3cret", "no UTF-8 text"),
        (b"x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_a_file_without_a_secret_is_told(write, content, why):
    path = write("rabbit", content)

    with pytest.raises(ConfigError, match=rf"rabbitmq\.password_file: {path}: .*{why}") as error:
        load(write, f"rabbitmq: {{password_file: {path}}}")

    assert "s3cret" not in str(error.value)


def test_a_file_that_is_missing_or_none_is_told(write, tmp_path):
    os.mkfifo(tmp_path / "fifo")

    for name, why in (("absent", "No such file"), ("fifo", "no regular file")):
        with pytest.raises(ConfigError, match=why):
            load(write, f"redis: {{password_file: {tmp_path / name}}}")


def test_a_file_that_all_may_read_is_warned_of(write, caplog):
    path = write("rabbit", b"s3cret\n")
    path.chmod(0o644)

    with caplog.at_level(logging.WARNING):
        load(write, f"rabbitmq: {{password_file: {path}}}")

    assert str(path) in caplog.text
    assert "s3cret" not in caplog.text


def test_a_secret_in_the_settings_and_in_a_file_is_one_too_many(write):
    path = write("rabbit", b"s3cret\n")

    with pytest.raises(ConfigError, match="rabbitmq: expected password or password_file, got both"):
        load(write, f"rabbitmq: {{password: other, password_file: {path}}}")


def test_the_environment_wins_by_either_name(write):
    path = write("rabbit", b"from-file\n")

    by_file = load(write, "rabbitmq: {password: x}", BIOMAJ_RABBITMQ_PASSWORD_FILE=str(path))
    by_value = load(write, f"rabbitmq: {{password_file: {path}}}", RABBITMQ_PASSWORD="direct")

    assert by_file.rabbitmq.password.get_secret_value() == "from-file"
    assert by_value.rabbitmq.password.get_secret_value() == "direct"


def test_where_secrets_come_from_is_told_without_them(write, tmp_path):
    config = write("config.yml", b"rabbitmq: {password: one}\nredis: {password_file: redis}\n")
    write("redis", b"two\n")
    environment = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "BIOMAJ_TRANSFER_PROXIES": '{"*": "http://u:three@proxy"}',
    }

    assert secret_sources(config, environment) == {
        "rabbitmq.password": str(config),
        "redis.password": str(tmp_path / "redis"),
        "transfer.proxies": "BIOMAJ_TRANSFER_PROXIES",
    }
