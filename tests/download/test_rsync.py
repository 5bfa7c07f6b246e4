from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial

import pytest

from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.errors import (
    ConnectFailed,
    MissingLibrary,
    OptionError,
    RemoteFileMissing,
    Stalled,
    TimedOut,
    UntrustedPeer,
)
from tests.contract.downloader import (
    ONCE,
    WRONG_PASSWORD,
    DownloaderContract,
    NetworkContract,
)
from tests.servers.process import poll
from tests.servers.sshd import SshServer


class TestLocal(DownloaderContract):
    @pytest.fixture
    def root(self, tmp_path_factory):
        return tmp_path_factory.mktemp("rsync")

    @pytest.fixture
    def open_downloader(self, root):
        return lambda directory: RSYNCDownload(str(root / directory), "")


class TestDaemon(NetworkContract, DownloaderContract):
    @pytest.fixture
    def root(self, rsync_server):
        return rsync_server.root

    @pytest.fixture
    def port(self, rsync_server):
        return rsync_server.port

    @pytest.fixture
    def open_at(self):
        return lambda directory, port: RSYNCDownload(f"rsync://127.0.0.1:{port}/data", directory)

    @pytest.fixture
    def locked_out(self, rsync_server):
        def opened(directory):
            address = f"rsync://{rsync_server.host}:{rsync_server.port}/private"
            downloader = RSYNCDownload(address, directory)
            downloader.set_credentials(f"{rsync_server.user}:{WRONG_PASSWORD}")
            return downloader

        return opened

    def test_logs_in(self, rsync_server, bank):
        address = f"rsync://{rsync_server.host}:{rsync_server.port}/private"
        downloader = RSYNCDownload(address, bank)
        downloader.set_credentials(f"{rsync_server.user}:{rsync_server.password}")

        files, _ = downloader.list()

        assert len(files) == 3

    def test_takes_a_module_behind_the_host(self, rsync_server, bank, tmp_path):
        server = f"{rsync_server.host}:{rsync_server.port}"
        for downloader in (
            RSYNCDownload(f"{server}::data", bank),
            RSYNCDownload(server, f":data/{bank}"),
        ):
            files, _ = downloader.list()
            assert len(files) == 3

    def test_names_a_module_that_is_not_there(self, rsync_server):
        downloader = RSYNCDownload(f"rsync://{rsync_server.host}:{rsync_server.port}/genomes", "/")
        downloader.set_options(ONCE)

        with pytest.raises(RemoteFileMissing, match="genomes"):
            downloader.list()


class TestSsh(NetworkContract, DownloaderContract):
    @pytest.fixture
    def root(self, shell_server):
        return shell_server.root

    @pytest.fixture
    def port(self, shell_server):
        return shell_server.port

    @pytest.fixture
    def open_at(self, shell_server):
        def opened(directory, port):
            downloader = by_ssh(shell_server, f"{shell_server.root}/{directory}", port)
            if port != shell_server.port:
                downloader.set_options({"ssh_new_host": "accept"})
            return downloader

        return opened

    @pytest.fixture
    def locked_out(self, open_downloader, shell_server, tmp_path_factory):
        def opened(directory):
            key = tmp_path_factory.mktemp("key") / WRONG_PASSWORD
            shutil.copy(shell_server.folder / "host_ed25519", key)
            downloader = open_downloader(directory)
            downloader.set_options({"ssh_key_file": str(key)})
            return downloader

        return opened

    def test_refuses_accepts_or_adds_an_unknown_host(self, downloader, tmp_path):
        hosts_file = tmp_path / "known_hosts"
        downloader.set_options({"ssh_hosts_file": str(hosts_file), "ssh_new_host": "reject"})
        with pytest.raises(UntrustedPeer):
            downloader.list()

        downloader.set_options({"ssh_new_host": "accept"})
        downloader.list()
        assert not hosts_file.exists()

        downloader.set_options({"ssh_new_host": "add"})
        downloader.list()
        assert hosts_file.exists()

        downloader.set_options({"ssh_new_host": "reject"})
        downloader.list()

    @pytest.mark.parametrize("policy", ["reject", "accept", "add"])
    def test_refuses_a_host_whose_key_has_changed(
        self, downloader, shell_server, ssh_server, tmp_path, policy
    ):
        hosts_file = tmp_path / "known_hosts"
        keys = ssh_server.known_hosts_file.read_text()
        hosts_file.write_text(keys.replace(f":{ssh_server.port} ", f":{shell_server.port} "))
        downloader.set_options({"ssh_hosts_file": str(hosts_file), "ssh_new_host": policy})

        with pytest.raises(UntrustedPeer):
            downloader.list()

    def test_refuses_a_password(self, downloader):
        downloader.set_credentials("me:secret")

        with pytest.raises(OptionError, match="by key") as raised:
            downloader.list()

        assert "secret" not in str(raised.value)


@pytest.fixture(scope="session")
def shell_server(start_server):
    return start_server(partial(SshServer, runs_commands=True))


def by_ssh(server, directory, port) -> RSYNCDownload:
    downloader = RSYNCDownload(f"{server.host}:{port}", directory)
    downloader.set_credentials(server.user)
    downloader.set_options(
        {
            **ONCE,
            "ssh_hosts_file": str(server.known_hosts_file),
            "ssh_key_file": str(server.key_file),
        }
    )
    return downloader


@pytest.fixture
def silent_server():
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = []
        thread = threading.Thread(target=lambda: kept.append(listener.accept()[0]))
        thread.start()
        yield listener.getsockname()[1]
        with socket.socket() as last:
            last.connect_ex(listener.getsockname())
            thread.join()
        for connection in kept:
            connection.close()


def test_rsync_is_ended_when_its_time_is_up(silent_server):
    downloader = RSYNCDownload(f"rsync://127.0.0.1:{silent_server}/data", "/")
    downloader.set_options(ONCE)
    downloader.set_timeout(0.5)

    with pytest.raises(TimedOut, match=r"0\.5 seconds"):
        downloader.list()


def test_rsync_gives_up_a_server_that_says_nothing(silent_server):
    downloader = RSYNCDownload(f"rsync://127.0.0.1:{silent_server}/data", "/")
    downloader.set_options({**ONCE, "low_speed_time": "1"})

    with pytest.raises(Stalled):
        downloader.list()


def test_rsync_names_a_server_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        downloader = RSYNCDownload(f"rsync://127.0.0.1:{taken.getsockname()[1]}/data", "/")
        downloader.set_options(ONCE)

        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1"):
            downloader.list()


@pytest.mark.parametrize("server", ["-oProxyCommand=touch /tmp/x", "a b", "", "host;ls"])
def test_rsync_refuses_what_is_no_host(server):
    downloader = RSYNCDownload(server, "/data")
    downloader.set_options(ONCE)

    with pytest.raises(OptionError, match="expected a server"):
        downloader.list()


def test_rsync_is_named_where_it_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingLibrary, match="program rsync"):
        RSYNCDownload(str(tmp_path), "").list()


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_rsync_takes_no_devices_and_no_fifos(tmp_path, kind):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    if kind == "fifo":
        os.mkfifo(source / "odd")
    else:
        (source / "odd").symlink_to("/dev/null")
    downloader = RSYNCDownload(str(source), "")
    downloader.set_options(ONCE)
    downloader.set_files_to_download(["odd"])

    with pytest.raises(RemoteFileMissing):
        downloader.download(str(target))

    assert list(target.iterdir()) == []


def test_rsync_brings_an_empty_file(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "empty").touch()
    downloader = RSYNCDownload(str(source), "")
    downloader.set_options(ONCE)
    downloader.set_files_to_download(["empty"])

    downloader.download(str(target))

    assert (target / "empty").read_bytes() == b""


def test_rsync_follows_links(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "release-1").mkdir(parents=True)
    (source / "release-1" / "a.dat").write_bytes(b"a")
    (source / "current").symlink_to("release-1")
    (source / "b.dat").symlink_to("release-1/a.dat")
    downloader = RSYNCDownload(str(source), "")
    files, directories = downloader.list()

    downloader.match(["^b.dat$", "^current/a"], files, directories)
    downloader.download(str(target))

    assert (target / "b.dat").read_bytes() == b"a"
    assert stat.S_ISREG(os.lstat(target / "b.dat").st_mode)
    assert (target / "current" / "a.dat").read_bytes() == b"a"


_BRING = """
import sys
from biomaj_download.download.rsync import RSYNCDownload
downloader = RSYNCDownload("/", "")
downloader.set_options({"verify": "off"})
downloader.set_files_to_download(["a.dat"])
downloader.download(sys.argv[1])
"""


def test_rsync_holds_the_lock_of_its_part_when_who_started_it_is_killed(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    begun = tmp_path / "begun"
    (programs / "rsync").write_text(
        f"#!/bin/sh\necho $$ > {begun}.new\nmv {begun}.new {begun}\nexec sleep 60\n"
    )
    (programs / "rsync").chmod(0o755)
    home = tmp_path / "home"
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-c", _BRING, str(home)], env=environment) as consumer:
        for _ in poll(20):
            if begun.exists():
                break
        consumer.kill()
    try:
        with (home / ".a.dat.part").open("rb") as part, pytest.raises(BlockingIOError):
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(int(begun.read_text()), signal.SIGKILL)
    with (home / ".a.dat.part").open("rb") as part:
        for _ in poll(10):
            with suppress(BlockingIOError):
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
    pytest.fail("the lock is held still")


def test_rsync_by_ssh_does_not_go_round_a_proxy(tmp_path):
    downloader = RSYNCDownload("host", "/data")
    downloader.set_proxy("http://127.0.0.1:1")

    with pytest.raises(OptionError, match="no proxy"):
        downloader.list()
