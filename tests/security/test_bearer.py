from __future__ import annotations

from contextlib import suppress

import pytest

from biomaj_download.bearer import Bearer, BearerSession
from biomaj_download.client.session import TOKEN_VARIABLE, ServiceSession
from biomaj_download.command.service import Service
from biomaj_download.errors import ConfigError, DownloadError
from tests.servers.faulty_http import Answer


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    """The account of a databank on the same host."""
    path = tmp_path / ".netrc"
    account = "login me password of-a-databank"
    path.write_text(f"machine 127.0.0.1 {account}\nmachine localhost {account}\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


def ask_by_session(url):
    ServiceSession(url, "bank").open()


def ask_by_command(url):
    Service(url, "the-token").overview()


def ask_as_reporter(url):
    with BearerSession("the-token") as session:
        session.get(url)


@pytest.mark.parametrize("ask", [ask_by_session, ask_by_command, ask_as_reporter])
def test_a_token_is_not_replaced_by_the_account_of_netrc(ask, netrc, faulty_http, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "the-token")
    with suppress(DownloadError):  # it has no such route
        ask(f"http://{faulty_http.host}:{faulty_http.port}")

    assert faulty_http.requests[0].headers["Authorization"] == "Bearer the-token"


def ask_by_command_without_a_token(url):
    Service(url, None).overview()


def ask_as_tracer(url):
    with BearerSession(None) as session:
        session.get(url)


@pytest.mark.parametrize("ask", [ask_by_session, ask_by_command_without_a_token, ask_as_tracer])
def test_without_a_token_the_account_of_netrc_goes_nowhere(ask, netrc, faulty_http, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with suppress(DownloadError):
        ask(faulty_http.url)

    assert "Authorization" not in faulty_http.requests[0].headers


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", "Bearer the-token"), ("localhost", None)]
)
def test_a_redirect_keeps_the_token_on_its_host_and_takes_no_account(
    netrc, faulty_http, host, expected
):
    location = f"http://{host}:{faulty_http.port}/there"
    faulty_http.add("/here", Answer(status=307, headers={"Location": location}))

    with BearerSession("the-token") as session:
        session.get(f"{faulty_http.url}/here")

    (there,) = faulty_http.requests_for("/there")
    assert there.headers.get("Authorization") == expected


@pytest.mark.parametrize("token", [None, "the-token"])
def test_an_account_in_the_url_is_used(token, netrc, faulty_http):
    with BearerSession(token) as session:
        session.get(f"http://proxy:pw@{faulty_http.host}:{faulty_http.port}/")

    assert faulty_http.requests[0].headers["Authorization"] == "Basic cHJveHk6cHc="


def test_a_token_comes_without_the_end_of_its_line(faulty_http):
    with BearerSession("the-token\n") as session:
        session.get(faulty_http.url)

    assert faulty_http.requests[0].headers["Authorization"] == "Bearer the-token"


@pytest.mark.parametrize("token", ["the-first\nthe-second", "t\u014dken"])
def test_a_token_that_fits_no_header_is_refused_and_not_shown(token):
    with pytest.raises(ConfigError, match=r"web\.token") as raised:
        Bearer(token)

    assert token not in str(raised.value)
