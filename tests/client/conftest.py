"""What the client's tests share: a service that the test drives, and a client's thread."""

from __future__ import annotations

import pytest

from tests import background
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
    return background.start


@pytest.fixture
def quick_patience(monkeypatch):
    monkeypatch.setattr("biomaj_download.client.patience.FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr("biomaj_download.client.patience.LONGEST_WAIT_SECONDS", 0.1)
