from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator

import pytest

from biomaj_download import notify
from biomaj_download.notify import Notifier
from tests.servers.systemd import Systemd


@pytest.fixture(params=["path", "abstract"])
def systemd(request) -> Iterator[Systemd]:
    with Systemd(None if request.param == "path" else f"@biomaj-test-{uuid.uuid4()}") as systemd:
        yield systemd


def test_systemd_hears_once_that_the_service_is_ready(systemd):
    notifier = Notifier(systemd.environment())
    assert notifier.is_waiting

    notifier.lives("consuming slots=16")
    notifier.lives("consuming slots=16")

    assert systemd.news() == {"READY": "1", "STATUS": "consuming slots=16"}
    assert systemd.news() is None
    assert not notifier.is_waiting


def test_systemd_hears_a_status_and_the_stop(systemd):
    notifier = Notifier(systemd.environment())

    notifier.status("größer = besser")
    notifier.stopping()

    assert systemd.news() == {"STATUS": "größer = besser"}
    assert systemd.news() == {"STOPPING": "1", "STATUS": "stopping"}


def test_systemd_hears_each_half_of_the_watchdogs_time_that_the_service_lives(systemd, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(notify.time, "monotonic", lambda: now)
    notifier = Notifier(systemd.environment(watchdog_seconds=60, pid=os.getpid()))
    notifier.lives("ready")
    systemd.news()

    now += 29
    notifier.lives("too soon")
    now += 1
    notifier.lives("well")
    notifier.lives("too soon")

    assert notifier.watchdog_seconds == 60
    assert systemd.news() == {"WATCHDOG": "1", "STATUS": "well"}
    assert systemd.news() is None


@pytest.mark.parametrize(
    "environment",
    [
        {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "often"},
        {"WATCHDOG_USEC": ""},
        {},
    ],
)
def test_a_watchdog_that_is_not_ours_is_left_alone(systemd, environment):
    notifier = Notifier({**systemd.environment(), **environment})
    notifier.lives("ready")
    systemd.news()

    notifier.lives("well")

    assert notifier.watchdog_seconds is None
    assert systemd.news() is None


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1000000"}])
def test_nobody_hears_anything_without_systemd(environment, caplog):
    notifier = Notifier(environment)

    notifier.lives("ready")
    notifier.status("well")
    notifier.stopping()

    assert notifier.watchdog_seconds is None
    assert not notifier.is_waiting
    assert caplog.text == ""


def test_a_service_goes_on_when_systemd_is_gone(tmp_path, caplog):
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})

    notifier.lives("ready")

    assert "systemd not told news=READY=1" in caplog.text


def test_a_service_does_not_wait_for_a_systemd_that_hangs(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(notify, "SEND_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})

        while not caplog.text:
            notifier.status("x" * 1000)

    assert "systemd not told" in caplog.text
