"""What the client's tests share: a service that the test drives, and a client's thread."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from tests.servers.download_service import DownloadServiceStandIn, settings_of


@pytest.fixture
def rabbitmq_settings(rabbitmq):
    return settings_of(rabbitmq)


@pytest.fixture(params=[True, False], ids=["our web", "old web"])
def service(request, rabbitmq_settings):
    with DownloadServiceStandIn(rabbitmq_settings, holds=request.param) as service:
        yield service


@pytest.fixture
def in_background():
    """Run a function in a thread that a failed test may leave behind; return its future."""

    def start(function):
        future = Future()

        def run():
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - handed on to whom it concerns
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    return start


@pytest.fixture
def quick_patience(monkeypatch):
    monkeypatch.setattr("biomaj_download.client.patience.FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr("biomaj_download.client.patience.LONGEST_WAIT_SECONDS", 0.1)
