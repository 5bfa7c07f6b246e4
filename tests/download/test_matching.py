"""Patterns of `remote.files`: which files they take, and which directories are listed for them."""

from __future__ import annotations

from datetime import date

import pytest

from biomaj_download.download.listing.bounds import Bounds
from biomaj_download.download.matching import match_files
from biomaj_download.errors import AccessDenied, ListingError, OptionError, RemoteFileMissing
from biomaj_download.job import Listing, RemoteFile

DAY = date(2023, 1, 24)


def entries(*names: str) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(name=name, size_bytes=len(name), day=DAY) for name in names)


def listing(files: tuple[str, ...] = (), directories: tuple[str, ...] = ()) -> Listing:
    return Listing(files=entries(*files), directories=entries(*directories))


TREE = {
    "/": listing(("a.gz", "b.txt", "ab.gz"), ("sub", "subway", "empty")),
    "/sub/": listing(("c.gz", "c.txt"), ("deep",)),
    "/sub/deep/": listing(("e.gz",)),
    "/subway/": listing(("w.gz",)),
    "/empty/": listing(),
}


class Server:
    """A tree of listings that remembers what was listed."""

    def __init__(self, tree: dict[str, Listing | Exception]) -> None:
        self.tree = tree
        self.listed: list[str] = []

    def __call__(self, path: str) -> Listing:
        self.listed.append(path)
        found = self.tree[path]
        if isinstance(found, Exception):
            raise found
        return found

    def names(self, *patterns: str, prefix: str = "") -> list[str]:
        top = self.tree[f"{prefix}/"]
        return [file.name for file in match_files(patterns, top, self, prefix=prefix)]


@pytest.fixture
def server():
    return Server(dict(TREE))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.*", ["a.gz", "ab.gz"]),
        ("a", ["a.gz", "ab.gz"]),
        ("^a\\.gz$", ["a.gz"]),
        (".*gz$", ["a.gz", "ab.gz"]),
        ("z", []),
        ("", ["a.gz", "b.txt", "ab.gz"]),
        ("sub$/.*gz", ["/sub/c.gz"]),
        ("su/.*gz", ["/sub/c.gz", "/subway/w.gz"]),
        (".*/.*gz", ["/sub/c.gz", "/subway/w.gz"]),
        ("^/sub$/c", ["/sub/c.gz", "/sub/c.txt"]),
        ("^sub$/c", ["/sub/c.gz", "/sub/c.txt"]),
        ("/sub$/c", ["/sub/c.gz", "/sub/c.txt"]),
        ("sub$//c", ["/sub/c.gz", "/sub/c.txt"]),
        ("sub$/", ["/sub/c.gz", "/sub/c.txt"]),
        ("sub/deep/.*", ["/sub/deep/e.gz"]),
        ("sub/shallow/.*", []),
        ("sub$/**/*", ["/sub/c.gz", "/sub/c.txt", "/sub/deep/e.gz"]),
        (
            "**/*",
            [
                "a.gz",
                "b.txt",
                "ab.gz",
                "/sub/c.gz",
                "/sub/c.txt",
                "/sub/deep/e.gz",
                "/subway/w.gz",
            ],
        ),
    ],
)
def test_a_pattern_takes_the_files_it_describes(server, pattern, names):
    assert server.names(pattern) == names


def test_several_patterns_take_the_union_and_no_file_twice(server):
    names = server.names(".*gz", "a.*", "sub$/c.gz", "sub$/.*", "**/*")

    assert names[:4] == ["a.gz", "ab.gz", "/sub/c.gz", "/sub/c.txt"]
    assert len(names) == len(set(names)) == 7


def test_each_directory_is_listed_once_and_only_where_a_pattern_leads(server):
    server.names("sub$/c.gz", "sub$/c.txt", "sub$/deep/e", "a.gz")

    assert server.listed == ["/sub/", "/sub/deep/"]


def test_a_pattern_without_a_slash_lists_nothing(server):
    server.names("a.*")

    assert server.listed == []


@pytest.mark.parametrize("prefix", ["/pub/bank", "pub/bank"])
def test_a_prefix_goes_before_names_and_listed_paths(prefix):
    server = Server({f"{prefix}{path}": found for path, found in TREE.items()})

    names = server.names("a.gz", "sub$//c.gz", prefix=prefix)

    assert names == [f"{prefix}/a.gz", f"{prefix}/sub/c.gz"]
    assert server.listed == [f"{prefix}/sub/"]


def test_a_prefix_of_slashes_doubles_none(server):
    names = [
        file.name for file in match_files(["a.gz", "sub$/c.gz"], TREE["/"], server, prefix="//")
    ]

    assert names == ["/a.gz", "/sub/c.gz"]
    assert server.listed == ["/sub/"]


def test_a_chosen_file_keeps_all_but_its_name(server):
    chosen = match_files(["sub$/c.gz"], TREE["/"], server)

    assert chosen == (RemoteFile(name="/sub/c.gz", size_bytes=4, day=DAY),)


@pytest.mark.parametrize("pattern", ["a(.*", "[z-a]", "**/c.*", "a**/*", "[^/]*gz", "*/x"])
def test_a_wrong_expression_is_refused_before_anything_is_listed(server, pattern):
    with pytest.raises(OptionError) as refused:
        server.names("sub/.*", pattern)

    assert repr(pattern) in str(refused.value)
    assert server.listed == []


def test_a_server_that_fails_makes_the_match_fail(server):
    server.tree["/sub/"] = ListingError("timed out")

    with pytest.raises(ListingError, match="timed out"):
        server.names("**/*")


def test_a_forbidden_directory_makes_the_match_fail(server):
    server.tree["/sub/"] = AccessDenied("550")

    with pytest.raises(AccessDenied):
        server.names("**/*")


@pytest.fixture
def linked():
    """A server with one link to a directory and one to a file; FTP lists both as both."""
    return Server(
        {
            "/": listing(("current", "latest.gz"), ("current", "latest.gz", "release-1")),
            "/current/": listing(("x.gz", "y.gz")),
            "/latest.gz/": RemoteFileMissing("550 not a directory"),
            "/release-1/": listing(("x.gz", "y.gz")),
        }
    )


def test_a_link_counts_as_file_and_as_directory(linked):
    assert linked.names("current") == ["current"]
    assert linked.names("current/x") == ["/current/x.gz"]
    assert linked.names("latest.gz") == ["latest.gz"]


def test_a_link_that_is_no_directory_is_passed_over_on_the_way_down(linked):
    assert linked.names(".*/x") == ["/current/x.gz", "/release-1/x.gz"]


def test_everything_takes_links_to_files_as_files_and_links_to_directories_by_content(linked):
    assert linked.names("**/*") == [
        "latest.gz",
        "/current/x.gz",
        "/current/y.gz",
        "/release-1/x.gz",
        "/release-1/y.gz",
    ]


def test_a_link_that_leads_back_up_is_cut():
    top = listing(("a.gz", "self"), ("self", "sub"))
    server = Server({"/": top, "/self/": top, "/sub/": listing(("up", "b.gz"), ("up",))})
    server.tree["/sub/up/"] = top

    names = server.names("**/*")

    assert names == ["a.gz", "/sub/b.gz"]
    assert server.listed == ["/self/", "/sub/", "/sub/up/"]


def test_nested_directories_of_one_name_are_no_loop():
    inner = listing((), ("data",))
    server = Server({"/": inner, "/data/": inner, "/data/data/": listing(("x",))})

    assert server.names("**/*") == ["/data/data/x"]


def test_a_tree_that_is_split_by_names_is_no_loop():
    split = listing((), ("00", "01"))
    tree = {"/": split, "/00/": split, "/01/": split}
    tree |= {f"/{a}/{b}/": listing(("x",)) for a in ("00", "01") for b in ("00", "01")}

    assert Server(tree).names("**/*") == ["/00/00/x", "/00/01/x", "/01/00/x", "/01/01/x"]


def test_directories_that_hold_the_same_ones_again_and_again_are_a_loop():
    class Round(dict):
        def __missing__(self, path):
            return listing(("x",)) if path.endswith("/other/") else listing((), ("other", "self"))

    names = Server(Round()).names("**/*")

    assert "/other/x" in names
    assert len(names) <= 5


def test_twin_directories_side_by_side_are_no_loop():
    twin = listing(("x", "y"))
    server = Server({"/": listing((), ("a", "b")), "/a/": twin, "/b/": twin})

    assert server.names("**/*") == ["/a/x", "/a/y", "/b/x", "/b/y"]


def test_a_walk_that_never_ends_is_stopped_by_its_depth():
    class Endless(dict):
        def __missing__(self, path):
            return listing((), ("on",))

    with pytest.raises(ListingError, match="64 directories deep"):
        Server(Endless({"/": listing((), ("on",))})).names("**/*")


def test_a_walk_is_stopped_by_the_number_of_entries(server):
    top = server.tree["/"]

    with pytest.raises(ListingError, match="at most 4 entries"):
        match_files(["**/*"], top, server, bounds=Bounds(most_entries=4))
