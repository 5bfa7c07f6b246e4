from __future__ import annotations

import inspect
import sys

import pytest

from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.registry import PROTOCOLS, downloader_class, get_handler
from biomaj_download.errors import MissingLibrary, UnknownProtocol


def test_registry_is_alphabetical():
    assert list(PROTOCOLS) == sorted(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_registry_opens_each_protocol(protocol):
    downloader = get_handler(protocol.upper(), "example.org", "/root")

    assert isinstance(downloader, DownloadInterface)
    assert downloader.protocol == protocol.upper()


def test_registry_hands_a_request_over_to_the_downloader():
    downloader = get_handler(
        "directhttp",
        "example.org",
        "/",
        [{"name": "a"}],
        credentials="user:secret",
        http_method="POST",
        param={"a": "b"},
        proxy="http://proxy:3128",
        proxy_auth="me:too",
        save_as="b",
        timeout_download=7,
        offline_dir="/offline",
        options={"skip_check_uncompress": "true"},
    )

    assert downloader.credentials == "user:secret"
    assert (downloader.method, downloader.param) == ("POST", {"a": "b"})
    assert (downloader.proxy, downloader.proxy_auth) == ("http://proxy:3128", "me:too")
    assert (downloader.timeout, downloader.offline_dir) == (7, "/offline")
    assert downloader.skip_check_uncompress
    assert downloader.files_to_download[0]["save_as"] == "b"


def test_registry_names_what_it_has_for_an_unknown_protocol():
    with pytest.raises(UnknownProtocol, match=r"expected one of directftp, .*got 'gopher'"):
        downloader_class("gopher")


def test_registry_names_the_package_of_a_library_that_is_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "biomaj_download.download.protocolirods", raising=False)
    monkeypatch.setitem(sys.modules, "irods.exception", None)

    with pytest.raises(MissingLibrary, match="library irods: pip install python-irodsclient"):
        downloader_class("irods")


def test_registry_names_a_library_that_is_missing(monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "s3", "no_such_library.s3:Download")

    with pytest.raises(MissingLibrary, match="pip install no_such_library"):
        downloader_class("s3")


def test_registry_takes_a_request_by_the_order_that_biomaj_knows():
    names = list(inspect.signature(get_handler).parameters)

    assert names == [
        "protocol_name",
        "server",
        "remote_dir",
        "remote_files",
        "credentials",
        "http_parse",
        "http_method",
        "param",
        "proxy",
        "proxy_auth",
        "save_as",
        "timeout_download",
        "offline_dir",
        "options",
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_says_what_this_host_lacks_for_it(protocol, monkeypatch):
    kind = downloader_class(protocol)
    assert kind.lack(protocol) is None

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("pycurl.version_info", lambda: ("",) * 8 + (("dict",),))

    lacks = {"rsync": "the program rsync", "irods": None, "local": None}
    expected = lacks.get(protocol, "this libcurl speaks no")
    assert (expected or "") in (kind.lack(protocol) or "")
    assert (kind.lack(protocol) is None) is (expected is None)
