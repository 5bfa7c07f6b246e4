"""A moment of fuzzing: the corpus, and what hypothesis makes of it; `make fuzz` takes its time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import CORPUS
from tests.fuzz.targets import TARGETS, run

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
BY_NAME = {target.__name__: target for target in TARGETS}


def test_each_target_has_a_corpus():
    assert CORPUS.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", BY_NAME)
def test_what_was_found_once_is_mended(name):
    for data in CORPUS[name]:
        run(BY_NAME[name], data)


@pytest.mark.parametrize("name", BY_NAME)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_are_read_or_refused(name, data):
    seed = data.draw(st.sampled_from(CORPUS[name]))[:500]
    start = data.draw(st.integers(0, len(seed)))
    end = data.draw(st.integers(start, len(seed)))

    run(BY_NAME[name], seed[:start] + data.draw(st.binary(max_size=30)) + seed[end:])
