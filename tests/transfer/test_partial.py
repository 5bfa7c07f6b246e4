from __future__ import annotations

import threading
from pathlib import Path

import pytest

from biomaj_download.transfer.partial import claimed, part_path


@pytest.mark.parametrize("name", ["a.dat", "é" * 120, "x" * 255])
def test_part_has_a_name_that_a_file_system_takes(tmp_path, name):
    part = part_path(tmp_path / name)

    part.write_text("")
    assert part.parent == tmp_path
    assert part.name.startswith(".")
    assert part.name.endswith(".part")


def test_two_requests_for_one_file_take_turns():
    path = Path("/a")
    entered = threading.Event()
    other = threading.Thread(target=lambda: claimed(path).__enter__() or entered.set())

    with claimed(path):
        other.start()
        assert not entered.wait(0.2)

    assert entered.wait(10)
    other.join()
