"""requirements.lock names what requirements.txt asks for, each with the hashes of its files."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
ENTRY = re.compile(
    r"^([\w.-]+)==(\S+)(?: ; .+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", re.MULTILINE
)


def test_the_lock_satisfies_what_the_service_needs():
    locked = {canonicalize_name(name): version for name, version, _ in ENTRY.findall(LOCK)}

    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), line


def test_each_locked_release_has_hashes_and_nothing_says_where_it_came_from():
    assert len(re.findall("^[^# ].*==", LOCK, re.MULTILINE)) == len(ENTRY.findall(LOCK))
    assert "://" not in LOCK
    assert re.search("^--", LOCK, re.MULTILINE) is None


def test_the_image_has_the_python_that_the_lock_was_made_with():
    images = re.findall(
        r"^FROM \S+/python:([\d.]+)-", (ROOT / "Containerfile").read_text(), re.MULTILINE
    )
    made_with = re.findall(r"by pip-compile with Python ([\d.]+)$", LOCK, re.MULTILINE)

    assert set(images) == set(made_with)
    assert len(images) == 2
