"""The broker, the store and the web interface: stopped, started, cut off, out of memory."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from biomaj_download.downloadclient import DownloadClient
from biomaj_download.errors import ServiceError
from tests import background
from tests.faults.site import BANK, Site
from tests.servers.biomaj import DownloadWeb
from tests.servers.faulty_http import Answer
from tests.servers.process import poll
from tests.servers.redis import RedisServer
from tests.servers.swallower import Swallower

ANSWER_SECONDS = 0.1
FILES = 100


def numbered(number: int) -> bytes:
    return f"file {number}\n".encode() * 500


def bank(site: Site, faulty_http, files: int = FILES) -> dict[str, bytes]:
    """Submit a bank of files that take a moment each; return what is to come of it."""
    operations = []
    for number in range(files):
        answer = Answer(body=numbered(number), delay_seconds=ANSWER_SECONDS)
        operations.append(site.request(faulty_http.add(f"/bank/{number}.dat", answer)))
    site.submit(operations)
    return {f"{number}.dat": numbered(number) for number in range(files)}


def requests_for_files(faulty_http) -> int:
    """Return how many requests came for files: not for a list of checksums."""
    return sum(request.path.endswith(".dat") for request in faulty_http.requests)


def seconds_since(started: float) -> str:
    return f"{time.monotonic() - started:.0f} s"


@pytest.mark.fault("2 RabbitMQ stopped and started in the middle")
def test_the_broker_restarts(own_rabbitmq, redis_server, faulty_http, tmp_path, tell):
    with Site(own_rabbitmq, redis_server, tmp_path / "home") as site:
        wanted = bank(site, faulty_http)
        consumer = site.consumer()
        site.wait(20)
        own_rabbitmq.stop()
        time.sleep(3)
        own_rabbitmq.start()
        progress = site.wait(FILES)
        held = site.wait_for_queue(0)
        files = site.files()
        tell(
            f"progress {progress.done} of {FILES}, all files right: {files == wanted},"
            f" consumer alive: {consumer.is_running}"
        )
        assert (progress[:2], held, consumer.is_running) == ((FILES, None), 0, True)
        assert files == wanted


@pytest.mark.fault("2 RabbitMQ down when the consumer starts")
def test_the_broker_is_down_at_first(own_rabbitmq, redis_server, faulty_http, tmp_path, tell):
    with Site(own_rabbitmq, redis_server, tmp_path / "home") as site:
        bank(site, faulty_http, 10)
        site.broker.close()
        own_rabbitmq.stop()
        consumer = site.consumer()
        time.sleep(5)
        is_alive = consumer.is_running
        own_rabbitmq.start()
        progress = site.wait(10)
        tell(f"alive after 5 s without a broker: {is_alive}; then progress {progress.done} of 10")
        assert is_alive
        assert progress[:2] == (10, None)


@pytest.mark.fault("2 network to RabbitMQ swallows all for 3 minutes, without a RST")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_network_to_the_broker_swallows_all(site, faulty_http, tell):
    with Swallower(site.rabbitmq.port) as network:
        slow = Answer(body=bytes(4_000_000), pause_seconds=0.5, pause_every_bytes=100_000)
        site.submit([site.request(faulty_http.add(f"/{n}.dat", slow)) for n in range(4)])
        wanted = bank(site, faulty_http, 400)
        consumer = site.consumer(rabbitmq={"port": network.port})
        site.wait(50)
        network.swallows = True
        time.sleep(180)
        done_meanwhile = site.progress().done
        network.swallows = False
        network.cut()  # what was lost of connections cannot be made good
        progress = site.wait(404, seconds=120)
        held = site.wait_for_queue(0)
        is_right = wanted.items() <= site.files().items()
        requests = sum(len(faulty_http.requests_for(f"/{n}.dat")) for n in range(4))
        tell(
            f"{done_meanwhile} done at the end of it, then progress {progress.done} of 404;"
            f" 4 long transfers went on: {requests} requests; all files right: {is_right}"
        )
        assert (progress[:2], held, requests) == ((404, None), 0, 4)
        assert is_right
        assert consumer.is_running


@pytest.mark.fault("2 memory alarm of RabbitMQ: it reads from no publisher")
def test_the_broker_is_short_of_memory(own_rabbitmq, redis_server, faulty_http, tmp_path, tell):
    with Site(own_rabbitmq, redis_server, tmp_path / "home") as site:
        bank(site, faulty_http)
        site.submit_raw(b"\xff noise")
        site.consumer()
        site.wait(10)
        own_rabbitmq.rabbitmqctl("set_vm_memory_high_watermark", "0.000001")
        progress = site.wait(FILES)
        during = site.progress().done
        own_rabbitmq.rabbitmqctl("set_vm_memory_high_watermark", "0.6")
        held = site.wait_for_queue(0)
        dead = site.messages_in(f"{site.queue}.dead")
        tell(
            f"{during} of {FILES} done during the alarm; after it the queue holds {held},"
            f" the dead letters {dead}"
        )
        assert (progress[:2], held, dead) == ((FILES, None), 0, 1)


@pytest.mark.fault("3 Redis with AOF stopped and started in the middle")
def test_the_store_restarts(rabbitmq, own_redis, faulty_http, tmp_path, tell):
    with Site(rabbitmq, own_redis, tmp_path / "home") as site:
        wanted = bank(site, faulty_http, 400)
        site.consumer()
        for _ in range(3):
            site.wait((site.progress().done or 0) + 40)
            own_redis.kill()
            time.sleep(1.5)
            own_redis.start()
        progress = site.wait(400)
        held = site.wait_for_queue(0)
        files = site.files()
        tell(f"3 restarts: progress {progress.done} of 400, all files right: {files == wanted}")
        assert (progress[:2], held) == ((400, None), 0)
        assert files == wanted


@pytest.mark.fault("3 Redis gone, then the consumer stopped; both come again")
def test_outcomes_outlive_a_consumer_that_stops_without_a_store(
    rabbitmq, own_redis, faulty_http, tmp_path, tell
):
    with Site(rabbitmq, own_redis, tmp_path / "home") as site:
        slow = Answer(body=numbered(1), delay_seconds=3)
        site.submit([site.request(faulty_http.add(f"/{n}.dat", slow)) for n in range(4)])
        consumer = site.consumer()
        for _ in poll(10):
            if len(faulty_http.requests) == 4:
                break
        own_redis.kill()
        for _ in poll(20):
            if len(site.files()) == 4:
                break
        time.sleep(1)
        consumer.stop()
        code = consumer.last_exit_code
        own_redis.start()
        consumer.start()
        progress = site.wait(4)
        held = site.wait_for_queue(0)
        requests = requests_for_files(faulty_http)
        tell(
            f"exit code {code}; progress {progress.done} of 4 from the outbox,"
            f" {requests} requests for 4 files"
        )
        assert (progress[:2], held, code, requests) == ((4, None), 0, 0, 4)


@pytest.mark.fault("3 Redis without persistence restarted in the middle")
def test_a_store_that_forgets_all_ends_the_client(
    rabbitmq, start_server, faulty_http, tmp_path, tell
):
    forgetful = start_server(lambda: RedisServer(appendonly=False))
    with (
        Site(rabbitmq, forgetful, tmp_path / "home") as site,
        _web(site) as web,
        closing(_client(site)) as client,
    ):
        client.create_session(BANK, web.url)
        url = faulty_http.add("/slow.dat", Answer(body=numbered(1), delay_seconds=2))
        operation = site.request(url)
        operation.download.session = client.session
        client.download_remote_file(operation)
        waiting = background.start(client.wait_for_download)
        time.sleep(0.5)
        forgetful.kill()
        forgetful.start()
        with pytest.raises(ServiceError) as raised:
            waiting.result(timeout=60)
        tell(f"the client ends: {str(raised.value).split(': ', 1)[1][:75]}...")
        assert "lost the session" in str(raised.value)


@pytest.mark.fault("3 Redis down when the consumer starts")
def test_the_store_is_down_at_first(rabbitmq, own_redis, faulty_http, tmp_path, tell):
    with Site(rabbitmq, own_redis, tmp_path / "home") as site:
        bank(site, faulty_http, 10)
        own_redis.stop()
        consumer = site.consumer()
        time.sleep(5)
        is_alive = consumer.is_running
        requests = len(faulty_http.requests)
        own_redis.start()
        progress = site.wait(10)
        tell(f"alive after 5 s without a store: {is_alive}; then progress {progress.done} of 10")
        assert (is_alive, requests) == (True, 0)
        assert progress[:2] == (10, None)


@pytest.mark.fault("4 consumer_timeout of 60 s, a 4-minute download among 50 short ones")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_download_outlives_the_brokers_patience(
    impatient_rabbitmq, redis_server, faulty_http, tmp_path, tell
):
    with Site(impatient_rabbitmq, redis_server, tmp_path / "home") as site:
        body = bytes(2_400_000)
        long = Answer(body=body, pause_seconds=1, pause_every_bytes=10_000)
        site.submit([site.request(faulty_http.add("/long.dat", long))])
        consumer = site.consumer(
            transfer={"http_connections_per_host": 8, "low_speed_limit_bytes": 100}
        )
        time.sleep(2)
        started = time.monotonic()
        for batch in range(5):
            time.sleep(max(batch * 50 - (time.monotonic() - started), 0))
            site.submit(
                site.request(faulty_http.add(f"/{batch}-{n}.dat", Answer(body=numbered(n))))
                for n in range(10)
            )
            site.wait((batch + 1) * 10, seconds=40)
        short = site.progress().done
        progress = site.wait(51, seconds=200)
        held = site.wait_for_queue(0)
        closed = consumer.log().count("broker lost")
        requests = len(faulty_http.requests_for("/long.dat"))
        is_right = site.files()["long.dat"] == body
        tell(
            f"the broker closed the channel {closed} times; {short} short ones done meanwhile,"
            f" the long one after {seconds_since(started)} in {requests} request"
        )
        assert (progress[:2], held, short, requests) == ((51, None), 0, 50, 1)
        assert closed > 0
        assert is_right
        assert consumer.is_running


@pytest.mark.fault("15 web interface down while the consumer works, metrics not taken")
def test_the_web_interface_is_away(site, faulty_http, tell):
    wanted = bank(site, faulty_http)
    consumer = site.consumer(web={"local_endpoint": "http://127.0.0.1:9"})

    progress = site.wait(FILES)
    for _ in poll(10):
        if "metrics not posted" in consumer.log():
            break

    files = site.files()
    tell(f"progress {progress.done} of {FILES}, all files right: {files == wanted}")
    assert progress[:2] == (FILES, None)
    assert files == wanted
    assert "metrics not posted" in consumer.log()


def _web(site: Site) -> DownloadWeb:
    return DownloadWeb(site.rabbitmq, site.redis_server, {"redis": {"prefix": site.prefix}})


def _client(site: Site) -> DownloadClient:
    server = site.rabbitmq
    return DownloadClient(
        server.host,
        rabbitmq_port=server.port,
        rabbitmq_user=server.user,
        rabbitmq_password=server.password,
    )
