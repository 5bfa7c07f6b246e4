"""Passwords go in at every door of a service that runs as an ordinary user, and come out of none.

What BioMAJ's protocol has in the clear is named in SECURITY.md: messages, waiting or dead.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

import pika
import pytest
import redis
import requests

from tests.security.planted import (
    AS_USER,
    SECRET,
    USER_ID,
    CommandLines,
    askings,
    locked_key,
    messages,
    spellings,
)
from tests.servers.biomaj import DownloadConsumer, DownloadWeb
from tests.servers.collector import collector
from tests.servers.faulty_http import Answer
from tests.servers.process import free_port, poll

QUEUE = "passwords-in"
WRITABLE_BY_ALL = 0o002
TOKEN = f"{SECRET}-web-token-of-many-characters"


@pytest.fixture
def collected():
    with collector() as collected:
        yield collected


@pytest.fixture
def sections(redis_server, collected, tmp_path):
    """Settings with an account of Redis, that write down all they can."""
    with redis.Redis(redis_server.host, redis_server.port) as client:
        client.acl_setuser(
            SECRET,
            enabled=True,
            passwords=[f"+{SECRET}-redis"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
        )
        yield {
            "rabbitmq": {"queue": QUEUE},
            "redis": {"prefix": QUEUE, "user": SECRET, "password": f"{SECRET}-redis"},
            "storage": {"state_dir": str(tmp_path / "state"), "reserve_bytes": 0},
            "transfer": {"proxies": {"x.example.org": f"http://me:{SECRET}-site@127.0.0.1:9"}},
            "metrics": {"listen": f"127.0.0.1:{free_port()}"},
            "tracing": {"endpoint": collected.endpoint},
            "web": {"token": TOKEN},
            "events": {"exchange": QUEUE},
            "worker": {"processes": 2},
            "log_config": {"root": {"level": "DEBUG", "handlers": ["console"]}},
        }
        client.acl_deluser(SECRET)


def contents_of(client: redis.Redis) -> str:
    """Return all that Redis keeps for the service."""
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }
    kinds = {key: client.type(key) for key in client.scan_iter(f"{QUEUE}*")}
    assert kinds
    there = {key: kind for key, kind in kinds.items() if kind != b"none"}  # others have run out
    return repr([(key, readers[kind](key)) for key, kind in there.items()])


def told_by(events: requests.Response) -> str:
    """Return what a stream of events had told when the web interface was stopped."""
    told = []
    with suppress(requests.RequestException):
        for chunk in events.iter_content(None):
            told.append(chunk)
    return b"".join(told).decode()


def commands_said(consumer: DownloadConsumer) -> str:
    """Return what the commands that look at a service print, of its own configuration."""
    program = [*AS_USER, sys.executable, "-m", "biomaj_download.cli"]
    said = [
        subprocess.run(
            [*program, *words],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=consumer.folder,
            env={**os.environ, **consumer.environment()},
            check=False,
        )
        for words in (["check"], ["dead", "list", "--json"], ["dead", "show"])
    ]
    return "\n".join(done.stdout + done.stderr for done in said)


def rest_said(url: str, session: str) -> str:
    """Return what the web interface answers, to who has the token and to who has another."""
    routes = f"{url}/api/download"
    view = f"sessions/bank/{session}"
    old = (f"error/download/bank/{session}", f"status/download/bank/{session}")
    new = ("overview", "sessions", view, f"{view}/files", "errors", "queue", "dead")
    return "\n".join(
        requests.get(
            f"{routes}/{path}", headers={"Authorization": f"Bearer {token}"}, timeout=10
        ).text
        for path in (*old, *new)
        for token in (TOKEN, f"{SECRET}-wrong-token")
    )


@pytest.fixture
def published(rabbitmq):
    """Return all events that RabbitMQ got until so many files had ended."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(QUEUE, "topic", durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, QUEUE, "#")

        def heard(number):
            heard, ends = [], 0
            for _ in poll(30):
                while (event := channel.basic_get(queue, auto_ack=True))[0]:
                    heard.append(event)
                    ends += event[1].type in ("finished", "failed")
                if ends >= number:
                    return heard
            raise AssertionError(f"expected the ends of {number} files, got {ends}")

        yield heard
        channel.exchange_delete(QUEUE)


@pytest.fixture
def service(rabbitmq, redis_server, sections, tmp_path):
    """A consumer and the web interface, of an ordinary user; with accounts in its environment."""
    environment = {
        "https_proxy": f"http://me:{SECRET}-environment@127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer {SECRET}-collector",
    }
    home = tmp_path / "home"
    for folder in (home, tmp_path / "state"):
        folder.mkdir()
        os.chown(folder, USER_ID, USER_ID)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    consumer = DownloadConsumer(rabbitmq, redis_server, sections, environment=environment)
    web = DownloadWeb(rabbitmq, redis_server, sections, environment=environment)
    for process in (consumer, web):
        process._prefix = AS_USER
        os.chown(process.folder, USER_ID, USER_ID)
    netrc = consumer.folder / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}-netrc")
    netrc.chmod(0o600)
    os.chown(netrc, USER_ID, USER_ID)
    with consumer, web:
        yield consumer, web


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a service as another user")
def test_passwords_come_out_of_no_door(
    rabbitmq,
    redis_server,
    faulty_http,
    ftp_server,
    ssh_server,
    rsync_server,
    service,
    collected,
    published,
    sections,
    tmp_path,
):
    consumer, web = service
    faulty_http.add("/a.dat", Answer(body=b"data"))
    faulty_http.add("/form/a.dat", Answer(body=b"data"))
    for server in (ftp_server, ssh_server, rsync_server):
        (server.root / "there.dat").write_bytes(b"data")
    faulty_http.add("/denied.dat", Answer(status=401))
    home, state = tmp_path / "home", tmp_path / "state"
    key_file = locked_key(tmp_path, f"{SECRET}-phrase")
    asked = askings(faulty_http, ftp_server, ssh_server, rsync_server, key_file)
    as_us = {"Authorization": f"Bearer {TOKEN}"}
    routes = f"{web.url}/api/download"
    session = requests.post(f"{routes}/session/bank", timeout=10).json()["session"]
    bodies = list(messages(asked, session, home))
    too_long = replace(asked[0], name="n" * 5000, server=f"me:{SECRET}-dead@h")
    bodies_that_die = [*messages([too_long], session, home), f"no message: {SECRET}-body".encode()]
    with (
        CommandLines() as lines,
        requests.get(f"{routes}/events", headers=as_us, stream=True, timeout=5) as events,
        pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection,
    ):
        channel = connection.channel()
        for body in (*bodies, *bodies_that_die):
            channel.basic_publish("", QUEUE, body, pika.BasicProperties(message_id=str(uuid4())))
        for _ in poll(60):
            url = f"{routes}/status/download/bank/{session}"
            status = requests.get(url, timeout=10).json()
            letters = requests.get(f"{routes}/dead", headers=as_us, timeout=10).json()
            if status["progress"] >= len(bodies) and letters["total"] == len(bodies_that_die):
                break
        metrics = [
            requests.get(url, timeout=10).text
            for url in (f"{web.url}/metrics", f"http://{sections['metrics']['listen']}/metrics")
        ]
        with redis.Redis(redis_server.host, redis_server.port) as client:
            kept = contents_of(client)
        said = {
            "answers": rest_said(web.url, session),
            "metrics": repr(metrics),
            "Redis": kept,
            "commands": commands_said(consumer),
            "command lines": "\n".join(lines.seen),
            "published events": repr(published(len(bodies))),
        }
        consumer.stop()
        web.stop()
        said["events"] = told_by(events)
        said["dead letters' headers"] = repr(
            [channel.basic_get(f"{QUEUE}.dead", auto_ack=True)[1].headers for _ in bodies_that_die]
        )
        channel.queue_delete(QUEUE)
        channel.queue_delete(f"{QUEUE}.dead")
    files = [path for top in (home, state) for path in top.rglob("*")]
    said |= {
        "consumer's log": consumer.log(),
        "web's log": web.log(),
        "spans": repr(collected.bodies),
        "names": repr(files),
        "state": repr([path.read_bytes() for path in state.rglob("*") if path.is_file()]),
        "records": repr([path.read_bytes() for path in home.rglob("*.kept")]),
    }

    assert status["progress"] >= len(bodies)
    assert 0 < status["errors"] < len(bodies)
    hidden = spellings(f"{SECRET}-") | {
        server.password for server in (rabbitmq, ftp_server, ssh_server, rsync_server)
    }
    found = {
        door: text[max(text.index(secret) - 150, 0) :][:300]
        for door, text in said.items()
        for secret in hidden
        if secret in text
    }
    assert found == {}
    for door, sign in {
        "answers": "over proxy",
        "events": session,
        "commands": "name",
        "command lines": "rsync",
        "spans": "access-denied",
        "dead letters' headers": "reason",
    }.items():
        assert sign in said[door]
    assert {headers.get("authorization") for headers in collected.headers} == {
        f"Bearer {SECRET}-collector"
    }
    names = {path.name for path in files}
    assert {f"{name}-straight.dat" for name in ("ftp", "sftp", "rsync")} <= names
    everything = [path.lstat() for path in files]
    assert {fact.st_uid for fact in everything} == {USER_ID}
    assert not any(
        fact.st_mode & WRITABLE_BY_ALL for fact in everything if not stat.S_ISLNK(fact.st_mode)
    )
