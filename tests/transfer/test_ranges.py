from __future__ import annotations

import pytest

from biomaj_download.transfer.ranges import Ranges


@pytest.mark.parametrize(
    ("added", "ranges", "beginning_bytes", "holes"),
    [
        ([], [], 0, [(0, 100)]),
        ([(0, 10), (10, 20)], [(0, 20)], 20, [(20, 100)]),
        ([(50, 60), (0, 10)], [(0, 10), (50, 60)], 10, [(10, 50), (60, 100)]),
        ([(0, 10), (50, 60), (5, 55)], [(0, 60)], 60, [(60, 100)]),
        ([(50, 100)], [(50, 100)], 0, [(0, 50)]),
        ([(0, 120)], [(0, 120)], 120, []),
        ([(7, 7)], [], 0, [(0, 100)]),
    ],
)
def test_ranges_grow_together(added, ranges, beginning_bytes, holes):
    there = Ranges(added)

    assert list(there) == ranges
    assert there.beginning_bytes == beginning_bytes
    assert there.holes(100) == holes
    assert there.is_scattered == (there.end > beginning_bytes)
