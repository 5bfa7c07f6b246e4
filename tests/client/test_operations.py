"""What a bank's downloaders become on the wire."""

from __future__ import annotations

import pytest
import tenacity

from biomaj_download.client.operations import operations_of
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.errors import OptionError, OptionTypeError
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import DEFAULT_PATTERNS

#: What BioMAJ's configuration says of a bank that sets no more than it must; values are text
#: where a file sets them, numbers where they are BioMAJ's defaults.
BANK = {
    "remote.dir": "/pub/db/",
    "http.parse.dir.line": DEFAULT_PATTERNS.dir_line,
    "http.parse.file.line": "<a>(.*)</a>",
    "http.group.dir.name": 1,
    "http.group.dir.date": "2",
    "http.group.file.name": "-1",
    "http.group.file.date": 4,
    "http.group.file.size": 5,
}


@pytest.fixture
def downloader():
    downloader = DownloadInterface()
    downloader.set_protocol("ftp")
    downloader.set_server("ftp.example.org")
    downloader.set_files_to_download(["a.gz"])
    return downloader


def sent(downloader, config=BANK):
    operations = operations_of(
        config, downloader, bank="alu", session="s-1", local_dir="/data/alu/offline"
    )
    return [wire.Operation.FromString(operation.SerializeToString()) for operation in operations]


def test_operations_are_downloads_of_one_file_each_in_order(downloader):
    downloader.set_files_to_download(["b.gz", "/sub/a.gz"])

    operations = sent(downloader)

    assert [op.type for op in operations] == [wire.Operation.DOWNLOAD] * 2
    assert [[f.name for f in op.download.remote_file.files] for op in operations] == [
        ["b.gz"],
        ["/sub/a.gz"],
    ]


def test_operations_carry_bank_session_and_directory(downloader):
    (operation,) = sent(downloader)

    assert operation.download.bank == "alu"
    assert operation.download.session == "s-1"
    assert operation.download.local_dir == "/data/alu/offline"


def test_operations_carry_where_the_file_is(downloader):
    downloader.set_credentials("me:secret")

    (operation,) = sent(downloader)

    remote = operation.download.remote_file
    assert remote.protocol == wire.DownloadFile.FTP
    assert (remote.server, remote.remote_dir) == ("ftp.example.org", "/pub/db/")
    assert remote.credentials == "me:secret"


def test_operations_carry_what_is_known_of_the_file(downloader):
    downloader.files_to_download = [
        {
            "name": "a.gz",
            "root": "/pub/db",
            "save_as": "b.gz",
            "url": "ftp://mirror.example.org",
            "permissions": "-rw-r--r--",
            "group": "ftp",
            "size": "137831954826",
            "year": "2026",
            "month": 2,
            "day": "28",
            "hash": "abc",
            "md5": "b1946ac92492d2347c6235b4d2611184",
        }
    ]

    ((file,),) = [operation.download.remote_file.files for operation in sent(downloader)]

    assert (file.name, file.root, file.save_as) == ("a.gz", "/pub/db", "b.gz")
    assert file.url == "ftp://mirror.example.org"
    metadata = file.metadata
    assert (metadata.permissions, metadata.group) == ("-rw-r--r--", "ftp")
    assert metadata.size == 137831954826
    assert (metadata.year, metadata.month, metadata.day) == (2026, 2, 28)
    assert (metadata.hash, metadata.md5) == ("abc", "b1946ac92492d2347c6235b4d2611184")


def test_operations_name_the_result_even_where_it_keeps_its_name(downloader):
    downloader.set_files_to_download(["/sub/a.gz"])

    (operation,) = sent(downloader)

    assert operation.download.remote_file.files[0].save_as == "/sub/a.gz"


def test_operations_leave_out_what_is_not_known(downloader):
    (operation,) = sent(downloader, config={})

    download = operation.download
    assert download.remote_file.remote_dir == ""
    for message, name in [
        (download, "proxy"),
        (download, "timeout_download"),
        (download.remote_file, "credentials"),
        (download.remote_file, "http_parse"),
    ]:
        assert not message.HasField(name)


def test_operations_carry_the_proxy(downloader):
    downloader.set_proxy("http://proxy.example.org:3128", "me:secret")

    (operation,) = sent(downloader)

    assert operation.download.proxy.proxy == "http://proxy.example.org:3128"
    assert operation.download.proxy.proxy_auth == "me:secret"


def test_operations_carry_a_proxy_without_an_account(downloader):
    downloader.set_proxy("http://proxy.example.org:3128", "")

    (operation,) = sent(downloader)

    assert not operation.download.proxy.HasField("proxy_auth")


def test_operations_carry_method_and_parameters(downloader):
    downloader.set_method("post")
    downloader.set_param({"db": "nuccore", "port": 1247})

    (operation,) = sent(downloader)

    assert operation.download.http_method == wire.DownloadFile.POST
    assert {p.name: p.value for p in operation.download.remote_file.param} == {
        "db": "nuccore",
        "port": "1247",
    }


def test_operations_carry_options_as_text(downloader):
    downloader.options = {"ftp_method": "nocwd", "tcp_keepalive": 30, "ssl_verifypeer": False}

    (operation,) = sent(downloader)

    assert dict(operation.download.options) == {
        "ftp_method": "nocwd",
        "tcp_keepalive": "30",
        "ssl_verifypeer": "false",
    }


def test_operations_carry_the_timeout_of_the_bank(downloader):
    (operation,) = sent(downloader, {**BANK, "timeout.download": "7200"})

    assert operation.download.timeout_download == 7200


def test_operations_carry_the_expressions_for_listings(downloader):
    (operation,) = sent(downloader)

    parse = operation.download.remote_file.http_parse
    assert (parse.dir_line, parse.file_line) == (DEFAULT_PATTERNS.dir_line, "<a>(.*)</a>")
    assert (parse.dir_name, parse.dir_date) == (1, 2)
    assert (parse.file_name, parse.file_date, parse.file_size) == (-1, 4, 5)
    assert not parse.HasField("file_date_format")


def test_operations_carry_the_format_of_a_listings_dates(downloader):
    (operation,) = sent(downloader, {**BANK, "http.group.file.date_format": "%%d-%%b-%%Y"})

    assert operation.download.remote_file.http_parse.file_date_format == "%%d-%%b-%%Y"


def test_operations_take_the_wires_defaults_for_expressions_a_bank_does_not_set(downloader):
    (operation,) = sent(downloader, {"http.parse.dir.line": "<b>(.*)</b>"})

    parse = operation.download.remote_file.http_parse
    assert parse.file_line == DEFAULT_PATTERNS.file_line
    assert (parse.dir_name, parse.file_size) == (1, 3)


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("protocol", "gopher", "protocol: expected one of FTP, .*, got 'gopher'"),
        ("protocol", None, "protocol: expected one of"),
        ("method", "PUT", "method: expected one of GET, POST, got 'PUT'"),
        ("files_to_download", [{"name": "a", "size": "2.3K"}], "file a: expected a number"),
    ],
)
def test_operations_name_what_no_message_can_carry(downloader, attribute, value, said):
    setattr(downloader, attribute, value)

    with pytest.raises(OptionError, match=said):
        sent(downloader)


def test_operations_name_a_timeout_that_is_none(downloader):
    with pytest.raises(OptionError, match=r"timeout\.download: expected a number, got '1h'"):
        sent(downloader, {**BANK, "timeout.download": "1h"})


def test_operations_name_an_option_that_cannot_travel(downloader):
    downloader.set_options({"stop_condition": tenacity.stop_after_attempt(2)})

    with pytest.raises(OptionTypeError, match=r"stop_condition: expected text, .* got stop_after"):
        sent(downloader)
