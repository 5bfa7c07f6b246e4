"""README says what the code does: its tables are those that the code makes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from biomaj_download import errors
from biomaj_download.download.options import Option
from biomaj_download.download.registry import PROTOCOLS, downloader_class
from biomaj_download.errors import DownloadError
from biomaj_download.metrics import Metrics
from biomaj_download.settings import KNOWN_ENVIRONMENT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def options_table() -> Iterator[str]:
    """Make a row for each option of each protocol."""
    protocols: dict[Option, list[str]] = defaultdict(list)
    for protocol in PROTOCOLS:
        for option in downloader_class(protocol).OPTIONS:
            protocols[option].append(protocol)
    for option, names in protocols.items():
        default = "" if option.default is None else f"`{option.default}`"
        meaning = option.help.replace("|", "\\|")
        yield f"| `{option.name}` | {default} | {meaning} | {obeyed_by(names)} |"


def obeyed_by(protocols: list[str]) -> str:
    """Say which protocols obey an option."""
    if set(protocols) == set(PROTOCOLS):
        return "all"
    missing = set(PROTOCOLS) - set(protocols)
    return f"all but {', '.join(sorted(missing))}"


def errors_table() -> Iterator[str]:
    """Make a row for each error that a file can end with."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, DownloadError) and kind is not DownloadError:
            yield f"| `{kind.code}` | {kind.__doc__} | {'yes' if kind.retryable else 'no'} |"


def metrics_table() -> Iterator[str]:
    """Make a row for each counter."""
    registry = CollectorRegistry()
    Metrics(registry)
    for family in registry.collect():
        labels = registry._names_to_collectors[family.name]._labelnames
        name = f"{family.name}_total{{{','.join(labels)}}}"
        yield f"| `{name}` | {family.documentation} |"


@pytest.mark.parametrize("table", [options_table, errors_table, metrics_table])
def test_readme_has_the_tables_that_the_code_makes(table):
    rows = list(table())

    assert "\n".join(rows) in README, "\n".join(rows)


@pytest.mark.parametrize("name", KNOWN_ENVIRONMENT)
def test_readme_or_the_example_names_each_known_variable(name):
    assert name in README + (ROOT / "config.yml.example").read_text()


def test_readme_names_no_file_that_is_not_there():
    names = re.findall(r"\]\(([^)#:]+)\)", README)

    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
