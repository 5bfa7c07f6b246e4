"""The document of the routes, and the routes held to it: schemathesis asks a running service."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from biomaj_download.serving import EmbeddedService
from biomaj_download.settings import Settings, WebSettings, WorkerSettings
from tests.rest.conftest import TOKEN

RIGHT = {"Authorization": f"Bearer {TOKEN}"}
#: Of each route.
EXAMPLES = 5


@pytest.fixture(scope="module")
def served_url(tmp_path_factory) -> Iterator[str]:
    chosen = Settings(web=WebSettings(token=TOKEN), worker=WorkerSettings(shutdown_grace_seconds=0))
    embedded = EmbeddedService(chosen, tmp_path_factory.mktemp("data"), host="127.0.0.1", port=0)
    thread = threading.Thread(target=embedded.run)
    thread.start()
    yield embedded.url
    embedded.stop()
    thread.join(60)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_service_does_as_its_document_says(served_url, mode):
    api = schemathesis.openapi.from_url(f"{served_url}/api/download/openapi.json")
    # A stream goes on for a minute; tests of their own read it.
    for found in api.exclude(path="/api/download/events").get_all_operations():
        operation = found.ok()

        @given(operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case):
            case.call_and_validate(headers=RIGHT, timeout=20)

        try:
            ask()
        except Unsatisfiable:  # nothing can be wrong where nothing is asked for
            assert mode is GenerationMode.NEGATIVE


def test_the_document_names_every_route_but_the_page(make_app):
    app = make_app(token=TOKEN)
    told = app.test_client().get("/api/download/openapi.json").json

    assert told["openapi"].startswith("3.1")
    assert len(told["paths"]) >= 20
    assert told["paths"]["/api/download/overview"]["get"]["security"] == [{"token": []}]
    assert "security" not in told["paths"]["/healthz"]["get"]
    operation = told["paths"]["/api/download/operations"]["post"]["requestBody"]["content"]
    assert set(operation) == {"application/json", "application/x-protobuf"}
