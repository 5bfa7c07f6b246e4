"""Who may call."""

from __future__ import annotations

import pytest

from biomaj_download.errors import ConfigError
from biomaj_download.rest.headers import HEADERS
from tests.rest.conftest import TOKEN

BASE = "/api/download"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer é"},
    ],
)
def test_a_token_is_wanted_by_new_routes_and_not_by_old_ones(make_app, headers):
    client = make_app(token=TOKEN).test_client()

    refused = client.get(f"{BASE}/overview", headers=headers)

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].lower().startswith("bearer")
    assert TOKEN not in refused.text
    assert client.get(f"{BASE}/overview", headers=RIGHT).status_code == 200
    assert client.post(f"{BASE}/session/bank").status_code == 200
    assert client.get("/healthz").status_code == 200


def test_a_token_may_be_wanted_by_old_routes_too(make_app):
    client = make_app(token=TOKEN, token_for_old_routes=True).test_client()

    assert client.post(f"{BASE}/session/bank").status_code == 401
    assert client.post(f"{BASE}/session/bank", headers=RIGHT).status_code == 200
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "web", [{"token": "short"}, {"token": "t\u014d" * 16}, {"token_for_old_routes": True}]
)
def test_a_token_that_guards_nothing_is_refused(make_app, web):
    with pytest.raises(ConfigError, match=r"web\.token"):
        make_app(**web)


@pytest.mark.parametrize(
    ("headers", "peer"),
    [
        ({}, "192.0.2.1"),
        ({"Host": "attacker.example"}, "127.0.0.1"),  # whose name server points here
        ({"Host": "[::1"}, "127.0.0.1"),
        ({"X-Forwarded-For": "127.0.0.1"}, "127.0.0.1"),
        ({"X-Forwarded-For": "127.0.0.1"}, "192.0.2.1"),
        ({"Forwarded": "for=127.0.0.1"}, "127.0.0.1"),
        ({"Sec-Fetch-Site": "cross-site"}, "127.0.0.1"),
        ({"Sec-Fetch-Site": "same-site"}, "127.0.0.1"),
        ({"Origin": "http://attacker.example"}, "127.0.0.1"),
        ({"Origin": "null"}, "127.0.0.1"),
        ({"Origin": "http://["}, "127.0.0.1"),
    ],
)
def test_without_a_token_this_machine_alone_changes_things(client, store, session, headers, peer):
    answer = client.delete(
        f"{BASE}/sessions/bank/{session}", headers=headers, environ_base={"REMOTE_ADDR": peer}
    )

    assert answer.status_code == 403
    assert answer.json["title"] == "Forbidden"
    assert store.progress("bank", session).is_open


@pytest.mark.parametrize(
    ("peer", "host"),
    [("127.0.0.1", "localhost:5000"), ("::1", "[::1]"), ("::ffff:127.0.0.1", "127.0.0.1")],
)
def test_this_machine_is_known_by_its_addresses(client, session, peer, host):
    answer = client.delete(
        f"{BASE}/sessions/bank/{session}",
        headers={"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"},
        environ_base={"REMOTE_ADDR": peer},
    )

    assert answer.status_code == 204


def test_a_token_lets_others_change_things_but_no_page_of_another_site(make_app, session):
    client = make_app(token=TOKEN).test_client()
    url, far = f"{BASE}/sessions/bank/{session}", {"REMOTE_ADDR": "192.0.2.1"}
    other_site = {**RIGHT, "Sec-Fetch-Site": "cross-site"}

    assert client.delete(url, headers=other_site, environ_base=far).status_code == 403
    assert client.delete(url, headers=RIGHT, environ_base=far).status_code == 204


def test_with_a_token_a_page_may_be_reached_by_another_name_than_the_service(make_app, session):
    client = make_app(token=TOKEN).test_client()
    proxied = {"Host": "127.0.0.1:5000", "Origin": "https://downloads.example.org"}

    answer = client.delete(
        f"{BASE}/sessions/bank/{session}",
        headers={**RIGHT, **proxied, "Sec-Fetch-Site": "same-origin"},
    )

    assert answer.status_code == 204


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:5000", 200),
        ("192.0.2.1", 200),
        ("[2001:db8::1]:5000", 200),
        ("localhost", 200),
        ("web:5000", 200),
        ("Downloads.example.org:443", 200),
        ("downloads.example.org.", 200),
        ("here.example.org", 200),
        ("endpoint.example.org", 200),
        ("attacker.example:5000", 403),  # whose name server points here
        ("re_bind.attacker.example:5000", 403),
        ("downloads.example.org.attacker.example", 403),
        ("127.0.0.1.attacker.example", 403),
        ("[::1", 200),
    ],
)
def test_without_a_token_nothing_is_shown_by_a_name_of_another(make_app, host, status):
    client = make_app(
        host_names=["downloads.example.org"],
        hostname="here.example.org",
        local_endpoint="http://endpoint.example.org:5000",
    ).test_client()
    headers = {"Host": host}

    answers = [client.get(f"{BASE}/{path}", headers=headers) for path in ("overview", "dead")]

    assert [answer.status_code for answer in answers] == [status] * 2
    assert client.post(f"{BASE}/session/bank", headers=headers).status_code == 200
    assert client.get("/healthz", headers=headers).status_code == 200
    if status == 403:
        assert "web.host_names" in answers[0].json["detail"]


def test_with_a_token_the_name_does_not_matter(make_app):
    client = make_app(token=TOKEN).test_client()

    answer = client.get(f"{BASE}/overview", headers={**RIGHT, "Host": "any.example"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path", [f"{BASE}", f"{BASE}/overview", "/nowhere", f"{BASE}/sessions/b/s"]
)
def test_every_answer_has_the_headers_of_safety(client, path):
    answer = client.get(path)

    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_a_body_that_is_too_long_is_refused(make_app):
    app = make_app()
    app.config["MAX_CONTENT_LENGTH"] = 10

    answer = app.test_client().post(f"{BASE}/metrics", data="[" + " " * 20 + "]")

    assert answer.status_code == 413
    assert answer.content_type == "application/problem+json"
