from __future__ import annotations

from datetime import date

import pytest

from biomaj_download.errors import MessageError
from biomaj_download.job import HttpPatterns, Kind, RemoteFile
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import (
    DEFAULT_PATTERNS,
    UnreadableMessage,
    decode,
    decode_file_list,
    encode_file_list,
)


@pytest.fixture
def operation() -> wire.Operation:
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    download = operation.download
    download.bank, download.session, download.local_dir = "bank", "session", "/home"
    download.timeout_download = 7
    download.http_method = wire.DownloadFile.POST
    download.proxy.proxy, download.proxy.proxy_auth = "http://p", "me:pw"
    download.options["ftp_method"] = "nocwd"
    remote = download.remote_file
    remote.protocol, remote.server, remote.remote_dir = wire.DownloadFile.DIRECTHTTPS, "h", "/r"
    remote.credentials = "u:p"
    remote.param.add(name="a", value="b")
    file = remote.files.add(name="/a", root="/r", save_as="b", url="u")
    file.metadata.size, file.metadata.md5 = 5, "d41d8"
    file.metadata.year, file.metadata.month, file.metadata.day = 2024, 2, 29
    operation.trace.trace_id, operation.trace.span_id = "1", "2"
    return operation


def test_decode_reads_all_that_core_sends(operation):
    job = decode(operation.SerializeToString())

    assert (job.kind, job.bank, job.session, str(job.local_dir)) == (
        Kind.DOWNLOAD,
        "bank",
        "session",
        "/home",
    )
    assert (job.protocol, job.server, job.remote_dir) == ("directhttps", "h", "/r")
    assert (job.credentials, job.proxy, job.proxy_auth) == ("u:p", "http://p", "me:pw")
    assert (job.method, job.timeout_seconds, job.options) == ("POST", 7, {"ftp_method": "nocwd"})
    assert (job.params, job.trace_id, job.span_id) == ({"a": "b"}, "1", "2")
    (file,) = job.files
    assert (file.name, file.root, file.save_as, file.url) == ("/a", "/r", "b", "u")
    assert (file.size_bytes, file.md5, file.day) == (5, "d41d8", date(2024, 2, 29))


def test_decode_takes_default_patterns_for_none(operation):
    parse = operation.download.remote_file.http_parse
    for field in parse.DESCRIPTOR.fields:
        if field.name != "file_date_format":
            setattr(parse, field.name, getattr(parse, field.name))
    assert decode(operation.SerializeToString()).http_patterns is None

    parse.file_line = "mine"

    patterns = decode(operation.SerializeToString()).http_patterns
    assert patterns == HttpPatterns(dir_line=DEFAULT_PATTERNS.dir_line, file_line="mine")


def test_decode_leaves_unset_what_a_message_does_not_say(operation):
    download = operation.download
    for field in ("timeout_download", "http_method", "proxy"):
        download.ClearField(field)
    download.remote_file.files[0].ClearField("metadata")
    download.remote_file.files[0].ClearField("root")

    job = decode(operation.SerializePartialToString())

    assert (job.timeout_seconds, job.method, job.proxy) == (None, "GET", None)
    assert (job.files[0].size_bytes, job.files[0].day, job.files[0].root) == (None, None, "")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda op: op.ClearField("type"), "type"),
        (lambda op: setattr(op, "type", wire.Operation.PROCESS), "PROCESS"),
        (lambda op: op.download.ClearField("local_dir"), "local_dir"),
        (lambda op: op.download.remote_file.ClearField("server"), "server"),
        (lambda op: op.download.remote_file.ClearField("files"), "at least one file"),
        (lambda op: setattr(op, "type", wire.Operation.LIST), "at least one pattern"),
    ],
)
def test_decode_names_what_is_missing_and_whose_it_is(operation, spoil, expected):
    spoil(operation)

    with pytest.raises(UnreadableMessage, match=expected) as raised:
        decode(operation.SerializePartialToString())

    assert (raised.value.bank, raised.value.session) == ("bank", "session")


def test_decode_names_a_protocol_of_the_future(operation):
    body = operation.SerializeToString()
    known = operation.download.remote_file.SerializeToString()
    future = known.replace(b"\x10\x06", b"\x10\x63", 1)  # field 2, value 99
    assert future != known

    with pytest.raises(UnreadableMessage, match="protocol") as raised:
        decode(body.replace(known, future))

    assert raised.value.bank == "bank"


@pytest.mark.parametrize("body", [b"\xff\xff", b"noise" * 100])
def test_decode_refuses_what_is_no_message(body):
    with pytest.raises(UnreadableMessage, match=f"{len(body)} bytes"):
        decode(body)


def test_decode_refuses_an_empty_message():
    with pytest.raises(UnreadableMessage, match="type"):
        decode(b"")


def test_file_lists_come_back_as_they_went():
    files = (
        RemoteFile(
            name="/a/é",
            root="/r",
            save_as="b",
            size_bytes=5,
            size_is_exact=False,
            day=date(2024, 2, 29),
            hash="h",
            md5="m",
            permissions="-rw",
            group="g",
            format="f",
        ),
        RemoteFile(name="plain", size_is_exact=False),
    )

    assert decode_file_list(encode_file_list(files)) == files
    assert decode_file_list(b"") == ()
    with pytest.raises(UnreadableMessage):
        decode_file_list(b"\xff")


@pytest.mark.parametrize("text", ["bank", "session", "/home", "ftp_method", "nocwd", "/a", "/r"])
def test_decode_refuses_what_should_be_text_and_is_none(operation, text):
    body = operation.SerializeToString()
    spoiled = body.replace(text.encode(), b"\xff" + text[1:].encode())
    assert spoiled != body

    with pytest.raises(UnreadableMessage, match="UTF-8"):
        decode(spoiled)


def test_a_name_that_no_message_can_hold_is_named():
    with pytest.raises(MessageError, match=r"file name in UTF-8.*got 'caf\\udce9.gz'"):
        encode_file_list([RemoteFile(name="caf\udce9.gz")])
