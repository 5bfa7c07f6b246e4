"""The figures of a real run as a real Prometheus has them; alerts and dashboard on them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client import CollectorRegistry

from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.exporter import serve_metrics
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from biomaj_download.metrics import MOST_BANKS, MOST_HOSTS, ConsumerMetrics
from biomaj_download.serving import EmbeddedService
from biomaj_download.settings import MetricsSettings, RabbitmqSettings, RedisSettings, Settings
from biomaj_download.store.redis import RedisStore
from biomaj_download.supervisor import STARTED_SECONDS
from tests.exposition import samples
from tests.servers.consumer import Consumer
from tests.servers.faulty_http import Answer, FaultyHttpServer
from tests.servers.gunicorn import Gunicorn
from tests.servers.process import free_port, poll
from tests.servers.prometheus import Prometheus
from tests.servers.rabbitmq import RabbitmqServer

DEPLOY = Path(__file__).parents[1] / "deploy"
#: As the shipped rules and the dashboard name it.
QUEUE = "biomajdownload"
FILES = 30
MEBIBYTE = 1024 * 1024
#: A file is tried again at once, and once.
SOON = {"stop_condition": "stop_after_attempt(2)", "wait_policy": "wait_none"}


class Site:
    """Broker, store and a consumer of two processes; `bring` waits until all files have ended."""

    def __init__(self, rabbitmq: RabbitmqServer, redis: RedisSettings, home: Path) -> None:
        self.settings: dict[str, Any] = {
            "rabbitmq": {**rabbitmq.section, "queue": QUEUE},
            "redis": {"host": redis.host, "port": redis.port, "prefix": f"test-{uuid.uuid4()}"},
        }
        self._home = home

    def bring(self, server: FaultyHttpServer, *names: str, bank: str, md5: str = "") -> None:
        """Request files, each in a message, and return when the session has counted them all."""
        with (
            closing(RedisStore(RedisSettings(**self.settings["redis"]))) as store,
            closing(RabbitmqBroker(RabbitmqSettings(**self.settings["rabbitmq"]))) as broker,
        ):
            session = store.create_session(bank)
            for name in names:
                operation = new_operation(
                    Kind.DOWNLOAD, bank=bank, session=session, local_dir=str(self._home)
                )
                operation.download.options.update(SOON)
                remote = operation.download.remote_file
                remote.protocol = wire.DownloadFile.HTTP
                remote.server = f"{server.host}:{server.port}"
                remote.remote_dir = "/"
                file = remote.files.add(name=name, root="/")
                if md5:
                    file.metadata.md5 = md5
                broker.publish(operation.SerializeToString(), message_id=str(uuid.uuid4()))
            for _ in poll(60):
                if store.progress(bank, session)[0] == len(names):
                    return
        raise AssertionError(f"{bank}: not all files ended")


@pytest.fixture(scope="module")
def observed_rabbitmq(start_server) -> tuple[RabbitmqServer, str]:
    """A RabbitMQ that serves figures, and where; it has the shipped rules' queue for itself."""
    port = free_port()

    def make() -> RabbitmqServer:
        server = RabbitmqServer(
            more_config=f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n"
            "collect_statistics_interval = 1000\n"
        )
        (server.folder / "enabled_plugins").write_text("[rabbitmq_prometheus].\n")
        return server

    return start_server(make), f"127.0.0.1:{port}"


@pytest.fixture
def site(observed_rabbitmq, redis_server, tmp_path) -> Site:
    redis = RedisSettings(host=redis_server.host, port=redis_server.port)
    return Site(observed_rabbitmq[0], redis, tmp_path / "home")


def expressions() -> Iterator[str]:
    """Return what the dashboard asks Prometheus."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m")


def test_prometheus_has_the_figures_of_a_run_and_answers_all_that_the_dashboard_asks(
    site, observed_rabbitmq, faulty_http, start_server
):
    names = [f"{number}.dat" for number in range(FILES)]
    for name in names:
        faulty_http.add(f"/{name}", Answer(body=b"x" * 1000))
    whole = Answer(body=b"y" * 3 * MEBIBYTE, etag='"1"')
    faulty_http.add("/cut.dat", Answer(body=whole.body, etag='"1"', cut_after=2 * MEBIBYTE), whole)
    faulty_http.add("/wrong.dat", Answer(body=b"z" * 1000))
    with (
        Consumer(site.settings) as consumer,
        Gunicorn({"redis": site.settings["redis"]}) as web,
    ):
        jobs = {
            "biomaj-download-consumer": consumer.listen,
            "biomaj-download-web": web.url.removeprefix("http://"),
            "rabbitmq": observed_rabbitmq[1],
        }
        prometheus = start_server(Prometheus, jobs)
        assert prometheus.scrape_errors() == dict.fromkeys(jobs, "")

        site.bring(faulty_http, *names, bank="well")
        site.bring(faulty_http, "cut.dat", bank="cut")
        site.bring(faulty_http, "wrong.dat", bank="wrong", md5="0" * 32)

        wait_for(prometheus, "sum(biomaj_download_messages_total)", FILES + 2)
        figures = {
            'biomaj_download_total{bank="well"}': FILES,
            'biomaj_download_total{bank="cut"}': 1,
            'biomaj_download_errors_total{bank="wrong"}': 1,
            'biomaj_download_failures_total{class="wrong-checksum"}': 1,
            "sum(biomaj_download_bytes_total)": FILES * 1000 + 3 * MEBIBYTE,
            "biomaj_download_duration_seconds_count": FILES + 1,
            "biomaj_download_in_progress": 0,
            "biomaj_download_amqp_connected": 1,
        }
        asked = {figure: one(prometheus, figure) for figure in figures}
        assert asked == figures
        assert one(prometheus, "biomaj_download_retries_total") >= 1
        assert one(prometheus, "biomaj_download_checksum_failures_total") >= 1
        assert 0 < one(prometheus, "biomaj_download_resumed_bytes_total") <= 2 * MEBIBYTE
        assert [asked for asked in expressions() if not prometheus.query(asked)] == []
        assert prometheus.scrape_errors() == dict.fromkeys(jobs, "")


def one(prometheus: Prometheus, expression: str) -> float:
    """Return the only value of an expression."""
    (value,) = prometheus.query(expression).values()
    return value


def wait_for(prometheus: Prometheus, expression: str, expected: float) -> None:
    """Return when a scrape has brought a value, and the one after it, which a rate needs."""
    for _ in poll(60):
        if list(prometheus.query(expression).values()) == [expected] and prometheus.query(
            "sum(rabbitmq_detailed_queue_messages_ready)"
        ):
            time.sleep(2)
            return
    raise AssertionError(f"{expression}: {prometheus.query(expression)}")


def test_what_a_process_counted_outlives_it_but_not_what_it_was_at(site, faulty_http):
    names = [f"{number}.dat" for number in range(FILES)]
    for name in names:
        faulty_http.add(f"/{name}", Answer(body=b"x"))
    with Consumer(site.settings) as consumer:
        time.sleep(STARTED_SECONDS)  # one that dies before it began is not started again
        site.bring(faulty_http, *names, bank="pdb")
        before = consumer.processes()

        for pid in before:
            consumer.kill_process(pid)

        for _ in poll(30):
            if not set(before) & set(consumer.processes()) and consumer.is_ready():
                break
        figures = samples(consumer.scrape())
        assert figures["biomaj_download_total"] == FILES
        assert figures.get("biomaj_download_in_progress", 0) == 0
        site.bring(faulty_http, names[0], bank="pdb")
        assert samples(consumer.scrape())["biomaj_download_total"] == FILES + 1
        consumer.stop()
        assert consumer.last_exit_code == 0
        assert list(consumer.temporary.iterdir()) == []


def test_the_embedded_service_serves_its_figures_too(tmp_path):
    listen = f"127.0.0.1:{free_port()}"
    settings = Settings(metrics=MetricsSettings(listen=listen))
    service = EmbeddedService(settings, tmp_path, host="127.0.0.1", port=0)
    running = threading.Thread(target=service.run)
    running.start()
    try:
        for _ in poll(30):
            with suppress(requests.ConnectionError):
                figures = samples(requests.get(f"http://{listen}/metrics", timeout=10).text)
                if figures["biomaj_download_amqp_connected"]:
                    break
        assert figures["biomaj_download_amqp_connected"] == 1
        assert figures["biomaj_download_build_info"] == 1
    finally:
        service.stop()
        running.join()


def test_a_port_that_is_taken_costs_the_figures_alone(caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"

        serve_metrics(ConsumerMetrics(CollectorRegistry()), listen, {})()

    assert "metrics not served" in caplog.text


def test_banks_and_hosts_are_told_apart_up_to_a_number():
    registry = CollectorRegistry()
    metrics = ConsumerMetrics(registry)

    for number in range(MOST_BANKS + 5):
        metrics.observe_download(f"b{number}", f"u:secret@h{number}", size_bytes=1, seconds=1)

    text = metrics.exposed().decode()
    banks = re.findall(r'^biomaj_download_total{bank="(.+)"}', text, re.MULTILINE)
    hosts = set(re.findall(r'file_size_total{bank=".+",host="(.+)"}', text))
    assert len(banks) == MOST_BANKS + 1
    assert registry.get_sample_value("biomaj_download_total", {"bank": "other"}) == 5
    assert len(hosts) == MOST_HOSTS + 1
    assert "secret" not in text


@pytest.fixture(scope="module")
def promtool(start_server) -> str:
    path = shutil.which("promtool")
    if path is None:
        start_server(Prometheus, {})  # skips, or fails in CI: it is of the same package
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_approves_of_the_shipped_rules(promtool, arguments):
    done = subprocess.run(
        [promtool, *arguments],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tried_and_each_family_that_is_asked_for_exists():
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    tried = (DEPLOY / "prometheus" / "alerts_test.yml").read_text()
    registry = CollectorRegistry()
    ConsumerMetrics(registry)
    known = registry._names_to_collectors

    alerts = rules["groups"][0]["rules"]
    asked = [*(alert["expr"] for alert in alerts), *expressions()]
    names = set(re.findall(r"\bbiomaj_download_\w+", " ".join(asked)))
    assert [alert["alert"] for alert in alerts if tried.count(alert["alert"]) < 2] == []
    assert sorted(names - known.keys()) == []
