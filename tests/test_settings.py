from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from biomaj_download.errors import ConfigError
from biomaj_download.settings import Settings, environment_names, load_settings, rabbitmq_tls

#: What BioMAJ's own configuration for Kubernetes has in one file for all services.
SHARED_FILE = """
mongo: {url: 'mongodb://biomaj-mongo:27017', db: microbiomaj}
ldap: {host: null, port: 389}
redis: {host: biomaj-redis, port: 6379, db: 0, prefix: biomajdaemon}
consul: {host: biomaj-consul, id: null}
rabbitmq: {host: biomaj-rabbitmq, port: 5672, user: biomaj, password: secret, virtual_host: /}
web:
  debug: true
  port: 5000
  local_endpoint: http://biomaj-internal-proxy
  local_endpoint_user: http://biomaj-user-web:5000
  local_endpoint_download: http://biomaj-download-web:5000
  local_endpoint_process: http://biomaj-process-web:5000
  local_endpoint_release: http://biomaj-release-web:5000
  local_endpoint_daemon: http://biomaj-daemon-web:5000
tls: {key: null, cert: null}
ftp: {listen: 0.0.0.0, port: 21}
log_config: {version: 1, disable_existing_loggers: false}
"""


@pytest.fixture
def load(tmp_path):
    """Load a file with this text in this environment."""

    def load(text="", **environment):
        path = tmp_path / "biomaj.yml"
        path.write_text(text)
        return load_settings(path, environment)

    return load


def test_a_file_for_all_services_of_a_site_is_read(load):
    settings = load(SHARED_FILE)

    assert settings.redis.prefix == "biomajdaemon"
    assert settings.rabbitmq.password.get_secret_value() == "secret"
    assert settings.web.local_endpoint_download == "http://biomaj-download-web:5000"
    assert settings.consul.id is None
    assert settings.tls.key is None
    assert settings.log_config == {"version": 1, "disable_existing_loggers": False}


def test_without_a_file_the_defaults_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert load_settings(environment={}) == Settings()


def test_config_yml_in_the_working_directory_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yml").write_text("redis: {port: 7000}")

    assert load_settings(environment={}).redis.port == 7000


def test_biomaj_config_names_the_file(tmp_path):
    path = tmp_path / "site.yml"
    path.write_text("redis: {port: 7000}")

    assert load_settings(environment={"BIOMAJ_CONFIG": str(path)}).redis.port == 7000


@pytest.mark.parametrize("text", ["", "redis:\n", "redis: {host: null, port: ''}\nprometheus:\n"])
def test_empty_values_count_as_unset(load, text):
    assert load(text) == Settings()


@pytest.mark.parametrize("name", sorted(environment_names()))
def test_every_value_can_be_set_by_the_environment(load, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("7").write_text("{}")  # for what names a secret's file
    *sections, key = environment_names()[name]
    examples = {
        "debug": ("true", True),
        "endpoint": ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        "fsync": ("false", False),
        "host_connections": ("{ftp.example.org: 1}", {"ftp.example.org": 1}),
        "host_names": ("[a.example.org]", ("a.example.org",)),
        "listen": ("[::1]:9108", "[::1]:9108"),
        "one_core_each": ("false", False),
        "log_config": ("{version: 1}", {"version": 1}),
        "prometheus": ("false", False),
        "allowed_networks": ("[10.0.0.0/8]", ("10.0.0.0/8",)),
        "denied_networks": ("[private, '::1/128']", ("private", "::1/128")),
        "tls": ("true", True),
        "roots": ("[/db]", (Path("/db"),)),
        "token_for_old_routes": ("true", True),
        "umask": ("027", 0o027),
        "proxies": ("{ftp.example.org: direct}", {"ftp.example.org": "direct"}),
    }
    text, expected = examples.get(key, ("7", "7"))

    value = load(**{name: text})
    for part in (*sections, key):
        value = getattr(value, part)

    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    assert value == expected if key in examples else str(value).removesuffix(".0") == expected


@pytest.mark.parametrize(
    ("name", "section", "key"),
    [
        ("RABBITMQ_VHOST", "rabbitmq", "virtual_host"),
        ("REDIS_PREFIX", "redis", "prefix"),
        ("CONSUL_ID", "consul", "id"),
        ("BIOMAJ_HOSTNAME", "web", "hostname"),
    ],
)
def test_the_environment_wins_over_the_file(load, name, section, key):
    settings = load(f"{section}: {{{key}: file}}", **{name: "environment"})

    assert getattr(getattr(settings, section), key) == "environment"


def test_an_empty_environment_value_leaves_the_file_its_say(load):
    assert load("redis: {host: file}", REDIS_HOST="").redis.host == "file"


@pytest.mark.parametrize("name", ["REDIS_PORT", "BIOMAJ_REDIS_PORT"])
def test_a_service_link_of_kubernetes_is_not_taken_for_a_port(load, name):
    assert load("redis: {port: 7000}", **{name: "tcp://10.0.0.7:6379"}).redis.port == 7000


def test_numbers_are_fine_where_text_is_expected(load):
    settings = load("rabbitmq: {user: 7, password: 12345}")

    assert settings.rabbitmq.user == "7"
    assert settings.rabbitmq.password.get_secret_value() == "12345"


def test_a_password_that_looks_like_yaml_stays_as_it_is(load):
    settings = load(RABBITMQ_PASSWORD="{odd: [secret")

    assert settings.rabbitmq.password.get_secret_value() == "{odd: [secret"


def test_a_wrong_proxy_is_named_without_its_password(load):
    with pytest.raises(ConfigError, match=r"transfer\.proxies\.\*") as wrong:
        load("transfer: {proxies: {'*': 'gopher://me:secret@proxy'}}")

    assert "secret" not in str(wrong.value)


def test_a_wrong_key_of_ours_is_named_with_the_right_ones(load):
    with pytest.raises(
        ConfigError, match=r"rabbitmq\.hots: no such key; expected one of: .*, host, "
    ):
        load("rabbitmq: {hots: localhost}")


def test_all_wrong_values_are_named_at_once(load):
    with pytest.raises(ConfigError) as wrong:
        load("redis: {port: many}\nworker: {slots: 0}")

    assert "redis.port" in str(wrong.value)
    assert "'many'" in str(wrong.value)
    assert "worker.slots" in str(wrong.value)


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_a_port_that_cannot_be_is_refused(load, port):
    with pytest.raises(ConfigError, match=r"web\.port"):
        load(f"web: {{port: {port}}}")


def test_a_wrong_value_from_the_environment_is_named_by_its_name_there(load):
    with pytest.raises(ConfigError, match=r"REDIS_PORT \(redis\.port\): .* got 'many'"):
        load(REDIS_PORT="many")


def test_a_mapping_in_the_environment_that_is_no_yaml_is_named(load):
    with pytest.raises(ConfigError, match="BIOMAJ_TRANSFER_HOST_CONNECTIONS"):
        load(BIOMAJ_TRANSFER_HOST_CONNECTIONS="{a: [")


@pytest.mark.parametrize("text", ["redis: 5", "redis: [a]", "5", "[a]", "a: [", "redis: {1: 2}"])
def test_a_file_of_another_shape_is_refused(load, text):
    with pytest.raises(ConfigError):
        load(text, REDIS_HOST="localhost")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yml"):
        load_settings(tmp_path / "gone.yml", {})


@pytest.mark.parametrize(
    "text",
    [
        "redis: {password: [hidden]}",
        "redis: {pass: hidden}",
        "rabbitmq: {user: {password: hidden}}",
        "rabbitmq: [{password: hidden}]",
    ],
)
def test_an_error_never_shows_a_password(load, text):
    with pytest.raises(ConfigError) as wrong:
        load(text)

    assert "hidden" not in str(wrong.value)


def test_passwords_do_not_show_when_settings_are_printed(load):
    assert "hidden" not in repr(load("redis: {password: hidden}"))


def test_settings_do_not_change(load):
    with pytest.raises(ValidationError, match="frozen"):
        load().redis.port = 1


def test_the_host_is_known_by_its_setting_then_by_hostname_then_by_its_own_name(load):
    assert load("web: {hostname: file}", HOSTNAME="shell").hostname() == "file"
    assert load(HOSTNAME="shell").hostname() == "shell"
    assert load().hostname() == socket.gethostname()


def test_the_clients_side_minds_nothing_but_what_it_reads(tmp_path):
    """BioMAJ's other services have a file of the same name."""
    path = tmp_path / "config.yml"
    path.write_text(
        "rabbitmq: {host: mq, ca_file: ca.pem}\n"
        "redis: {password_file: not-there}\nweb: {of_the_daemon: 1}\nworker: {slots: many}\n"
    )

    told = rabbitmq_tls({"BIOMAJ_CONFIG": str(path)})

    assert told["ca_file"] == Path("ca.pem")


def test_the_clients_side_takes_tls_from_the_brokers_url(tmp_path):
    (tmp_path / "url").write_text("amqps://me:secret@mq/biomaj")
    path = tmp_path / "config.yml"
    path.write_text(f"broker: {{url_file: {tmp_path / 'url'}}}\n")

    assert rabbitmq_tls({"BIOMAJ_CONFIG": str(path)})["tls"] is True
