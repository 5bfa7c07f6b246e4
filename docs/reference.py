"""What the documentation takes from elsewhere; mkdocs calls `on_page_markdown`.

In: a page with lines `<!-- table: NAME -->` and `<!-- readme: HEADING -->`.  Out: the page with a
table that the code makes, or the text below a heading of README, in their places.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from flask import Flask
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from biomaj_download import errors
from biomaj_download.biomaj_download_web import create_app
from biomaj_download.cli import COMMANDS, main
from biomaj_download.download.options import Option
from biomaj_download.download.registry import PROTOCOLS, downloader_class
from biomaj_download.errors import DownloadError
from biomaj_download.metrics import ConsumerMetrics, Metrics
from biomaj_download.rest.openapi import routes_of
from biomaj_download.settings import Settings

ROOT = Path(__file__).parents[1]


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
        if isinstance(kind, type) and issubclass(kind, DownloadError):
            yield f"| `{kind.code}` | {kind.__doc__} | {'yes' if kind.retryable else 'no'} |"


def metrics_table(kind: type[Metrics] = Metrics) -> Iterator[str]:
    """Make a row for each family of the web interface."""
    registry = CollectorRegistry()
    kind(registry)
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ",".join(registry._names_to_collectors[family.name]._labelnames)
        yield f"| `{name}{{{labels}}}` | {family.documentation} |".replace("{}", "")


def consumer_metrics_table() -> Iterator[str]:
    """Make a row for each family of a consumer that the web interface has not."""
    known = set(metrics_table())
    yield from (row for row in metrics_table(ConsumerMetrics) if row not in known)


def routes_table() -> Iterator[str]:
    """Make a row for each route of the web interface."""
    app: Flask = create_app(Settings(), store=_NoStore(), broker=_NoBroker())
    for rule, route in routes_of(app):
        methods = ", ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        arguments = (
            ", ".join(f"`{name}`" for name in route.query.model_fields) if route.query else ""
        )
        answer = route.answers if isinstance(route.answers, str) else fields_of(route.answers)
        told = (methods, f"`{rule}`", arguments, route.kind.value, route.summary, answer)
        yield f"| {' | '.join(told)} |"


def fields_of(model: type[BaseModel] | None) -> str:
    """Name the fields of an answer."""
    return "" if model is None else ", ".join(f"`{name}`" for name in model.model_fields)


class _NoStore:
    """Answers nothing: routes are but looked at."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments, **_named: None


class _NoBroker(_NoStore):
    """The same, as a broker."""


def commands() -> Iterator[str]:
    """Show what each command says of itself."""
    for name in COMMANDS:
        context = click.Context(main, info_name="biomaj-download")
        command = main.get_command(context, name)
        if command is None:
            raise KeyError(name)
        inner = click.Context(command, info_name=name, parent=context, terminal_width=100)
        yield f"## {name}\n\n```text\n{command.get_help(inner)}\n```\n"


def configuration() -> Iterator[str]:
    """Show the example, which has every key, its default and its names in the environment."""
    yield f"```yaml\n{(ROOT / 'config.yml.example').read_text()}```"


TABLES: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "commands": ("", commands),
    "configuration": ("", configuration),
    "options": (
        "| option | default | meaning | obeyed by |\n|---|---|---|---|\n",
        options_table,
    ),
    "errors": ("| code | meaning | tried again |\n|---|---|---|\n", errors_table),
    "metrics": ("| family | meaning |\n|---|---|\n", metrics_table),
    "consumer-metrics": ("| family | meaning |\n|---|---|\n", consumer_metrics_table),
    "routes": (
        "| method | route | arguments | kind | does | answers |\n|---|---|---|---|---|---|\n",
        routes_table,
    ),
}


def readme(heading: str) -> str:
    """Return the text below a heading of README, without what leads into the repository.

    Raises:
        KeyError: there is no such heading.
    """
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise KeyError(f"README.md: expected a heading {heading!r}")
    text = re.sub(r"!\[[^]]*\]\([^)]+\)\n*", "", found[1])
    return re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"\1", text).strip()


def table(name: str) -> str:
    """Return a table that the code makes."""
    head, rows = TABLES[name]
    return head + "\n".join(rows())


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in what the page asks for."""
    makers = {"table": table, "readme": readme}
    return re.sub(
        r"<!-- (table|readme): (.+) -->", lambda found: makers[found[1]](found[2]), markdown
    )
