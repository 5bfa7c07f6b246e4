"""Every option of the libcurl protocols, set by a dict and by a message: what a server sees of it.

Those of checksums stand in test_publishers.py, those of rsync and iRODS in their own files.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from biomaj_download.download.curl_options import CURL_OPTIONS
from biomaj_download.download.host_keys import add_key
from biomaj_download.download.registry import PROTOCOLS, downloader_class, get_handler
from biomaj_download.errors import (
    AccessDenied,
    ArchiveBroken,
    BadStatus,
    DownloadError,
    OptionError,
    RemoteFileMissing,
    Stalled,
    UnexpectedContent,
    UntrustedPeer,
)
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import decode
from biomaj_download.transfer import shared
from biomaj_download.worker import open_downloader
from tests.background import start
from tests.contract.downloader import ONCE
from tests.servers.faulty_http import Answer
from tests.servers.tls import issue_certificate


def by_dict(protocol, server, directory, options, credentials=None):
    downloader = get_handler(protocol, server, directory, credentials=credentials)
    downloader.set_options(options)
    return downloader


def by_message(protocol, server, directory, options, credentials=None):
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    download = operation.download
    download.bank, download.session, download.local_dir = "bank", "session", "/somewhere"
    download.options.update(options)
    download.remote_file.protocol = wire.DownloadFile.Protocol.Value(protocol.upper())
    download.remote_file.server, download.remote_file.remote_dir = server, directory
    download.remote_file.files.add(name="a.dat")
    if credentials:
        download.remote_file.credentials = credentials
    return open_downloader(decode(operation.SerializeToString()))


@pytest.fixture(params=[by_dict, by_message])
def opened(request):
    """A function that returns a downloader with these options: once by dict, once by message."""
    yield request.param
    shared.close()


@pytest.fixture
def web(faulty_http):
    return f"{faulty_http.host}:{faulty_http.port}"


def bring(downloader, folder, name="a.dat"):
    downloader.set_files_to_download([name])
    downloader.download(str(folder))
    return (Path(folder) / name).read_bytes()


def test_stop_condition_says_how_often(opened, web, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(status=503))
    options = {"stop_condition": "stop_after_attempt(4)", "wait_policy": "wait_none"}

    with pytest.raises(BadStatus):
        bring(opened("http", web, "/", options), tmp_path)

    assert len(faulty_http.requests_for("/a.dat")) == 4


def test_wait_policy_says_how_long_between(opened, web, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(status=503), Answer(body=b"a"))

    bring(opened("http", web, "/", {"wait_policy": "wait_fixed(0.4)"}), tmp_path)

    first, second = faulty_http.requests_for("/a.dat")
    assert second.received_at - first.received_at >= 0.4


@pytest.mark.parametrize(("value", "attempts"), [("true", 2), ("false", 1)])
def test_retry_permanent_says_whether_a_missing_file_is_tried_again(
    opened, web, faulty_http, tmp_path, value, attempts
):
    options = {"stop_condition": "stop_after_attempt(2)", "wait_policy": "wait_none"}

    with pytest.raises(RemoteFileMissing):
        bring(opened("http", web, "/", {**options, "retry_permanent": value}), tmp_path)

    assert len(faulty_http.requests_for("/a.dat")) == attempts


def test_skip_check_uncompress_takes_a_broken_archive(opened, web, faulty_http, tmp_path):
    broken = b"\x1f\x8b, but no gzip file"
    faulty_http.add("/a.gz", Answer(body=broken))

    with pytest.raises(ArchiveBroken):
        bring(opened("http", web, "/", ONCE), tmp_path, "a.gz")
    for value in ("true", "1"):
        downloader = opened("http", web, "/", {**ONCE, "skip_check_uncompress": value})
        assert bring(downloader, tmp_path, "a.gz") == broken


@pytest.mark.parametrize("name", ["a.gz", "a.fasta"])
def test_check_content_off_takes_a_page_for_a_file(opened, web, faulty_http, tmp_path, name):
    page = b"<html>sorry</html>"
    faulty_http.add(f"/{name}", Answer(body=page))
    options = {**ONCE, "skip_check_uncompress": "true"}

    with pytest.raises(UnexpectedContent):
        bring(opened("http", web, "/", options), tmp_path, name)
    downloader = opened("http", web, "/", {**options, "check_content": "false"})
    assert bring(downloader, tmp_path, name) == page


def test_connect_timeout_gives_up_a_server_that_does_not_accept(opened):
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        for _ in range(4):  # fill its queue: the next one waits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        server = f"127.0.0.1:{listener.getsockname()[1]}"
        downloader = opened("http", server, "/", {**ONCE, "connect_timeout": "1"})
        started = time.monotonic()

        with pytest.raises(Stalled):
            downloader.list()

        assert 0.9 < time.monotonic() - started < 10


@pytest.mark.parametrize(("options", "connections"), [({}, 4), ({"max_connections": "1"}, 1)])
def test_max_connections_limits_a_banks_own(
    opened, web, faulty_http, tmp_path, options, connections
):
    names = [f"{number}.dat" for number in range(8)]
    for name in names:
        faulty_http.add(f"/{name}", Answer(body=b"a", delay_seconds=0.1))

    def bring_one(name):
        bring(opened("http", web, "/", {**ONCE, "verify": "off", **options}), tmp_path, name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bring_one, names))

    assert len({request.connection for request in faulty_http.requests}) == connections


def test_low_speed_gives_up_a_slow_server(opened, web, faulty_http, tmp_path):
    slow = Answer(body=b"x" * 4000, pause_every_bytes=500, pause_seconds=0.5)
    faulty_http.add("/a.dat", slow)
    options = {**ONCE, "verify": "off", "low_speed_time": "2"}

    assert bring(opened("http", web, "/", {**options, "low_speed_limit": "100"}), tmp_path)
    with pytest.raises(Stalled):
        bring(opened("http", web, "/", {**options, "low_speed_limit": "100000"}), tmp_path)


def test_ssl_verifyhost_takes_the_certificate_of_another_host(opened, nginx):
    server = f"{nginx.other_host}:{nginx.https_port}"
    options = {**ONCE, "ssl_server_cert": str(nginx.ca_file)}

    with pytest.raises(UntrustedPeer):
        opened("https", server, "/", options).list()
    opened("https", server, "/", {**options, "ssl_verifyhost": "false"}).list()


def test_ssl_verifypeer_takes_a_certificate_of_nobody(opened, nginx):
    server = f"{nginx.host}:{nginx.https_port}"

    with pytest.raises(UntrustedPeer):
        opened("https", server, "/", ONCE).list()
    shared.close()
    opened("https", server, "/", {**ONCE, "ssl_verifypeer": "false"}).list()


def test_ssl_server_cert_is_trusted(opened, nginx):
    server = f"{nginx.host}:{nginx.https_port}"

    opened("https", server, "/", {**ONCE, "ssl_server_cert": str(nginx.ca_file)}).list()


@pytest.mark.parametrize("value", ["1.2", "1.3"])
def test_tls_max_is_the_newest_that_is_spoken(opened, tmp_path, value):
    certificate = issue_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        spoken = start(lambda: _tls_version(context, server))
        options = {**ONCE, "ssl_verifyhost": "false", "ssl_server_cert": str(certificate.ca_file)}
        address = f"127.0.0.1:{server.getsockname()[1]}"

        with pytest.raises(DownloadError):
            opened("https", address, "/", {**options, "tls_max": value}).list()

        assert spoken.result(10) == f"TLSv{value}"


def _tls_version(context, server):
    client, _ = server.accept()
    with context.wrap_socket(client, server_side=True) as connection:
        return connection.version()


def test_tcp_keepalive_sets_the_seconds_between_probes(opened, web, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(body=b"x" * 100, stall_after=10))
    options = {**ONCE, "verify": "off", "tcp_keepalive": "7"}
    downloader = opened("http", web, "/", options)
    thread = threading.Thread(target=_bring_in_vain, args=(downloader, tmp_path))
    thread.start()

    seconds = _keepalive_seconds(faulty_http.port)

    shared.close()
    thread.join()
    assert 0 < seconds <= 7


def _bring_in_vain(downloader, folder):
    with pytest.raises(DownloadError):
        bring(downloader, folder)


def _keepalive_seconds(port):
    """Return the time to the next probe on our connection to a port, as the kernel tells it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            words = row.split()
            kind, _, jiffies = words[5].partition(":")
            if words[2].endswith(f":{port:04X}") and kind == "02":  # a keep-alive timer
                return int(jiffies, 16) / os.sysconf("SC_CLK_TCK")
        time.sleep(0.05)
    raise AssertionError("no connection has a keep-alive timer")


@pytest.fixture
def ftp_commands(ftp_server, request):
    """What the FTP server was told since: a function that returns the commands."""
    folder = ftp_server.root / f"options-{abs(hash(request.node.nodeid))}" / "sub"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o755)
    (folder / "a.dat").write_bytes(b"a")
    (folder / "a.dat").chmod(0o644)
    shared.close()
    before = len(ftp_server.log_path.read_text())

    def commands():
        lines = ftp_server.log_path.read_text()[before:].splitlines()
        return [line.partition("FTP command: ")[2] for line in lines if "FTP command" in line]

    return f"{folder.parent.name}/sub", commands


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("default", ["CWD {top}", "CWD sub"]),
        ("multicwd", ["CWD {top}", "CWD sub"]),
        ("singlecwd", ["CWD {top}/sub"]),
        ("nocwd", []),
    ],
)
def test_ftp_method_says_how_a_server_is_led_to_a_file(
    opened, ftp_server, ftp_commands, tmp_path, method, expected
):
    directory, commands = ftp_commands
    server = f"{ftp_server.host}:{ftp_server.port}"
    options = {**ONCE, "ftp_method": method, "verify": "off"}

    bring(opened("ftp", server, directory, options), tmp_path)

    told = [line.split('"')[-2] for line in commands() if " CWD " in line or '"CWD ' in line]
    top = directory.partition("/")[0]
    assert told == [line.format(top=top) for line in expected]


@pytest.mark.parametrize(
    ("value", "wanted", "unwanted"), [("1", "EPSV", "PASV"), ("false", "PASV", "EPSV")]
)
def test_ftp_epsv_says_how_a_data_connection_is_asked_for(
    opened, ftp_server, ftp_commands, tmp_path, value, wanted, unwanted
):
    directory, commands = ftp_commands
    server = f"{ftp_server.host}:{ftp_server.port}"
    options = {**ONCE, "verify": "off", "ftp_epsv": value}

    bring(opened("ftp", server, directory, options), tmp_path)

    told = " ".join(commands())
    assert wanted in told
    assert unwanted not in told


_QUESTIONS_BEFORE_RETR = ("EPSV", "MDTM", "SIZE", "RETR")


def test_a_small_listed_file_costs_an_ftp_server_no_question_before_it(
    opened, ftp_server, ftp_commands, tmp_path
):
    directory, commands = ftp_commands
    downloader = opened(
        "ftp", f"{ftp_server.host}:{ftp_server.port}", directory, {**ONCE, "verify": "off"}
    )

    files, directories = downloader.list()
    downloader.match(["^a.dat$"], files, directories)
    before = len(commands())
    downloader.download(str(tmp_path))

    told = [line.split('"')[-2].split()[0] for line in commands()[before:]]
    assert [command for command in told if command in _QUESTIONS_BEFORE_RETR] == ["EPSV", "RETR"]
    assert (tmp_path / "a.dat").read_bytes() == b"a"


def test_a_file_of_unknown_size_or_day_is_asked_for_both(
    opened, ftp_server, ftp_commands, tmp_path
):
    directory, commands = ftp_commands
    server = f"{ftp_server.host}:{ftp_server.port}"

    bring(opened("ftp", server, directory, {**ONCE, "verify": "off"}), tmp_path)

    told = " ".join(commands())
    assert "SIZE" in told
    assert "MDTM" in told


def test_ftp_tls_says_how_encryption_begins(opened, ftps_server, ftps_implicit_server):
    for server, value in ((ftps_server, "explicit"), (ftps_implicit_server, "implicit")):
        address = f"{server.host}:{server.port}"
        options = {**ONCE, "ftp_tls": value, "ssl_server_cert": str(server.ca_file)}

        opened("ftps", address, "/", options).list()


@pytest.fixture
def by_key(opened, ssh_server):
    """A function that opens an SFTP downloader, with these options and no password."""

    def open_by_key(**options):
        shared.close()
        known = {**ONCE, "ssh_hosts_file": str(ssh_server.known_hosts_file)}
        address = f"{ssh_server.host}:{ssh_server.port}"
        return opened(
            "sftp", address, str(ssh_server.root), {**known, **options}, f"{ssh_server.user}:"
        )

    return open_by_key


def test_ssh_key_file_logs_in(by_key, ssh_server, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    with pytest.raises(AccessDenied):
        by_key().list()
    by_key(ssh_key_file=str(ssh_server.key_file)).list()


def test_an_ssh_agent_logs_in(by_key, ssh_server, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    socket_path = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket_path)
        deadline = time.monotonic() + 5
        while not Path(socket_path).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", str(ssh_server.key_file)], check=True)

        by_key().list()
    finally:
        agent.terminate()
        agent.wait()


@pytest.mark.parametrize("policy", ["reject", "accept", "add"])
def test_ssh_new_host_never_takes_another_key(by_key, ssh_server, tmp_path, policy):
    hosts_file = tmp_path / "known_hosts"
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    key = other.with_suffix(".pub").read_text()
    hosts_file.write_text(f"[{ssh_server.host}]:{ssh_server.port} {key}")
    options = {"ssh_hosts_file": str(hosts_file), "ssh_new_host": policy}

    with pytest.raises(UntrustedPeer):
        by_key(ssh_key_file=str(ssh_server.key_file), **options).list()

    assert hosts_file.read_text().count("\n") == 1


def test_ssh_new_host_rejects_accepts_or_adds(by_key, ssh_server, tmp_path):
    hosts_file = tmp_path / "known_hosts"
    options = {"ssh_hosts_file": str(hosts_file), "ssh_key_file": str(ssh_server.key_file)}
    with pytest.raises(UntrustedPeer):
        by_key(**options).list()

    by_key(**options, ssh_new_host="accept").list()
    assert not hosts_file.exists()

    by_key(**options, ssh_new_host="add").list()
    by_key(**options).list()


def test_a_connection_to_a_new_host_serves_nobody_who_would_reject_it(opened, ssh_server, tmp_path):
    shared.close()
    unknown = {**ONCE, "ssh_hosts_file": str(tmp_path / "none")}
    where = (f"{ssh_server.host}:{ssh_server.port}", str(ssh_server.root))
    account = f"{ssh_server.user}:{ssh_server.password}"
    opened("sftp", *where, {**unknown, "ssh_new_host": "accept"}, account).list()

    with pytest.raises(UntrustedPeer):
        opened("sftp", *where, {**unknown, "ssh_new_host": "reject"}, account).list()


def test_a_new_host_is_added_to_what_others_have_added_meanwhile(by_key, ssh_server, tmp_path):
    hosts_file = tmp_path / "known_hosts"
    # Without an end of line, as an editor may leave it; read by libcurl when it connects.
    hosts_file.write_text("a.example ssh-ed25519 AAAA")
    options = {"ssh_hosts_file": str(hosts_file), "ssh_key_file": str(ssh_server.key_file)}
    here = f"[{ssh_server.host}]:{ssh_server.port}"
    downloaders = [by_key(**options, ssh_new_host="add") for _ in range(8)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda downloader: downloader.list(), downloaders))

    first, *lines = hosts_file.read_text().splitlines()
    assert first == "a.example ssh-ed25519 AAAA"
    assert [line.split()[0] for line in lines] == [here]
    known = ["ssh-keygen", "-F", here, "-f", str(hosts_file)]
    assert subprocess.run(known, capture_output=True, check=False).returncode == 0


def test_a_key_is_added_with_its_type_and_port(tmp_path):
    key = len(b"ssh-ed25519").to_bytes(4, "big") + b"ssh-ed25519" + b"\0\0\0\1k"
    text = base64.b64encode(key).decode()

    for server in ("a.example", "a.example:22", "a.example:2222", "[::1]:2222"):
        add_key(tmp_path / "known_hosts", server, key)

    assert (tmp_path / "known_hosts").read_text().splitlines() == [
        f"a.example ssh-ed25519 {text}",
        f"[a.example]:2222 ssh-ed25519 {text}",
        f"[::1]:2222 ssh-ed25519 {text}",
    ]


def test_allow_redirections_off_makes_them_an_error(opened, web, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(status=302, headers={"Location": "/b.dat"}))
    faulty_http.add("/b.dat", Answer(body=b"b"))

    assert bring(opened("http", web, "/", ONCE), tmp_path) == b"b"
    with pytest.raises(DownloadError, match="302"):
        bring(opened("http", web, "/", {**ONCE, "allow_redirections": "false"}), tmp_path)


WRONG = {
    "stop_condition": "stop_soon()",
    "wait_policy": "sleep(3)",
    "retry_permanent": "yes",
    "skip_check_uncompress": "maybe",
    "check_content": "maybe",
    "check_uncompress_seconds": "-1",
    "checksum": "md5:1",
    "verify": "sometimes",
    "connect_timeout": "0",
    "max_connections": "0",
    "low_speed_limit": "-1",
    "low_speed_time": "soon",
    "ssl_verifyhost": "2",
    "ssl_verifypeer": "maybe",
    "ssl_server_cert": "",
    "tls_max": "1.1",
    "tcp_keepalive": "x",
    "ftp_method": "sideways",
    "ftp_tls": "always",
    "ftp_epsv": "maybe",
    "scheme_fallback": "gopher",
    "ssh_hosts_file": "",
    "ssh_new_host": "perhaps",
    "ssh_key_file": "",
    "allow_redirections": "maybe",
}


@pytest.mark.parametrize("name", [option.name for option in CURL_OPTIONS])
def test_a_wrong_value_is_named_with_what_was_expected(opened, name):
    with pytest.raises(ValueError, match=f"^{name}: expected .*got") as raised:
        opened("ftp", "localhost", "/", {name: WRONG[name]})

    assert isinstance(raised.value, OptionError)
    assert WRONG[name] in str(raised.value)


def test_a_default_is_a_value_that_may_be_given():
    for protocol in PROTOCOLS:
        for option in downloader_class(protocol).OPTIONS:
            option.read_default()
