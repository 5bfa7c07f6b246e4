from __future__ import annotations

from contextlib import suppress

import pytest
import requests

from biomaj_download.bearer import Bearer
from biomaj_download.client.session import TOKEN_VARIABLE, ServiceSession
from biomaj_download.command.service import Service
from biomaj_download.errors import DownloadError


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    """The account of a databank on the same host."""
    path = tmp_path / ".netrc"
    path.write_text("machine 127.0.0.1 login me password of-a-databank")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


def ask_by_session(url):
    ServiceSession(url, "bank").open()


def ask_by_command(url):
    Service(url, "the-token").overview()


def ask_as_reporter(url):
    with requests.Session() as session:
        session.auth = Bearer("the-token")
        session.get(url)


@pytest.mark.parametrize("ask", [ask_by_session, ask_by_command, ask_as_reporter])
def test_a_token_is_not_replaced_by_the_account_of_netrc(ask, netrc, faulty_http, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "the-token")
    with suppress(DownloadError):  # it has no such route
        ask(f"http://{faulty_http.host}:{faulty_http.port}")

    assert faulty_http.requests[0].headers["Authorization"] == "Bearer the-token"


def test_without_a_token_the_account_of_netrc_goes_nowhere(netrc, faulty_http):
    with requests.Session() as session:
        session.auth = Bearer(None)
        session.get(f"http://{faulty_http.host}:{faulty_http.port}")

    assert "Authorization" not in faulty_http.requests[0].headers
