"""Processes that die, stop and come again."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.servers.cutter import Cutter
from tests.servers.faulty_http import Answer
from tests.servers.process import poll

#: Slow enough for a kill to hit many transfers.
ANSWER_SECONDS = 0.15
MIB = 2**20


def numbered(number: int) -> bytes:
    return f"file {number}\n".encode() * 500


@pytest.mark.fault("1 kill -9 of the consumer 8 times within 200 messages, 16 in flight")
@pytest.mark.parametrize("client", ["ours", "old"])
def test_a_consumer_is_killed_again_and_again(site, faulty_http, tell, client):
    operations = []
    for number in range(200):
        answer = Answer(body=numbered(number), delay_seconds=ANSWER_SECONDS)
        operations.append(site.request(faulty_http.add(f"/bank/{number}.dat", answer)))
    if client == "ours":
        site.submit(operations)
    else:
        site.submit_raw(*(one.SerializeToString() for one in operations))
    wanted_paths = {f"/bank/{number}.dat" for number in range(200)}
    wanted = {f"{number}.dat": numbered(number) for number in range(200)}

    limits = {"http_connections_per_host": 16}
    consumer = site.consumer(transfer=limits, worker={"slots": 16})
    kills = 0
    while kills < 8:
        site.wait(kills * 22 + 10)
        consumer.kill()
        kills += 1
        consumer.start()
    progress = site.wait(200)
    held = site.wait_for_queue(0)

    files = site.files()
    requests = sum(request.path in wanted_paths for request in faulty_http.requests)
    tell(
        f"{client} client: progress {progress.done} of 200, errors {progress.errors or 0},"
        f" {sum(files.get(name) == body for name, body in wanted.items())} files right,"
        f" {requests} requests for 200 files"
    )
    assert (progress.done, progress.errors, held) == (200, None, 0)
    assert files == wanted
    assert site.leftovers() == []


@pytest.mark.fault("1 kill -9 in the middle of a file of 1 GiB")
@pytest.mark.slow
def test_a_consumer_is_killed_in_the_middle_of_a_large_file(site, nginx, tell):
    size_bytes = 1024 * MIB
    with (nginx.root / "large.dat").open("wb") as file:
        for _ in range(1024):
            file.write(random.randbytes(MIB))
    with Cutter(nginx.port, cuts=0) as relay:
        site.submit([site.request(f"http://127.0.0.1:{relay.port}/large.dat")])
        consumer = site.consumer()
        site.wait_for_part(size_bytes // 2)
        consumer.kill()
        consumer.start()
        progress = site.wait(1)
        served_bytes = relay.brought_bytes

    is_right = (site.home / "large.dat").read_bytes() == (nginx.root / "large.dat").read_bytes()
    (nginx.root / "large.dat").unlink()
    tell(f"origin served {served_bytes / size_bytes:.2f} GiB in all, file right: {is_right}")
    assert progress[:2] == (1, None)
    assert is_right
    assert served_bytes < 1.2 * size_bytes


@pytest.mark.fault("6 the same message delivered twice at once to two consumers")
def test_a_message_comes_twice_at_once(site, faulty_http, tell):
    url = faulty_http.add("/twice.dat", Answer(body=numbered(1), delay_seconds=2))
    body = site.request(url).SerializeToString()
    for _ in range(2):
        site.consumer(worker={"slots": 1})

    site.submit_raw(body, body, message_id="the same")
    progress = site.wait(1)
    held = site.wait_for_queue(0)

    transfers = len(faulty_http.requests_for("/twice.dat"))
    tell(f"progress {progress.done}, {transfers} transfer")
    assert (site.progress()[:2], held, transfers) == ((1, None), 0, 1)


@pytest.mark.fault("6 100 duplicates of one message in the queue, others behind them")
def test_a_message_is_there_a_hundred_times(site, faulty_http, tell):
    url = faulty_http.add("/many.dat", Answer(body=numbered(1), delay_seconds=4))
    other = faulty_http.add("/other.dat", Answer(body=numbered(2)))
    site.submit_raw(*[site.request(url).SerializeToString()] * 100, message_id="the same")
    site.submit([site.request(other, f"other-{number}") for number in range(20)])

    site.consumer()
    site.wait(20, seconds=20)
    while_waiting = site.progress()
    transfers_then = len(faulty_http.requests_for("/many.dat"))
    progress = site.wait(21)
    held = site.wait_for_queue(0)

    transfers = len(faulty_http.requests_for("/many.dat"))
    tell(
        f"{while_waiting.done} others done while it ran; progress {progress.done} of 21,"
        f" {transfers} transfer of it"
    )
    assert (while_waiting.done, transfers_then) == (20, 1)
    assert (site.progress()[:2], held, transfers) == ((21, None), 0, 1)


@pytest.mark.fault("6 an old client submits the same file twice")
def test_an_old_client_submits_a_file_twice(site, faulty_http, tell):
    url = faulty_http.add("/twice.dat", Answer(body=numbered(1), delay_seconds=1))
    site.submit_raw(*[site.request(url).SerializeToString()] * 2)

    site.consumer()
    progress = site.wait(2)
    held = site.wait_for_queue(0)

    transfers = len(faulty_http.requests_for("/twice.dat"))
    tell(f"progress {progress.done}, {transfers} transfer")
    assert (site.progress()[:2], held, transfers) == ((2, None), 0, 1)


@pytest.mark.fault("7 SIGTERM in the middle of a transfer, another consumer goes on")
def test_a_consumer_is_stopped_in_the_middle_of_a_file(site, faulty_http, tell):
    body = random.randbytes(20 * MIB)
    slow = Answer(body=body, etag='"1"', pause_seconds=0.05)
    url = faulty_http.add("/slow.dat", slow)
    site.submit([site.request(url)])
    first = site.consumer(worker={"shutdown_grace_seconds": 1})
    site.wait_for_part(5 * MIB)

    started = time.monotonic()
    first.stop()
    seconds = time.monotonic() - started
    kept_bytes = site.part_bytes()
    held = site.wait_for_queue(1)
    under_final_name = sorted(site.files())
    faulty_http.add("/slow.dat", Answer(body=body, etag='"1"'))
    site.consumer()
    progress = site.wait(1)

    (resumed,) = faulty_http.requests_for("/slow.dat")[1:]
    tell(
        f"exit code {first.last_exit_code} after {seconds:.1f} s, nothing under the final name;"
        f" the next one asked for {resumed.headers.get('Range')}"
    )
    assert (first.last_exit_code, under_final_name, held) == (0, [], 1)
    assert resumed.headers["Range"] == f"bytes={kept_bytes}-"
    assert progress[:2] == (1, None)
    assert site.files() == {"slow.dat": body}


@pytest.mark.fault("7 a second SIGTERM")
def test_a_second_signal_ends_a_consumer_at_once(site, faulty_http, tell):
    url = faulty_http.add("/slow.dat", Answer(body=bytes(20 * MIB), pause_seconds=0.2))
    site.submit([site.request(url)])
    consumer = site.consumer()
    site.wait_for_part(1)

    consumer.signal(signal.SIGTERM)
    time.sleep(1)
    consumer.signal(signal.SIGTERM)
    started = time.monotonic()
    for _ in poll(20):
        if not consumer.is_running:
            break
    seconds = time.monotonic() - started

    held = site.wait_for_queue(1)
    tell(f"ended after {seconds:.1f} s, the message is back in the queue")
    assert seconds < 2
    assert held == 1


@pytest.mark.fault("17 50,000 messages, a tenth fails, 4 consumers, one killed every 2 s")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_messages_survive_many_kills(site, nginx, tell):
    bank = nginx.root / "survivors"
    bank.mkdir()
    number_of_files = 50_000
    for number in range(number_of_files):
        if number % 10:
            (bank / f"{number}.dat").write_bytes(numbered(number))
    site.submit(
        site.request(
            f"{nginx.url}/survivors/{number}.dat",
            f"{number % 100}/{number}.dat",
            stop_condition="stop_after_attempt(1)",
        )
        for number in range(number_of_files)
    )

    consumers = [site.consumer(storage={"fsync": False}) for _ in range(4)]
    kills = 0
    deadline = time.monotonic() + 600
    while (site.progress().done or 0) < number_of_files and time.monotonic() < deadline:
        time.sleep(2)
        if (site.progress().done or 0) < 0.9 * number_of_files:
            consumer = consumers[kills % 4]
            consumer.kill()
            consumer.start()
            kills += 1
    held = site.wait_for_queue(0)
    progress = site.progress()

    right = sum(
        (site.home / f"{number % 100}/{number}.dat").read_bytes() == numbered(number)
        for number in range(number_of_files)
        if number % 10
    )
    names = sum(path.is_file() for path in site.home.rglob("*"))
    served = nginx.access_log.read_text().count("/survivors/")
    tell(
        f"{kills} kills: progress {progress.done:,}, errors {progress.errors:,},"
        f" {right:,} files right, {served - number_of_files:,} transfers repeated"
    )
    assert (progress.done, progress.errors, held) == (number_of_files, number_of_files // 10, 0)
    assert (right, names) == (number_of_files * 9 // 10, number_of_files * 9 // 10)
