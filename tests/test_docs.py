"""README says what the code does: its tables are those that the code makes."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from benchmarks.__main__ import RESULTS, ROWS
from benchmarks.report import short_table
from biomaj_download.settings import KNOWN_ENVIRONMENT

ROOT = Path(__file__).parents[1]
#: What makes the tables of docs/ makes those of README.
TABLES = runpy.run_path(str(ROOT / "docs" / "reference.py"))
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("table", ["options_table", "errors_table", "metrics_table"])
def test_readme_has_the_tables_that_the_code_makes(table):
    rows = list(TABLES[table]())

    assert "\n".join(rows) in README, "\n".join(rows)


def test_readme_has_the_figures_that_were_measured():
    rows = list(short_table(ROWS, RESULTS))

    assert "\n".join(rows) in README, "\n".join(rows)


@pytest.mark.parametrize("name", KNOWN_ENVIRONMENT)
def test_readme_or_the_example_names_each_known_variable(name):
    assert name in README + (ROOT / "config.yml.example").read_text()


def test_readme_names_no_file_that_is_not_there():
    names = re.findall(r"\]\(([^)#:]+)\)", README)

    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
