"""A bank's expressions mean what Python's `re` makes of them, and end in time."""

from __future__ import annotations

import hashlib
import re
import threading
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from biomaj_download.download.expressions import MatchTime, compile_expression
from biomaj_download.download.listing.http import DEFAULT_DIR_LINE, DEFAULT_FILE_LINE
from biomaj_download.errors import ExpressionTooSlow

#: Each kept busy `re` for longer than anybody waited.
CATASTROPHES = [
    ("(a|aa)+$", "a" * 80 + "b"),
    ("(?:a|a)*c", "a" * 60 + "b"),
    (r"(\w+\s?)*!", "word " * 30 + "?"),
    ("(?:.*,){12}P", "1," * 100),
    (r"(?:(?=(a+))a?)+b", "a" * 2000),
    (r"(a?){40}a{40}x(\1)", "a" * 60),
    ("a?" * 60 + "a" * 60, "a" * 59),
]
#: What banks of BioMAJ have in `remote.files` and `http.parse.*`.
BANK_PATTERNS = [
    r"^uniprot_sprot\.(dat|fasta)\.gz$",
    r"^release_note\.txt",
    r".*\.tar\.gz",
    r"^nr\.[\d]+\.tar\.gz$",
    r"(?P<name>\w+)_(?P<release>\d+)\.(?P=name)",
    r"(?!README)[^.]+\.fa(?:sta)?(?:\.gz)?$",
    r"(?<=chr)(\d{1,2}|X|Y|MT)\b",
    r"gb(?:bct|inv|mam)[0-9]{1,3}\.seq\.gz\Z",
    r"(?i)ReadMe(?:\.TXT)?",
    r"^[^/]*?-(\d{4})-(\d{2})(?(1)\.gz|\.zip)",
    r"a{e}{0,}b{,3}[{}]{x",
    DEFAULT_DIR_LINE,
    DEFAULT_FILE_LINE,
]
NAMES = [
    "uniprot_sprot.dat.gz",
    "uniprot_sprot.fasta.gz\n",
    "nr.00.tar.gz",
    "a_12.a",
    "README.fasta",
    "homo.fa.gz",
    "chrX",
    "gbbct12.seq.gz",
    "readme.txt",
    "x-2024-01.gz",
    "Ä_ö_1.Ä",
    "r\udce9sum\udce9.gz",
    "a{e}{{x",
    "",
    '<img src="/i.gif" alt="[DIR]"> <a href="pub/">pub/</a>  24-Jan-2023 07:45    -',
    '<img src="/i.gif" alt="[   ]"> <a href="a.gz">a.gz</a>  24-Jan-2023 07:45  2.3K',
]

ATOMS = st.sampled_from(
    [*"ab._1^$é{}-", r"\.", r"\d", r"\w", r"\s", r"\S", r"\W", r"\b", r"\Z", "{e}", "{a<2}"]
) | st.sampled_from(["[ab]", "[^a]", "[]a-]", r"[\w.-]", "[^]]", "(?:)"])
TIMES = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{1,}?"])
GROUPS = st.sampled_from(
    ["(%s)", "(?:%s)", "(?=%s)", "(?!%s)", "(?i:%s)", "(?s:%s)", "(?P<n>%s)", "(?<!a)%s"]
)


def composed(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return patterns made of smaller ones: repeated, in groups, in a row, as alternatives."""
    return st.one_of(
        st.builds(lambda group, part, times: group % part + times, GROUPS, parts, TIMES),
        st.lists(parts, min_size=2, max_size=4).map("".join),
        st.builds(lambda first, second: f"{first}|{second}", parts, parts),
    )


PATTERNS = st.recursive(st.builds("".join, st.tuples(ATOMS, TIMES)), composed, max_leaves=8)
TEXTS = st.text(alphabet="aAbB1._- é{}e<\n]", max_size=14)


def spans(found: re.Match[str] | None) -> object:
    """Return what a match says: where it and each of its groups stand."""
    return found and (found.regs, found.groupdict())


def agree(pattern: str, text: str) -> None:
    """Hold both engines against a text: from its start, and at each place of it."""
    expected, ours = re.compile(pattern), compile_expression(pattern)

    assert spans(ours.match(text, timeout=5)) == spans(expected.match(text))
    rows = [row.regs for row in ours.finditer(text, timeout=5)]
    assert rows == [row.regs for row in expected.finditer(text)]


@pytest.mark.parametrize("pattern", BANK_PATTERNS)
def test_expressions_of_banks_match_as_in_re(pattern):
    for name in NAMES:
        agree(pattern, name)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@settings(max_examples=1500, deadline=None)
@given(pattern=PATTERNS, text=TEXTS)
@example(pattern="a{e}", text="b")
@example(pattern="[{e}]{2}", text="e}")
@example(pattern=r"\{e}{1}", text="{e}")
def test_made_up_expressions_match_as_in_re(pattern, text):
    try:
        re.compile(pattern)
    except re.error:
        with pytest.raises(ValueError, match=r"."):
            compile_expression(pattern)
        return

    agree(pattern, text)


@pytest.mark.parametrize(
    "text", ["(", "a**", r"\p{L}", "(?|a|b)", "(?V1)a", r"\L<words>", "(" * 5000, "a{99999999999}"]
)
def test_what_re_does_not_read_is_no_expression(text):
    with pytest.raises(ValueError, match=r"."):
        compile_expression(text)


@pytest.mark.parametrize(("pattern", "text"), CATASTROPHES)
def test_a_catastrophic_expression_ends_within_its_time(pattern, text):
    expression = compile_expression(pattern)

    try:
        assert MatchTime(0.3).taken(expression, [text], str) == []
    except ExpressionTooSlow as error:
        assert "within 0.3 s" in str(error)  # noqa: PT017  # some are quick: regex sees through them


def test_other_threads_run_while_an_expression_is_held_against_a_text():
    beats: list[float] = []
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.01):
            beats.append(time.monotonic())

    heart = threading.Thread(target=beat)
    heart.start()
    with pytest.raises(ExpressionTooSlow):
        MatchTime(0.5).taken(compile_expression("(a|aa)+$"), ["a" * 80 + "b"], str)
    done.set()
    heart.join()

    assert len(beats) > 5


def test_the_time_is_for_all_names_together():
    expression = compile_expression("(a|aa)+$")
    names = ["a" * 22 + "b"] * 100_000

    with pytest.raises(ExpressionTooSlow):
        MatchTime(0.3).taken(expression, names, str)


def test_no_time_is_left_after_it_was_spent():
    match_time = MatchTime(0.2)
    with pytest.raises(ExpressionTooSlow):
        match_time.groups(compile_expression("(?:a|aa)+b"), "a" * 80)

    with pytest.raises(ExpressionTooSlow):
        match_time.groups(compile_expression("(?:a|aa)+b"), "a" * 80)


@pytest.fixture
def busy_threads():
    """Two threads that keep the processor, and not the interpreter's lock."""
    done = threading.Event()
    block = bytes(2**24)

    def work() -> None:
        while not done.is_set():
            hashlib.sha256(block)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    done.set()
    for thread in threads:
        thread.join()


def test_the_time_of_other_threads_is_not_counted(busy_threads):
    expression = compile_expression("(a|aa)+$")
    own_seconds, length = 0.0, 20
    while own_seconds < 0.1:  # long enough to be worth the name, on any machine
        length += 1
        began = time.thread_time()
        expression.match("a" * length + "b")
        own_seconds = time.thread_time() - began

    # As `regex` counts, all three together, it would take thrice as long.
    assert MatchTime(2 * own_seconds).taken(expression, ["a" * length + "b"], str) == []


def test_an_expression_without_an_end_ends_beside_busy_threads(busy_threads):
    with pytest.raises(ExpressionTooSlow):
        MatchTime(0.3).taken(compile_expression("(a|aa)+$"), ["a" * 80 + "b"], str)
