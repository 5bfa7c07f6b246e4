from __future__ import annotations

import os
import runpy
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from biomaj_download.biomaj_download_web import LONG_POLLS, STREAMS
from biomaj_download.settings import RedisSettings
from biomaj_download.store.base import Message, Outcome
from biomaj_download.store.redis import RedisStore
from tests.exposition import samples
from tests.servers.consul_agent import ConsulAgent
from tests.servers.gunicorn import CONFIGURATION, WORKERS, Gunicorn
from tests.servers.process import poll
from tests.servers.systemd import Systemd
from tests.servers.tls import issue_certificate

WATCHDOG_SECONDS = 2


@pytest.fixture
def redis_section(redis_server) -> dict[str, Any]:
    return {"host": redis_server.host, "port": redis_server.port, "prefix": "web"}


def count_a_download(gunicorn: Gunicorn) -> None:
    entry = {"bank": "bank", "host": "h", "size": 5, "download_time": 1}
    assert gunicorn.ask("POST", "/api/download/metrics", json=[entry]).json() == {"msg": "OK"}


def count_in_all_workers(gunicorn: Gunicorn, folder: Path) -> int:
    """Count downloads until each worker has had some, and return how many."""
    number = 0
    with ThreadPoolExecutor(8) as pool:
        for _ in poll(30):
            list(pool.map(count_a_download, [gunicorn] * 8))
            number += 8
            if len(list(folder.glob("counter_*.db"))) == WORKERS:
                return number
    raise AssertionError("one worker had all requests")


def counted(gunicorn: Gunicorn) -> set[float]:
    """Return what several scrapes say was downloaded: of all workers, it is one number."""
    return {
        samples(gunicorn.ask("GET", "/metrics").text)["biomaj_download_total"] for _ in range(10)
    }


def test_systemd_hears_that_the_web_interface_lives_until_all_its_processes_hang(redis_section):
    with Systemd() as systemd:
        environment = systemd.environment(watchdog_seconds=WATCHDOG_SECONDS)
        with Gunicorn({"redis": redis_section}, environment=environment) as gunicorn:
            systemd.wait_for("READY")
            systemd.wait_for("WATCHDOG")
            workers = gunicorn.workers()
            assert len(workers) == WORKERS
            for worker in workers:
                os.kill(worker, signal.SIGSTOP)
            systemd.drop_all()

            assert systemd.hears_nothing_of("WATCHDOG", WATCHDOG_SECONDS)

            for worker in workers:
                os.kill(worker, signal.SIGCONT)
            systemd.wait_for("WATCHDOG")


def test_gunicorn_adds_up_its_workers_but_no_earlier_run(redis_section, tmp_path):
    folder = tmp_path / "metrics"
    environment = {"prometheus_multiproc_dir": str(folder), "PROMETHEUS_MULTIPROC_DIR": ""}
    with Gunicorn({"redis": redis_section}, environment=environment) as gunicorn:
        number = count_in_all_workers(gunicorn, folder)
        assert counted(gunicorn) == {number}

        gunicorn.stop()
        gunicorn.start()
        count_a_download(gunicorn)

        assert counted(gunicorn) == {1}


def test_gunicorn_answers_long_polls_across_processes(redis_section):
    store = RedisStore(RedisSettings(**redis_section))
    with Gunicorn({"redis": redis_section}) as gunicorn:
        session = gunicorn.ask("POST", "/api/download/session/bank").json()["session"]
        url = f"/api/download/status/download/bank/{session}?after=0&wait_seconds=30"
        with ThreadPoolExecutor(20) as pool:
            questions = [pool.submit(gunicorn.ask, "GET", url) for _ in range(20)]
            assert gunicorn.ask("GET", "/readyz").json()["status"] == "ok"

            store.settle(Outcome(message=Message(bank="bank", session=session, key="a")))

            answers = [question.result(timeout=10).json() for question in questions]
    store.close()
    assert answers == [{"progress": 1, "errors": -1, "open": True}] * 20


def test_gunicorn_keeps_its_counts_in_a_reload_and_leaves_nothing_in_the_end(
    redis_section, tmp_path
):
    certificate = issue_certificate(tmp_path)
    with ConsulAgent() as agent:
        settings = {
            "redis": redis_section,
            "tls": {"cert": str(certificate.cert_file), "key": str(certificate.key_file)},
            "consul": {"host": "127.0.0.1", "port": agent.port, "id": "node1"},
        }
        with Gunicorn(settings, ca_file=certificate.ca_file) as gunicorn:
            count_a_download(gunicorn)

            gunicorn.reload()
            for _ in poll(20):
                if gunicorn.booted_workers() == 2 * WORKERS:
                    break
            assert gunicorn.booted_workers() == 2 * WORKERS
            assert counted(gunicorn) == {1}

            gunicorn.stop()
            assert [path for path, _ in agent.told] == [
                "/v1/agent/service/register",
                "/v1/agent/service/deregister/node1",
            ]
            assert list(gunicorn.temporary.iterdir()) == []
            assert "Traceback" not in gunicorn.log()


def test_gunicorn_has_threads_to_spare_besides_long_polls_and_streams():
    assert runpy.run_path(str(CONFIGURATION))["threads"] > LONG_POLLS + STREAMS


def test_gunicorn_ends_streams_when_it_stops(redis_section):
    with Gunicorn({"redis": redis_section}) as gunicorn:
        answer = gunicorn.ask("GET", "/api/download/events", stream=True)
        lines = answer.iter_lines(chunk_size=1)
        assert next(lines) == b"event: overview"

        gunicorn.stop()

        assert gunicorn.last_exit_code == 0  # a longer wait would have had it killed
        assert b"data: " in b"".join(lines)
