"""The embedded service behind a proxy of its own machine."""

from __future__ import annotations

import pytest
import requests

from tests.command.conftest import served


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "192.0.2.1"},
        {"X-Forwarded-Host": "downloads.example.org"},
        {"X-Forwarded-Proto": "https"},
        {"Forwarded": "for=192.0.2.1"},
    ],
)
def test_who_comes_through_a_proxy_is_not_of_this_machine(tmp_path, headers):
    with served(tmp_path) as url:
        session = requests.post(f"{url}/api/download/session/bank", timeout=10).json()["session"]
        place = f"{url}/api/download/sessions/bank/{session}"

        refused = requests.delete(place, headers=headers, timeout=10)
        taken = requests.delete(place, timeout=10)

    assert refused.status_code == 403
    assert taken.status_code == 204
