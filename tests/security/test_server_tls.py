"""RabbitMQ and Redis by TLS, both of which want a certificate of ours."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing, suppress

import pytest
import trustme

from biomaj_download.broker.amqp import open_connection
from biomaj_download.broker.opening import open_broker, open_dead_letters
from biomaj_download.downloadclient import DownloadClient
from biomaj_download.errors import BrokerError, ConfigError, StoreError
from biomaj_download.settings import load_settings
from biomaj_download.store.opening import open_activity, open_store

NAMES = {
    "broker": ("rabbitmq", "broker", "amqps", BrokerError),
    "store": ("redis", "store", "rediss", StoreError),
}


@pytest.fixture(scope="module")
def ours(issue):
    """The certificate that we show."""
    return issue("client.example.org")


@pytest.fixture
def settings_for(rabbitmq, redis_server, ours, monkeypatch, tmp_path):
    """Return settings that name the TLS port of a server; changed by keys of its section."""
    monkeypatch.chdir(tmp_path)

    def settings_for(which, *, port=None, host="127.0.0.1", **changes):
        section, url_section, scheme, _ = NAMES[which]
        server = {"broker": rabbitmq, "store": redis_server}[which]
        account = "biomaj:rabbit-secret@" if which == "broker" else ""
        values = {
            "ca_file": ours.ca_file,
            "cert_file": ours.cert_file,
            "key_file": ours.key_file,
            **changes,
        }
        environment = {
            f"BIOMAJ_{section}_{key}".upper(): str(value)
            for key, value in values.items()
            if value is not None
        }
        url = f"{scheme}://{account}{host}:{port or server.tls_port}"
        return load_settings(environment={**environment, f"BIOMAJ_{url_section}_URL".upper(): url})

    return settings_for


def ask(which, settings):
    """Ask the server something, as web, consumer and commands do."""
    if which == "broker":
        open_broker(settings).close()
        open_dead_letters(settings).count()
        return
    with closing(open_store(settings)) as store, closing(open_activity(settings)):
        store.ping()


@pytest.fixture(params=sorted(NAMES))
def which(request):
    return request.param


def refusal(which, settings):
    """Return the text of the error that the server's answer or our own look ends in."""
    with pytest.raises(NAMES[which][3]) as error:
        ask(which, settings)
    assert "rabbit-secret" not in str(error.value)
    return str(error.value)


def test_the_right_certificate_works(which, settings_for):
    ask(which, settings_for(which))


def test_a_name_of_the_certificate_may_be_given(which, settings_for):
    ask(which, settings_for(which, server_name="localhost"))


def test_a_key_with_a_pass_phrase_is_opened(which, settings_for, ours, tmp_path):
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - trustme's own

    key = serialization.load_pem_private_key(ours.key_file.read_bytes(), None)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass-phrase"),
        )
    )
    (tmp_path / "phrase").write_text("pass-phrase\n")

    ask(which, settings_for(which, key_file="key.pem", key_password_file="phrase"))
    with pytest.raises(ConfigError, match="which key_password opens"):
        ask(which, settings_for(which, key_file="key.pem"))


def test_another_authority_is_not_trusted(which, settings_for, issue):
    other = issue("127.0.0.1", by=trustme.CA())

    assert "certificate verify failed" in refusal(which, settings_for(which, ca_file=other.ca_file))


def test_the_hosts_authorities_are_trusted_where_none_is_given(which, settings_for):
    assert "certificate verify failed" in refusal(which, settings_for(which, ca_file=None))


def test_another_name_is_not_trusted(which, settings_for):
    text = refusal(which, settings_for(which, server_name="mq.example.org"))

    assert "certificate is not valid for 'mq.example.org'" in text


def test_without_a_certificate_of_ours_we_are_told_so(which, settings_for):
    text = refusal(which, settings_for(which, cert_file=None, key_file=None))

    assert "(TLS, without a cert_file)" in text


def test_a_certificate_of_others_is_refused(which, settings_for, issue):
    other = issue("127.0.0.1", by=trustme.CA())
    settings = settings_for(which, cert_file=other.cert_file, key_file=other.key_file)

    assert f"(TLS, {other.cert_file})" in refusal(which, settings)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_tls_1_1_is_not_spoken_with_a_server_of_ours(which, settings_for, ours):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.cert_file, ours.key_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with closing(connection), suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = threading.Thread(target=serve)
        server.start()
        text = refusal(which, settings_for(which, port=listener.getsockname()[1]))
        listener.shutdown(socket.SHUT_RDWR)
        server.join()

    assert "protocol version" in text.lower() or "unsupported protocol" in text.lower()


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_a_wrong_file_is_named_at_the_start(which, settings_for, tmp_path, key):
    (tmp_path / "wrong.pem").write_text("no certificate")

    for name in ("wrong.pem", "absent.pem"):
        with pytest.raises(ConfigError, match=name):
            open_broker(settings_for(which, **{key: name})) if which == "broker" else open_store(
                settings_for(which, **{key: name})
            )


def test_biomajs_own_side_speaks_tls_as_its_environment_says(rabbitmq, ours, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for key in ("ca_file", "cert_file", "key_file"):
        monkeypatch.setenv(f"BIOMAJ_RABBITMQ_{key}".upper(), str(getattr(ours, key)))
    monkeypatch.setenv("BIOMAJ_RABBITMQ_TLS", "true")
    account = {"rabbitmq_user": "biomaj", "rabbitmq_password": "rabbit-secret"}

    client = DownloadClient("127.0.0.1", rabbitmq.tls_port, **account)

    settings = client._downloads._broker._settings
    assert settings.tls
    open_connection(settings, purpose="test").close()
    client.close()


@pytest.mark.parametrize(
    ("variable", "url", "section", "expected"),
    [
        ("BIOMAJ_BROKER_URL", "amqps://me:p%40ss@mq/v%2Fh", "rabbitmq", ("mq", 5671, "me", "p@ss")),
        ("BIOMAJ_BROKER_URL", "amqp://mq", "rabbitmq", ("mq", 5672, None, None)),
        ("BIOMAJ_STORE_URL", "rediss://:p%3Ass@db:7/3", "redis", ("db", 7, None, "p:ss")),
    ],
)
def test_a_url_says_where_a_server_is(variable, url, section, expected, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    settings = load_settings(environment={variable: url})

    server = getattr(settings, section)
    password = server.password and server.password.get_secret_value()
    assert (server.host, server.port, server.user, password) == expected
    assert server.tls is url.startswith(("amqps", "rediss"))
    assert settings.broker.url is settings.store.url is None


@pytest.mark.parametrize(
    "url",
    ["amqps://me:s3cret@", "amqps://me:s3cret@h:many", "amqps://me:s3c?ret@h", "amqp://h/#s3cret"],
)
def test_a_wrong_url_is_told_without_its_password(url, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=r"broker\.url: expected") as error:
        load_settings(environment={"BIOMAJ_BROKER_URL": url})

    assert "s3c" not in str(error.value)
