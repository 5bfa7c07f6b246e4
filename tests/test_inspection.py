from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from biomaj_download.broker.dead import DeadLetter
from biomaj_download.inspection import summary, whole
from biomaj_download.message import downmessage_pb2 as wire

SECRET = "h1dden"


def letter_of(body, **values):
    given = {"id": "0" * 32, "reason": "no request", "message_id": "m"} | values
    return DeadLetter(body=body, **given)


@pytest.fixture
def operation():
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    download = operation.download
    download.bank, download.session, download.local_dir = "bank", "session", "/db"
    remote = download.remote_file
    remote.protocol, remote.server, remote.remote_dir = wire.DownloadFile.HTTPS, "host", "/dir"
    remote.files.add(name="a.gz", root="/dir").metadata.size = 5_000_000_000
    remote.files.add(name="b.gz")
    remote.matches.append(r"^(?P<release>=[a-z]+)?@.*$")
    return operation


def test_a_summary_says_whose_request_it_was(operation):
    died_at = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
    body = operation.SerializeToString()

    shown = summary(letter_of(body, died_at=died_at))

    assert shown == {
        "id": "0" * 32,
        "died_at": "2024-05-01T12:00:00+00:00",
        "reason": "no request",
        "message_id": "m",
        "size_bytes": len(body),
        "type": "DOWNLOAD",
        "bank": "bank",
        "session": "session",
        "protocol": "HTTPS",
        "server": "host",
        "files": ["a.gz", "b.gz"],
        "file_count": 2,
    }


def test_a_summary_names_the_first_of_many_files(operation):
    for number in range(300):
        operation.download.remote_file.files.add(name=f"{number}.gz")

    shown = summary(letter_of(operation.SerializeToString()))

    assert (len(shown["files"]), shown["file_count"]) == (100, 302)


def test_a_whole_letter_shows_the_message_as_it_was_sent(operation):
    operation.download.options["max_connections"] = "4"
    operation.download.remote_file.param.add(name="zone", value="tempZone")

    shown = whole(letter_of(operation.SerializeToString(), headers={"trace": 1}))

    download = shown["message"]["download"]
    assert shown["headers"] == {"trace": 1}
    assert download["local_dir"] == "/db"
    assert download["options"] == {"max_connections": "4"}
    assert download["remote_file"]["param"] == {"zone": "tempZone"}
    assert download["remote_file"]["matches"] == [r"^(?P<release>=[a-z]+)?@.*$"]
    assert "first_bytes" not in shown


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff" * 3000, bytes(16 * 2**20), b"\x7a\x03abc"],
    ids=["empty", "noise", "zeros", "unknown"],
)
def test_what_is_no_message_is_shown_by_its_first_bytes(body):
    letter = letter_of(body)

    shown = whole(letter)

    assert shown["message"] is None
    assert shown["first_bytes"] == body[:64].hex(" ")
    assert shown["size_bytes"] == len(body)
    assert (summary(letter)["bank"], summary(letter)["files"]) == (None, [])


def test_a_message_that_lacks_fields_or_holds_odd_text_is_shown_as_far_as_it_goes(operation):
    operation.download.remote_file.ClearField("server")
    body = operation.SerializePartialToString().replace(b"session", b"se\xff\xfe\x1bon")

    shown = summary(letter_of(body))

    assert shown["bank"] in {"bank", None}
    assert json.dumps(shown)


def test_an_option_whose_name_is_no_text_makes_the_message_none(operation):
    operation.download.options["name"] = "value"
    body = operation.SerializeToString().replace(b"name", b"na\xff\xfe")

    assert whole(letter_of(body))["message"] is None


def put_credentials(operation):
    operation.download.remote_file.credentials = f"user:{SECRET}"


def put_proxy_auth(operation):
    operation.download.proxy.proxy = "proxy:3128"
    operation.download.proxy.proxy_auth = f"user:{SECRET}"


def put_proxy_account(operation):
    operation.download.proxy.proxy = f"user:{SECRET}@proxy:3128"


def put_server_account(operation):
    operation.download.remote_file.server = f"user:{SECRET}@host"


def put_odd_account(operation):
    operation.download.remote_file.files[0].url = f"https://user:a@/{SECRET}@host/a.gz"


def put_query(operation):
    operation.download.remote_file.files[0].url = f"https://host/a.gz?X-Signature={SECRET}"


def put_query_in_a_name(operation):
    operation.download.remote_file.files[0].name = f"get?file=a.gz&id={SECRET}"


def put_password_parameter(operation):
    operation.download.remote_file.param.add(name="password", value=SECRET)


def put_options(operation):
    for name in ("Password", "ssh_key_file", "api-token", "client_secret", "http_auth", "PASS"):
        operation.download.options[name] = SECRET
    operation.download.options["proxy"] = f"http://user:{SECRET}@proxy"


def put_command(operation):
    operation.process.exec = f"load --password {SECRET}"


@pytest.mark.parametrize(
    "put",
    [
        put_credentials,
        put_proxy_auth,
        put_proxy_account,
        put_server_account,
        put_odd_account,
        put_query,
        put_query_in_a_name,
        put_password_parameter,
        put_options,
        put_command,
    ],
)
def test_no_secret_of_a_message_is_shown(operation, put):
    put(operation)
    letter = letter_of(operation.SerializeToString())

    assert SECRET not in json.dumps([whole(letter), summary(letter)])
    assert "***" in json.dumps(whole(letter))


def test_no_secret_of_headers_or_reason_is_shown():
    headers = {
        "authorization": SECRET,
        "origin": f"ftp://user:{SECRET}@host/",
        "x-death": [{"count": 1, "time": datetime(2024, 5, 1), "token": SECRET}],
    }
    letter = letter_of(b"", headers=headers, reason=f"https://u:{SECRET}@host/a: no request")

    shown = whole(letter)

    assert SECRET not in json.dumps([shown, summary(letter)])
    assert shown["headers"]["x-death"][0]["count"] == 1
    assert shown["reason"] == "https://***@host/a: no request"
