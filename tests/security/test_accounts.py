"""An account in the wrong place, before a server or in a text that is too long, is not shown."""

from __future__ import annotations

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.errors import NoMatch, OptionError
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import UnreadableMessage, decode, new_operation
from biomaj_download.settings import MessageSettings


def test_an_account_before_a_server_is_not_shown_where_nothing_matches():
    downloader = CurlDownload("ftp", "me:hush-secret@127.0.0.1", "/")

    with pytest.raises(NoMatch) as raised:
        downloader.match(["nothing"], [], [])

    assert "hush-secret" not in str(raised.value)
    assert "127.0.0.1" in str(raised.value)


@pytest.mark.parametrize(
    ("server", "directory"),
    [
        ("rsync://me:hush-secret@127.0.0.1/data", "/"),
        ("me:hush-secret@127.0.0.1", "/data"),
        ("me:hush-secret@127.0.0.1", ""),
    ],
)
def test_an_account_before_a_server_is_not_shown_by_rsync(server, directory):
    with pytest.raises(OptionError) as raised:
        RSYNCDownload(server, directory).list()

    assert "hush-secret" not in str(raised.value)


def test_a_text_that_is_too_long_is_not_shown():
    operation = new_operation(Kind.DOWNLOAD, bank="bank", session="s", local_dir="/db")
    remote = operation.download.remote_file
    remote.protocol, remote.server, remote.remote_dir = wire.DownloadFile.FTP, "host", "/"
    remote.files.add(name="a")
    remote.credentials = "me:hush-secret" * 1000
    limits = MessageSettings(max_text_characters=1000)

    with pytest.raises(UnreadableMessage, match="at most 1000 characters, got 14000") as raised:
        decode(operation.SerializeToString(), limits)

    assert "hush-secret" not in str(raised.value)
