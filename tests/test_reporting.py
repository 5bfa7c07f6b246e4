from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from biomaj_download import reporting
from biomaj_download.errors import Stalled
from biomaj_download.job import Job, Kind
from biomaj_download.reporting import Reporter
from biomaj_download.settings import Settings, WebSettings


@pytest.fixture
def job() -> Job:
    return Job(
        kind=Kind.DOWNLOAD,
        bank="bank",
        session="1",
        local_dir=Path("/tmp"),
        protocol="http",
        server="example.org",
        remote_dir="/",
    )


@pytest.fixture
def received():
    """A web interface that keeps what is posted to it."""
    posts: list[tuple[str, list[dict[str, object]]]] = []

    class Web(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    posts_and_url = posts, f"http://127.0.0.1:{server.server_port}"
    yield posts_and_url
    server.shutdown()
    thread.join()
    server.server_close()


def test_reporter_posts_many_files_in_one_request(received, job):
    posts, url = received
    reporter = Reporter(Settings(web=WebSettings(local_endpoint=url)))

    for _ in range(50):
        reporter.ended(job, [{"size": 3, "download_time": 0.5}], None)
    reporter.ended(job, [], Stalled("no byte"))
    reporter.close()

    assert {path for path, _ in posts} == {"/api/download/metrics"}
    assert len(posts) <= 2
    entries = [entry for _, batch in posts for entry in batch]
    assert entries[:1] == [{"bank": "bank", "host": "example.org", "size": 3, "download_time": 0.5}]
    failed = {"error": "stalled", "size": 0, "download_time": 0}
    assert entries[-1] == {"bank": "bank", "host": "example.org", **failed}
    assert len(entries) == 51


def test_what_ends_while_reports_are_posted_waits_for_the_next_time(received, job, monkeypatch):
    monkeypatch.setattr(reporting, "POST_EVERY_SECONDS", 60)
    posts, url = received
    reporter = Reporter(Settings(web=WebSettings(local_endpoint=url)))
    post = requests.Session.post

    def post_and_end_another(*arguments: object, **named: object) -> requests.Response:
        reporter.ended(job, [{"size": 3, "download_time": 0.5}], None)
        return post(*arguments, **named)

    monkeypatch.setattr(requests.Session, "post", post_and_end_another)

    reporter.ended(job, [{"size": 3, "download_time": 0.5}], None)
    reporter.close()

    assert [len(batch) for _, batch in posts] == [1]


def test_reporter_posts_nothing_when_prometheus_is_off(received, job):
    posts, url = received
    reporter = Reporter(Settings(web=WebSettings(local_endpoint=url), prometheus=False))

    reporter.ended(job, [{"size": 3, "download_time": 0.5}], None)
    reporter.close()

    assert posts == []


def test_reporter_survives_a_web_interface_that_is_away(job, monkeypatch, caplog):
    monkeypatch.setattr(reporting, "POST_EVERY_SECONDS", 0.05)
    reporter = Reporter(Settings(web=WebSettings(local_endpoint="http://127.0.0.1:1")))

    reporter.ended(job, [{"size": 3, "download_time": 0.5}], None)
    reporter.close()

    assert "metrics not posted" in caplog.text


def test_a_password_in_the_address_is_not_logged(job, faulty_http, caplog):
    url = f"http://me:secret@{faulty_http.host}:{faulty_http.port}"
    reporter = Reporter(Settings(web=WebSettings(local_endpoint=url)))

    reporter.ended(job, [{"size": 3, "download_time": 0.5}], None)
    reporter.close()

    assert "metrics not posted" in caplog.text
    assert "404" in caplog.text
    assert "secret" not in caplog.text


def test_reporter_tells_its_callbacks_bank_and_files(job):
    told = []
    reporter = Reporter(Settings())
    reporter.add_callback(lambda bank, files: told.append((bank, list(files))))

    reporter.ended(job, [{"name": "a"}], None)
    reporter.close()

    assert told == [("bank", [{"name": "a"}])]


def test_a_callback_that_fails_costs_no_more(job, caplog):
    told = []
    reporter = Reporter(Settings())
    reporter.add_callback(lambda bank, files: 1 / 0)
    reporter.add_callback(lambda bank, files: told.append(bank))

    reporter.ended(job, [], None)

    assert told == ["bank"]
    assert "callback failed" in caplog.text
