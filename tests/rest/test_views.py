"""What people look at."""

from __future__ import annotations

import pytest

from biomaj_download.biomaj_download_web import create_app
from biomaj_download.broker.queue_file import QueueFile
from biomaj_download.rest.describing import description_of
from biomaj_download.settings import RedisSettings
from biomaj_download.store.activity_redis import RedisActivity
from tests.rest.conftest import ended, tell

BASE = "/api/download"


def test_overview_tells_all_at_once(client, session):
    told = client.get(f"{BASE}/overview").json

    assert told["sessions_total"] == 1
    (seen,) = told["sessions"]
    counts = {name: seen[name] for name in ("expected", "done", "failed", "received_bytes")}
    assert counts == {"expected": 3, "done": 1, "failed": 1, "received_bytes": 10}
    assert [file["name"] for file in told["running"]] == ["c"]
    assert [consumer["name"] for consumer in told["consumers"]] == ["here:1"]
    assert [file["name"] for file in told["errors"]] == ["b"]
    assert told["queue"] == {"messages": 0, "consumers": None, "dead_letters": 0, "error": None}
    assert len(told["speed"]["bytes"]) == 360
    assert sum(told["speed"]["bytes"]) == 10


def test_a_session_tells_what_runs_of_it(client, session):
    told = client.get(f"{BASE}/sessions/bank/{session}").json

    assert told["session"] == session
    assert told["bytes_per_second"] == 5
    assert [file["name"] for file in told["running_files"]] == ["c"]
    assert told["running_files"][0]["begun_at"].endswith("Z")


def test_sessions_are_those_of_a_bank(client, session):
    assert client.get(f"{BASE}/sessions?bank=bank").json["total"] == 1
    assert client.get(f"{BASE}/sessions?bank=other").json == {"sessions": [], "total": 0}


@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_session_that_is_not_open_is_a_problem(client, method):
    answer = getattr(client, method)(f"{BASE}/sessions/bank/none")

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    assert answer.json["title"] == "Not Found"
    assert answer.json["detail"] == answer.json["error"]
    assert "bank/none" in answer.json["detail"]


def test_files_are_paged_newest_first(client, activity, store):
    session = store.create_session("bank")
    tell(activity, session, [ended(session, f"f{number}") for number in range(5)])
    url = f"{BASE}/sessions/bank/{session}/files"

    first = client.get(f"{url}?limit=3").json
    rest = client.get(f"{url}?limit=3&offset={first['next_offset']}").json

    assert [file["name"] for file in first["files"]] == ["f4", "f3", "f2"]
    assert [file["name"] for file in rest["files"]] == ["f1", "f0"]
    assert (first["total"], rest["next_offset"]) == (5, None)


def test_files_are_chosen_by_state_and_text(client, session):
    url = f"{BASE}/sessions/bank/{session}/files"

    assert [file["name"] for file in client.get(f"{url}?state=done").json["files"]] == ["a"]
    assert [file["name"] for file in client.get(f"{url}?q=LOST").json["files"]] == ["b"]


def test_errors_are_those_of_all_sessions_or_of_one(client, session):
    for query in (
        "",
        "?bank=bank",
        f"?bank=bank&session={session}",
        f"?session={session}",
        "?q=lost",
    ):
        told = client.get(f"{BASE}/errors{query}").json
        assert [file["name"] for file in told["errors"]] == ["b"], query
    assert client.get(f"{BASE}/errors?q=nowhere").json["errors"] == []


@pytest.mark.parametrize(
    "path",
    [
        "sessions?limit=0",
        "sessions?offset=x",
        "errors?nosuch=1",
        "dead?limit=-1",
    ],
)
def test_a_wrong_argument_is_named(client, path):
    answer = client.get(f"{BASE}/{path}")

    assert answer.status_code == 422
    assert answer.json["code"] == "bad-request"
    assert path.partition("?")[2].partition("=")[0] in answer.json["detail"]


def test_a_session_is_cancelled(client, store, session):
    assert client.delete(f"{BASE}/sessions/bank/{session}").status_code == 204

    assert not store.progress("bank", session).is_open


@pytest.fixture
def dead_letter(tmp_path) -> str:
    """The id of the one dead letter."""
    file = QueueFile(tmp_path / "queue.sqlite", survives_power_cut=False)
    file.put([(b"noise", "m1")])
    with file.transaction():
        (claimed,) = file.claim(1, 1)
        file.bury(claimed.id, "it is noise")
    (id_,) = file.dead_ids()
    file.close()
    return id_


def test_dead_letters_are_listed_and_put_back(client, dead_letter):
    listed = client.get(f"{BASE}/dead").json
    url = f"{BASE}/dead/{dead_letter}/requeue"
    refused = client.post(url, data="x=1", content_type="application/x-www-form-urlencoded")
    answer = client.post(url, json={})

    assert listed["total"] == 1
    assert listed["dead_letters"][0]["reason"] == "it is noise"
    assert refused.status_code == 415
    assert answer.json == {"requeued": dead_letter}
    assert client.post(url, json={}).status_code == 404


def test_a_dead_letter_is_dropped_once(client, dead_letter):
    assert client.delete(f"{BASE}/dead/{dead_letter}").status_code == 204
    assert client.delete(f"{BASE}/dead/{dead_letter}").status_code == 404


def test_a_store_that_is_away_is_a_problem(settings, store):
    activity = RedisActivity(RedisSettings(host="127.0.0.1", port=1))
    client = create_app(settings, store=store, activity=activity).test_client()

    answer = client.get(f"{BASE}/overview")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json["code"] == "store"
    activity.close()


def test_every_route_is_described(make_app):
    app = make_app()

    undescribed = [
        str(rule)
        for rule in app.url_map.iter_rules()
        if description_of(app, rule.endpoint) is None
        and not str(rule).startswith(("/page", "/index"))
        and str(rule) != "/"
    ]

    assert undescribed == []
