"""Passwords go in at every door of a service that runs as an ordinary user, and come out of none.

What BioMAJ's protocol has in the clear is named in SECURITY.md: messages, waiting or dead.
"""

from __future__ import annotations

import base64
import os
import stat
import threading
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pika
import pytest
import redis
import requests

from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from tests.servers.biomaj import DownloadConsumer, DownloadWeb
from tests.servers.faulty_http import Answer
from tests.servers.process import free_port, poll

#: An account that is nobody's.
USER_ID = 54_321
#: It may read what root may: the interpreter of a test may lie in root's home.
AS_USER = (
    *("setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
SECRET = "planted"
QUEUE = "passwords-in"
ONCE = {"stop_condition": "stop_after_attempt(1)", "verify": "off", "ssh_new_host": "accept"}
WRITABLE_BY_ALL = 0o002


def spellings(secret: str) -> set[str]:
    """Return how a secret may be written down."""
    return {
        secret,
        quote(secret),
        *(base64.b64encode(secret.encode()[n:])[:8].decode() for n in (0, 1, 2)),
    }


def requests_for(faulty_http, ftp_server, ssh_server, rsync_server, session, folder):
    """Return a request for each protocol, with passwords wherever a message may have some."""
    dead = f"127.0.0.1:{free_port()}"
    http = f"{faulty_http.host}:{faulty_http.port}"
    places = [
        ("HTTP", http, "/", "a.dat", {}),
        ("HTTP", http, "/", "denied.dat", {}),
        ("HTTP", f"me:{SECRET}-url@{http}", "/", "a.dat", {}),
        ("HTTP", f"me:{SECRET}-url@{dead}", "/", "a.dat", {}),
        ("DIRECTHTTP", http, "/form", "form.dat", {"token": f"{SECRET}-token"}),
        ("DIRECTHTTP", http, "/denied.dat", "form.dat", {"token": f"{SECRET}-token"}),
        ("FTP", f"{ftp_server.host}:{ftp_server.port}", "/", "a.dat", {}),
        ("FTP", dead, "/", "a.dat", {}),
        ("SFTP", f"{ssh_server.host}:{ssh_server.port}", "/", "a.dat", {}),
        ("RSYNC", rsync_server.url, "/", "a.dat", {}),
        ("RSYNC", f"{rsync_server.host}", "/nowhere", "a.dat", {}),
        ("IRODS", dead, "/zone/", "a.dat", {"user": "me", "password": f"{SECRET}-irods"}),
        ("LOCAL", "localhost", "/nowhere", "a.dat", {}),
    ]
    accounts = {  # with which files come
        number: f"{server.user}:{server.password}"
        for number, server in enumerate((ftp_server, ssh_server, rsync_server), len(places))
    }
    ssh_place = f"{ssh_server.host}:{ssh_server.port}"
    places += [
        ("FTP", f"{ftp_server.host}:{ftp_server.port}", "/", "there.dat", {}),
        ("SFTP", ssh_place, f"{ssh_server.root}/", "there.dat", {}),
        ("RSYNC", rsync_server.url, "/", "there.dat", {}),
    ]
    for number, (protocol, server, remote_dir, name, parameters) in enumerate(places):
        for proxy in (None, f"http://me:{SECRET}-proxy@{dead}"):
            operation = new_operation(
                Kind.DOWNLOAD, bank="bank", session=session, local_dir=str(folder)
            )
            download = operation.download
            download.options.update(ONCE)
            remote_file = download.remote_file
            remote_file.protocol = wire.DownloadFile.Protocol.Value(protocol)
            remote_file.server, remote_file.remote_dir = server, remote_dir
            remote_file.credentials = accounts.get(number, f"me:{SECRET}-account")
            remote_file.files.add(name=name, save_as=f"{number}-{proxy is None}.dat")
            for key, value in parameters.items():
                remote_file.param.add(name=key, value=value)
            if proxy:
                download.proxy.proxy, download.proxy.proxy_auth = proxy, f"me:{SECRET}-proxy"
            yield operation


@pytest.fixture
def sections(redis_server, tmp_path):
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
            "events": {"exchange": QUEUE},
            "worker": {"processes": 2},
            "log_config": {"root": {"level": "DEBUG", "handlers": ["console"]}},
        }
        client.acl_deluser(SECRET)


class CommandLines:
    """Everything that was a word of a command of that user meanwhile."""

    def __enter__(self):
        self.seen: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _look(self):
        while not self._ended.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if path.stat().st_uid != USER_ID:
                        continue
                    self.seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:  # it has ended
                    continue


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
    keys = list(client.scan_iter(f"{QUEUE}*"))
    assert keys
    return repr([(key, readers[client.type(key)](key)) for key in keys])


def dead_letter(channel):
    """Return the properties of the message that was set aside."""
    for _ in poll(30):
        properties = channel.basic_get(f"{QUEUE}.dead", auto_ack=True)[1]
        if properties:
            return properties
    raise AssertionError("expected a dead letter, got none in 30 seconds")


@pytest.fixture
def events(rabbitmq):
    """Return all events that were published until so many files had ended."""
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a service as another user")
def test_passwords_come_out_of_no_door(
    rabbitmq,
    redis_server,
    faulty_http,
    ftp_server,
    ssh_server,
    rsync_server,
    sections,
    events,
    tmp_path,
):
    faulty_http.add("/a.dat", Answer(body=b"data"))
    faulty_http.add("/form/form.dat", Answer(body=b"data"))
    for server in (ftp_server, ssh_server, rsync_server):
        (server.root / "there.dat").write_bytes(b"data")
    faulty_http.add("/denied.dat", Answer(status=401))
    home = tmp_path / "home"
    for folder in (home, tmp_path / "state"):
        folder.mkdir()
        os.chown(folder, USER_ID, USER_ID)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    consumer = DownloadConsumer(rabbitmq, redis_server, sections)
    web = DownloadWeb(rabbitmq, redis_server, sections)
    for process in (consumer, web):
        process._prefix = AS_USER
        os.chown(process.folder, USER_ID, USER_ID)
    (consumer.folder / ".netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}-netrc")
    parameters = pika.URLParameters(rabbitmq.url)
    with consumer, web, CommandLines() as lines:
        routes = f"{web.url}/api/download"
        session = requests.post(f"{routes}/session/bank", timeout=10).json()["session"]
        operations = list(
            requests_for(faulty_http, ftp_server, ssh_server, rsync_server, session, home)
        )
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            for operation in operations:
                body = operation.SerializeToString()
                channel.basic_publish(
                    "", QUEUE, body, pika.BasicProperties(message_id=str(uuid4()))
                )
            channel.basic_publish("", QUEUE, f"no message: {SECRET}-body".encode())
            status: dict[str, object] = {}
            for _ in poll(60):
                url = f"{routes}/status/download/bank/{session}"
                status = requests.get(url, timeout=10).json()
                if status["progress"] == len(operations):
                    break
            letter = dead_letter(channel)
            answers = [
                requests.get(f"{routes}/{path}", timeout=10).text
                for path in (f"error/download/bank/{session}", f"status/download/bank/{session}")
            ]
            metrics = [
                requests.get(url, timeout=10).text
                for url in (f"{web.url}/metrics", f"http://{sections['metrics']['listen']}/metrics")
            ]
            with redis.Redis(redis_server.host, redis_server.port) as client:
                kept = contents_of(client)
            files = [path for top in (home, tmp_path / "state") for path in top.rglob("*")]
            said = {
                "consumer's log": consumer.log(),
                "web's log": web.log(),
                "answers": repr(answers),
                "metrics": repr(metrics),
                "Redis": kept,
                "dead letter's headers": repr(letter.headers),
                "events": repr(events(len(operations))),
                "command lines": "\n".join(lines.seen),
                "names": repr(files),
                "state": repr(
                    [p.read_bytes() for p in (tmp_path / "state").rglob("*") if p.is_file()]
                ),
                "records": repr([p.read_bytes() for p in home.rglob("*.kept")]),
            }
            channel.queue_delete(QUEUE)
            channel.queue_delete(f"{QUEUE}.dead")

    assert status["progress"] == len(operations)
    assert 0 < status["errors"] < len(operations)
    hidden = spellings(f"{SECRET}-") | {
        server.password for server in (rabbitmq, ftp_server, ssh_server, rsync_server)
    }
    found = {
        door: next(line for line in text.splitlines() if secret in line)[:2000]
        for door, text in said.items()
        for secret in hidden
        if secret in text
    }
    assert found == {}
    assert any("rsync" in words for words in lines.seen)
    names = {path.name for path in files}
    assert {"13-True.dat", "14-True.dat", "15-True.dat"} <= names
    everything = [path.lstat() for path in files]
    assert {fact.st_uid for fact in everything} == {USER_ID}
    assert not any(
        fact.st_mode & WRITABLE_BY_ALL for fact in everything if not stat.S_ISLNK(fact.st_mode)
    )
