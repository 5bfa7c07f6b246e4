"""A service that wants its token for all routes, and our own programs that ask it."""

from __future__ import annotations

from contextlib import closing

import pytest
import requests

from biomaj_download.client.session import ServiceSession
from biomaj_download.errors import ServiceError
from biomaj_download.reporting import Reporter
from biomaj_download.settings import Settings, WebSettings
from tests.command.conftest import run, served
from tests.test_reporting import job

__all__ = ["job", "run"]
TOKEN = "a-token-of-the-tests"


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """A service at work that wants its token for its old routes, too."""
    monkeypatch.delenv("BIOMAJ_WEB_TOKEN", raising=False)
    with served(tmp_path / "data", token=TOKEN, token_for_old_routes=True) as url:
        yield url


def test_the_client_opens_and_cleans_its_session(guarded, monkeypatch):
    with closing(ServiceSession(guarded, "bank")) as session, pytest.raises(ServiceError):
        session.open()

    monkeypatch.setenv("BIOMAJ_WEB_TOKEN", TOKEN)
    with closing(ServiceSession(guarded, "bank")) as session:
        assert session.open()
        session.delete()


def test_the_consumer_posts_its_metrics(guarded, job):
    reporter = Reporter(Settings(web=WebSettings(local_endpoint=guarded, token=TOKEN)))

    reporter.ended(job, [{"size": 3, "download_time": 0.5}], None)
    reporter.close()

    told = requests.get(
        f"{guarded}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10
    )
    assert 'bank="bank"' in told.text


def test_commands_submit_and_ask(guarded, run, monkeypatch, faulty_http, tmp_path):
    monkeypatch.setenv("BIOMAJ_DOWNLOAD_URL", guarded)
    wanted = (f"{faulty_http.url}/db/a.dat", "-d", tmp_path / "home", "--detach")

    refused = run("submit", "bank", *wanted)
    monkeypatch.setenv("BIOMAJ_WEB_TOKEN", TOKEN)
    taken = run("submit", "bank", *wanted)
    seen = run("status")

    assert refused.exit_code != 0
    assert "BIOMAJ_WEB_TOKEN" in refused.stderr
    assert taken.exit_code == 0, taken.output
    assert "bank/" in seen.stdout
    assert TOKEN not in taken.output + seen.output
