from __future__ import annotations

import pytest

from biomaj_download.transfer.outcome import redact, redact_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no ftp://me:pw@h/x here", "no ftp://***@h/x here"),
        ("no ftp://u:p@ss@h/x here", "no ftp://***@h/x here"),
        ("http://h/a@b", "http://h/a@b"),
        ("plain", "plain"),
    ],
)
def test_redact_hides_accounts(text, expected):
    assert redact(text) == expected


def test_redact_url_hides_account_and_query():
    assert redact_url("https://me:pw@h:8/x?token=1#f") == "https://h:8/x?***"
