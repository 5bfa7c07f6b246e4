"""Messages that are none, sessions that end, clients that come again."""

from __future__ import annotations

import os
import time

import pytest

from biomaj_download.message import downmessage_pb2 as wire
from tests.faults.site import BANK
from tests.servers.faulty_http import Answer
from tests.servers.process import poll

MIB = 2**20


def spoiled(site, url: str) -> dict[str, bytes]:
    """Return messages that nobody can work on, by what is wrong with them."""
    good = site.request(url)
    wrong_type = wire.Operation.FromString(good.SerializeToString())
    wrong_type.type = wire.Operation.PROCESS
    incomplete = wire.Operation.FromString(good.SerializeToString())
    incomplete.download.ClearField("local_dir")
    # Enum value 77, as a newer client may know it: field 1 (type) of the Operation.
    unknown_type = good.SerializeToString().replace(b"\x08\x01", b"\x08\x4d", 1)
    huge = wire.Operation.FromString(good.SerializeToString())
    huge.download.ClearField("local_dir")
    huge.download.remote_file.files[0].metadata.format = "x" * (16 * MIB)
    return {
        "malformed": b"\xff\xfe noise",
        "empty": b"",
        "wrong type": wrong_type.SerializeToString(),
        "unknown enum": unknown_type,
        "missing field": incomplete.SerializePartialToString(),
        "10 MiB of noise": os.urandom(10 * MIB),
        "16 MiB": huge.SerializePartialToString(),
    }


@pytest.mark.fault("8 malformed, empty, wrong or unknown enum, missing field, 10 MiB noise, 16 MiB")
def test_messages_that_are_none_are_put_aside(site, faulty_http, tell):
    url = faulty_http.add("/good.dat", Answer(body=b"good"))
    messages = spoiled(site, url)
    site.submit_raw(*messages.values())
    site.submit([site.request(url)])
    counted = [name for name in messages if name in COUNTED]

    consumer = site.consumer()
    progress = site.wait(1 + len(counted))
    held = site.wait_for_queue(0)
    dead = site.messages_in(f"{site.queue}.dead")

    tell(
        f"{dead} of {len(messages)} are dead letters; {progress.errors} counted as errors (all"
        f" whose session can be read), the good one behind them done, consumer alive:"
        f" {consumer.is_running}"
    )
    assert (progress[:2], held, dead) == ((1 + len(counted), len(counted)), 0, len(messages))
    assert site.files() == {"good.dat": b"good"}
    assert consumer.is_running


#: The messages of `spoiled` that tell bank and session.
COUNTED = ("wrong type", "unknown enum", "missing field", "16 MiB")


@pytest.mark.fault("14 session cleaned in the middle")
def test_a_session_is_cleaned(site, faulty_http, tell):
    slow = Answer(body=bytes(20 * MIB), etag='"1"', pause_seconds=0.1)
    site.submit([site.request(faulty_http.add(f"/{n}.dat", slow)) for n in range(40)])
    site.consumer()
    site.wait_for_part(8 * MIB)

    site.store.delete_session(BANK, site.session)
    cleaned_at = time.monotonic()
    for _ in poll(20):
        if not site.leftovers():
            break
    seconds = time.monotonic() - cleaned_at
    held = site.wait_for_queue(0)
    requests = {request.path for request in faulty_http.requests if request.path.endswith(".dat")}

    tell(
        f"transfers ended after {seconds:.1f} s, no part is left; of 40 files {len(requests)} were"
        " begun, the others skipped"
    )
    assert seconds < 5
    assert (held, site.files(), site.leftovers()) == (0, {}, [])
    assert len(requests) < 40


@pytest.mark.fault("14 the bank's cancel flag is set")
def test_a_bank_is_cancelled(site, faulty_http, tell):
    slow = Answer(body=bytes(20 * MIB), etag='"1"', pause_seconds=0.1)
    site.submit([site.request(faulty_http.add(f"/{n}.dat", slow)) for n in range(40)])
    site.consumer()
    site.wait_for_part(8 * MIB)

    site.store._redis.set(f"{site.prefix}:{BANK}:action:cancel", 1)
    set_at = time.monotonic()
    progress = site.wait(40, seconds=20)
    seconds = time.monotonic() - set_at
    held = site.wait_for_queue(0)

    tell(
        f"all 40 counted as errors after {seconds:.1f} s, so that a client's wait ends; nothing"
        " is left"
    )
    assert seconds < 5
    assert (progress[:2], held) == ((40, 40), 0)
    assert (site.files(), site.leftovers()) == ({}, [])


@pytest.mark.fault("14 client dies and submits all again in the same session")
def test_a_client_comes_again(site, faulty_http, tell):
    wanted = {f"{number}.dat": f"file {number}".encode() for number in range(60)}
    operations = [
        site.request(faulty_http.add(f"/{name}", Answer(body=body, delay_seconds=0.05)))
        for name, body in wanted.items()
    ]
    ids = site.submit(operations)
    site.consumer()
    site.wait(20)

    messages = [
        (one.SerializeToString(), message_id)
        for one, message_id in zip(operations, ids, strict=True)
    ]
    site.broker.publish_many(messages)
    site.wait(60)
    held = site.wait_for_queue(0)

    requests = sum(request.path.endswith(".dat") for request in faulty_http.requests)
    progress = site.progress()
    tell(f"progress {progress.done} of 60, {requests} transfers, all right")
    assert (progress[:2], held, requests) == ((60, None), 0, 60)
    assert site.files() == wanted
