"""What HTTP has and no other protocol: redirections, content encodings, forms."""

from __future__ import annotations

import base64
import gzip
import os

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.direct import DirectHTTPDownload
from biomaj_download.errors import DownloadError, ListingError
from tests.contract.downloader import ONCE
from tests.servers.faulty_http import Answer

BODY = b">seq\nACGT\n" * 500


@pytest.fixture
def downloader(faulty_http):
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options({**ONCE, "verify": "off"})
    return downloader


def bring(downloader, folder, name):
    downloader.set_files_to_download([name])
    downloader.download(str(folder))
    return (folder / name).read_bytes()


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "dict://127.0.0.1/",
        "smb://127.0.0.1/share",
        "sftp://127.0.0.1/etc/passwd",
        "scp://127.0.0.1/etc/passwd",
        "ldap://127.0.0.1/",
    ],
)
def test_a_redirection_leads_to_the_web_and_ftp_alone(downloader, faulty_http, tmp_path, location):
    faulty_http.add("/a.dat", Answer(status=302, headers={"Location": location}))

    with pytest.raises(DownloadError):
        bring(downloader, tmp_path, "a.dat")

    assert list(tmp_path.iterdir()) == []


def test_a_redirection_may_lead_to_https(downloader, faulty_http, nginx, tmp_path):
    (nginx.root / "redirected.dat").write_bytes(BODY)
    target = f"https://{nginx.host}:{nginx.https_port}/redirected.dat"
    faulty_http.add("/a.dat", Answer(status=301, headers={"Location": target}))
    downloader.set_options({"ssl_server_cert": str(nginx.ca_file)})

    assert bring(downloader, tmp_path, "a.dat") == BODY


def test_a_redirection_may_lead_to_ftp(downloader, faulty_http, ftp_server, tmp_path):
    path = ftp_server.root / "redirected.dat"
    path.write_bytes(BODY)
    path.chmod(0o644)
    target = f"ftp://{ftp_server.host}:{ftp_server.port}/redirected.dat"
    faulty_http.add("/a.dat", Answer(status=302, headers={"Location": target}))

    assert bring(downloader, tmp_path, "a.dat") == BODY


def test_a_circle_of_redirections_ends(downloader, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(status=302, headers={"Location": "/a.dat"}))

    with pytest.raises(DownloadError, match="redirect"):
        bring(downloader, tmp_path, "a.dat")

    assert len(faulty_http.requests_for("/a.dat")) == 11


def test_an_account_is_not_told_to_another_host(downloader, faulty_http, nginx, tmp_path):
    (nginx.root / "redirected.dat").write_bytes(BODY)
    other = f"http://localhost:{faulty_http.port}/b.dat"
    faulty_http.add("/a.dat", Answer(status=302, headers={"Location": other}))
    faulty_http.add("/b.dat", Answer(body=BODY))
    downloader.set_credentials("me:secret")

    bring(downloader, tmp_path, "a.dat")

    told = base64.b64encode(b"me:secret").decode()
    assert faulty_http.requests_for("/a.dat")[0].headers["Authorization"] == f"Basic {told}"
    assert "Authorization" not in faulty_http.requests_for("/b.dat")[0].headers


def test_a_server_is_asked_for_the_file_as_it_is(downloader, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(body=BODY))

    bring(downloader, tmp_path, "a.dat")

    assert faulty_http.requests_for("/a.dat")[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_that_is_compressed_on_the_way_is_not_changed(
    downloader, faulty_http, tmp_path, chunked
):
    body = gzip.compress(BODY)
    headers = {"Content-Encoding": "gzip"}
    faulty_http.add("/a.fasta", Answer(body=body, headers=headers, chunked=chunked))

    assert bring(downloader, tmp_path, "a.fasta") == BODY


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
@pytest.mark.parametrize("name", ["a.fasta.gz", "a.tgz", "a.gz.other"])
def test_a_compressed_file_stays_as_it_is(downloader, faulty_http, tmp_path, name, encoding):
    body = gzip.compress(BODY)
    faulty_http.add(f"/{name}", Answer(body=body, headers={"Content-Encoding": encoding}))
    downloader.set_options({"skip_check_uncompress": "true"})

    brought = bring(downloader, tmp_path, name)

    assert brought == (BODY if name == "a.gz.other" else body)


def test_a_chunked_file_comes_whole(downloader, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(body=BODY, chunked=True))

    assert bring(downloader, tmp_path, "a.dat") == BODY


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_parameters_are_encoded(faulty_http, tmp_path, method):
    faulty_http.add("/search", Answer(body=BODY))
    downloader = DirectHTTPDownload("http", f"{faulty_http.host}:{faulty_http.port}")
    downloader.set_options(ONCE)
    downloader.set_method(method)
    downloader.set_param({"query": "a b&c=d#é", "format": "fasta"})
    downloader.set_files_to_download({"name": "search", "save_as": "a.fasta"})

    downloader.download(str(tmp_path))

    (asked,) = faulty_http.requests_for("/search")
    told = asked.body.decode() if method == "POST" else asked.path.partition("?")[2]
    assert asked.method == method
    assert told == "query=a+b%26c%3Dd%23%C3%A9&format=fasta"


def test_names_that_are_not_utf_8_are_listed_and_fetched(nginx, tmp_path):
    folder = nginx.root / "latin-1"
    folder.mkdir()
    for name in (b"caf\xe8.dat", b"caf\xe9.dat"):
        path = folder / os.fsdecode(name)
        path.write_bytes(name)
        path.chmod(0o644)
    folder.chmod(0o755)
    downloader = CurlDownload("http", f"{nginx.host}:{nginx.port}", "/latin-1")
    downloader.set_options(ONCE)
    files, directories = downloader.list()
    downloader.match([r".*\.dat$"], files, directories)

    downloader.download(str(tmp_path))

    assert {os.fsencode(path.name): path.read_bytes() for path in tmp_path.iterdir()} == {
        name: name for name in (b"caf\xe8.dat", b"caf\xe9.dat")
    }


def test_a_listing_that_was_led_to_shows_no_secret_of_the_address(downloader, faulty_http):
    faulty_http.add("/", Answer(status=302, headers={"Location": "/login?ticket=hush-secret"}))
    faulty_http.add("/login", Answer(body=b"<p>Please log in</p>"))

    with pytest.raises(ListingError) as raised:
        downloader.list()

    assert "/login" in str(raised.value)
    assert "hush-secret" not in str(raised.value)
