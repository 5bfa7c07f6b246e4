from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from biomaj_download import discovery
from biomaj_download.discovery import register_consumer, register_web
from biomaj_download.settings import ConsulSettings, Settings, TlsSettings, WebSettings
from tests.servers.consul_agent import ConsulAgent
from tests.servers.process import free_port

TLS = TlsSettings(cert=Path("cert.pem"), key=Path("key.pem"))


@pytest.fixture
def agent() -> Iterator[ConsulAgent]:
    with ConsulAgent() as agent:
        yield agent


def settings_for(
    agent_port: int, *, service_id: str | None = "node1", **others: object
) -> Settings:
    return Settings(
        consul=ConsulSettings(host="127.0.0.1", port=agent_port, id=service_id),
        web=WebSettings(hostname="127.0.0.1", port=free_port()),
        **others,  # type: ignore[arg-type]
    )


def test_web_is_registered_and_deregistered(agent):
    settings = settings_for(agent.port)

    deregister = register_web(settings)

    assert agent.told == [
        (
            "/v1/agent/service/register",
            {
                "name": "biomaj-download",
                "id": "node1",
                "address": "127.0.0.1",
                "port": settings.web.port,
                "tags": [
                    "biomaj",
                    "api",
                    "traefik-int.backend=biomaj-download",
                    "traefik-int.frontend.rule=PathPrefix:/api/download",
                    "traefik-int.enable=true",
                ],
                "check": {
                    "http": f"http://127.0.0.1:{settings.web.port}/api/download",
                    "interval": "20s",
                },
            },
        )
    ]
    assert deregister is not None
    deregister()
    assert agent.told[1:] == [("/v1/agent/service/deregister/node1", {})]


def test_consumer_is_registered_under_an_id_of_its_own_and_answers_its_check(agent):
    settings = settings_for(agent.port)

    stop = register_consumer(settings)

    ((_, body),) = agent.told
    assert (body["name"], body["id"]) == ("biomaj-download-message", "node1-message")
    assert body["tags"] == ["biomaj"]
    check_url = body["check"]["http"]
    assert check_url.endswith("/api/download-message")
    assert requests.get(check_url, timeout=10).json() == {"msg": "pong"}
    assert requests.get(f"{check_url}/none", timeout=10).status_code == 404
    assert stop is not None
    stop()
    assert agent.told[1:] == [("/v1/agent/service/deregister/node1-message", {})]
    with pytest.raises(requests.ConnectionError):
        requests.get(check_url, timeout=10)


def test_services_without_an_id_are_told_apart(agent):
    settings = settings_for(agent.port, service_id=None)

    register_web(settings)
    stop = register_consumer(settings)

    assert [body["id"] for _, body in agent.told] == [
        "biomaj-download-127.0.0.1",
        "biomaj-download-message-127.0.0.1",
    ]
    stop()


def test_only_the_check_of_the_web_interface_speaks_tls(agent):
    settings = settings_for(agent.port, tls=TLS)

    register_web(settings)
    stop = register_consumer(settings)

    web_url, consumer_url = (body["check"]["http"] for _, body in agent.told)
    assert web_url.startswith("https://")
    assert requests.get(consumer_url, timeout=10).json() == {"msg": "pong"}
    stop()


def test_nothing_is_registered_without_consul():
    assert register_web(Settings()) is None
    assert register_consumer(Settings()) is None


def test_services_run_on_when_consul_is_away(caplog):
    settings = settings_for(1)

    assert register_web(settings) is None
    stop = register_consumer(settings)

    assert "not registered service=biomaj-download " in caplog.text
    assert "not registered service=biomaj-download-message " in caplog.text
    stop()


def test_services_run_on_when_consul_refuses(caplog):
    with ConsulAgent(status=403) as agent:
        assert register_web(settings_for(agent.port)) is None

    assert "not registered service=biomaj-download " in caplog.text


def test_services_run_on_when_consul_does_not_answer(monkeypatch, caplog):
    monkeypatch.setattr(discovery, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert register_web(settings_for(mute.getsockname()[1])) is None

    assert "timed out" in caplog.text


def test_consumer_runs_on_when_a_web_interface_has_its_port(agent, caplog):
    settings = settings_for(agent.port)
    with socket.create_server(("", settings.web.port)):
        assert register_consumer(settings) is None

    assert f"port={settings.web.port}" in caplog.text
    assert agent.told == []


def test_service_ends_well_when_consul_is_gone_by_then(caplog):
    with ConsulAgent() as agent:
        deregister = register_web(settings_for(agent.port))

    deregister()

    assert "not deregistered service=node1" in caplog.text
