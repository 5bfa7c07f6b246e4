from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from biomaj_download.discovery import register_consumer, register_web
from biomaj_download.settings import ConsulSettings, Settings, WebSettings
from tests.servers.process import free_port


class Agent:
    """Consul's agent API, as far as a registration needs it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                agent.calls.append((self.path, json.loads(body) if body else {}))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent()
    yield agent
    agent.close()


def settings_for(port: int) -> Settings:
    return Settings(
        consul=ConsulSettings(host="127.0.0.1", port=port, id="node1"),
        web=WebSettings(hostname="127.0.0.1", port=free_port()),
    )


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # python-consul leaves its sessions open
def test_web_is_registered_and_deregistered(agent):
    settings = settings_for(agent.port)

    deregister = register_web(settings)

    path, body = agent.calls[0]
    assert path.startswith("/v1/agent/service/register")
    assert (body["name"], body["id"]) == ("biomaj-download", "node1")
    assert (body["address"], body["port"]) == ("127.0.0.1", settings.web.port)
    assert "traefik-int.frontend.rule=PathPrefix:/api/download" in body["tags"]
    assert body["check"]["http"] == f"http://127.0.0.1:{settings.web.port}/api/download"
    assert body["check"]["interval"] == "20s"

    assert deregister is not None
    deregister()
    assert agent.calls[-1][0].startswith("/v1/agent/service/deregister/node1")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # python-consul leaves its sessions open
def test_consumer_is_registered_under_an_id_of_its_own_and_answers_its_check(agent):
    settings = settings_for(agent.port)

    stop = register_consumer(settings)

    _, body = agent.calls[0]
    assert (body["name"], body["id"]) == ("biomaj-download-message", "node1-message")
    answer = requests.get(body["check"]["http"], timeout=10)
    assert answer.json() == {"msg": "pong"}
    assert requests.get(f"{body['check']['http']}/none", timeout=10).status_code == 404

    assert stop is not None
    stop()
    assert agent.calls[-1][0].startswith("/v1/agent/service/deregister/node1-message")
    with pytest.raises(requests.ConnectionError):
        requests.get(body["check"]["http"], timeout=10)


def test_nothing_is_registered_without_consul():
    assert register_web(Settings()) is None
    assert register_consumer(Settings()) is None


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # python-consul leaves its sessions open
def test_service_runs_on_when_consul_is_away(caplog):
    settings = settings_for(1)

    assert register_web(settings) is None
    stop = register_consumer(settings)

    assert "not registered" in caplog.text
    assert stop is not None
    stop()
