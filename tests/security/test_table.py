"""docs/security-attacks.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_attacks_names_tests_that_exist():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security-attacks.md").read_text()))
    places = [
        *Path(__file__).parent.glob("test_*.py"),
        ROOT / "tests" / "download" / "test_http.py",
    ]
    written = {name for path in places for name in re.findall(r"def (test_\w+)", path.read_text())}

    assert named
    assert named - written == set()
