"""Imports only fall: from a room to a lower floor, or within the room, and never in a circle.

A room is a file or a folder of the package; where several fit a module, the longest name counts.
A new file in a folder below has its floor already.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import biomaj_download

PACKAGE = Path(biomaj_download.__file__).parent

#: The rooms of each floor, from the ground up.
FLOORS = (
    ("__init__", "cores", "errors", "exit_codes", "job", "machine", "page", "permissions", "text"),
    (
        "archives",
        "batches",
        "beats",
        "bearer",
        "cancellation",
        "checksums",
        "content",
        "disk",
        "download.expressions",
        "download.filedict",
        "expression",
        "flush",
        "health",
        "observer",
        "meter",
        "secret_files",
        "server_urls",
        "transfer.followers",
        "transfer.ranges",
    ),
    ("download.listing", "transfer.digests", "transfer.kept"),
    ("download.matching", "settings", "transfer.partial"),
    ("broker.base", "message", "publish", "store.base"),
    (
        "metrics",
        "probes",
        "server_tls",
        "tracing",
        "transfer.outcome",
        "transfer.places",
        "transfer.request",
    ),
    (
        "broker",
        "discovery",
        "exporter",
        "notify",
        "reporting",
        "retry",
        "sharing",
        "signals",
        "store",
        "transfer",
        "verified",
        "verify",
    ),
    (
        "admission",
        "download.lastrelease",
        "events",
        "download.options",
        "outbox",
        "pipeline",
        "watch",
    ),
    ("activity", "crew", "result"),
    ("publication", "recorder"),
    ("download.publishers", "download.wishes"),
    ("download.interface",),
    ("download",),
    ("worker",),
    ("client", "downloadservice", "inspection"),
    ("downloadclient", "rest", "supervisor"),
    ("biomaj_download_web",),
    ("gunicorn_conf", "serving"),
    ("command",),
    ("cli",),
    ("wsgi",),
)
HEIGHTS = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


class Arrow(NamedTuple):
    """One module imports another; names are relative to the package."""

    importer: str
    imported: str

    @property
    def is_fine(self) -> bool:
        """Say whether it falls, or stays in its room."""
        above, below = room_of(self.importer), room_of(self.imported)
        return above == below or HEIGHTS[above] > HEIGHTS[below]


def room_of(module: str) -> str:
    """Return the longest room name that fits a module."""
    name = module
    while name not in HEIGHTS:
        assert name, f"{module}: no room of FLOORS fits it"
        name = name.rpartition(".")[0]
    return name


def modules_of(package: Path) -> dict[str, Path]:
    """Return each module's name, relative to the package, and its file."""
    return {
        ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__"): path
        for path in package.rglob("*.py")
    }


def arrows_of(package: Path) -> list[Arrow]:
    """Return every import of a module of the package by another, wherever it stands."""
    modules = modules_of(package)
    return sorted(
        {
            Arrow(importer, imported)
            for importer, path in modules.items()
            for imported in _imports(path, package.name, modules)
            if imported != importer
        }
    )


def _imports(path: Path, package: str, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import; expected an absolute one"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == package:
                yield _module(rest, modules)


def _module(name: str, modules: Mapping[str, Path]) -> str:
    """Return the module that a dotted name means: itself, or the one that defines it."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or "__init__"


@pytest.fixture
def small_package(tmp_path):
    """Make a package of two modules, `errors` and `worker`, with this text in `errors`."""

    def make(text):
        package = tmp_path / "small"
        package.mkdir()
        for name, content in (("__init__", ""), ("worker", ""), ("errors", text)):
            (package / f"{name}.py").write_text(content)
        return package

    return make


def test_imports_only_fall():
    assert [arrow for arrow in arrows_of(PACKAGE) if not arrow.is_fine] == []


def test_imports_make_no_circle():
    graph = TopologicalSorter()
    for arrow in arrows_of(PACKAGE):
        graph.add(arrow.importer, arrow.imported)

    try:
        graph.prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_every_room_on_a_floor_is_there():
    assert set(HEIGHTS) == {room_of(module) for module in modules_of(PACKAGE)}


@pytest.mark.parametrize(
    "text",
    [
        "import small.worker",
        "from small import worker",
        "from small.worker import Worker",
        "def later():\n    from small.worker import Worker",
        "if TYPE_CHECKING:\n    from small.worker import Worker",
    ],
)
def test_an_import_that_rises_is_found_wherever_it_stands(small_package, text):
    package = small_package(text)

    rising = [arrow for arrow in arrows_of(package) if not arrow.is_fine]

    assert ("errors", "worker") in rising


def test_a_relative_import_is_refused(small_package):
    package = small_package("from . import worker")

    with pytest.raises(AssertionError, match="relative import"):
        arrows_of(package)
