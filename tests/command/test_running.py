from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
import requests
import yaml

from tests.command.conftest import COMMAND
from tests.servers.process import free_port, poll
from tests.servers.rabbitmq import plain_channel


@pytest.fixture
def config(rabbitmq, redis_server, tmp_path) -> Path:
    """The configuration of a site, on a queue of its own."""
    path = tmp_path / "site.yml"
    sections = {
        "rabbitmq": {**rabbitmq.section, "queue": f"command-{tmp_path.name}"},
        "redis": {"host": redis_server.host, "port": redis_server.port},
        "web": {"port": free_port(), "hostname": "127.0.0.1"},
        "worker": {"processes": 1},
        "storage": {"state_dir": str(tmp_path / "state")},
    }
    path.write_text(yaml.safe_dump(sections))
    return path


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command; its log is read from `stderr`."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "BIOMAJ_CONFIG"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def test_web_serves_and_stops_when_told(start, config):
    port = yaml.safe_load(config.read_text())["web"]["port"]
    process = start("web", "--config", config)

    for _ in poll(60):
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5)
            break
        except requests.ConnectionError:
            assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGTERM)

    assert answer.status_code == 200
    assert process.wait(timeout=60) == 0


def is_consumed(rabbitmq, queue: str) -> bool:
    with plain_channel(rabbitmq) as channel:
        try:
            return bool(channel.queue_declare(queue, passive=True).method.consumer_count)
        except pika.exceptions.ChannelClosedByBroker:  # there is no such queue yet
            return False


def test_consumer_consumes_and_stops_when_told(start, config, rabbitmq):
    process = start("consumer", "--config", config)
    queue = yaml.safe_load(config.read_text())["rabbitmq"]["queue"]

    for _ in poll(60):
        if is_consumed(rabbitmq, queue):
            break
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("command", ["consumer", "web"])
def test_a_wrong_configuration_is_told_in_a_line(run, tmp_path, monkeypatch, command):
    monkeypatch.setenv("BIOMAJ_WORKER_SLOTS", "many")

    result = run(command)

    assert result.exit_code == 2
    assert result.stderr.startswith("failed: wrong configuration: BIOMAJ_WORKER_SLOTS")
