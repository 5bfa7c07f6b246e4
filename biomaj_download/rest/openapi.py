"""The document of all routes (OpenAPI 3.1), made from what stands beside their views."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from biomaj_download import __version__
from biomaj_download.rest.describing import JSON, Description, Kind, described, description_of
from biomaj_download.rest.problems import PROBLEM_TYPE, Problem

_REFERENCE = "#/components/schemas/{model}"
_METHODS = ("get", "post", "delete")
_TOKEN = {"token": {"type": "http", "scheme": "bearer"}}


def document_routes(*, wants_token: bool) -> Blueprint:
    """Return the route of the document."""
    routes = Blueprint("document", __name__, url_prefix="/api/download")

    @routes.get("/openapi.json")
    @described(Description(summary="Describe all routes.", kind=Kind.OPEN, answers=JSON))
    def openapi() -> Response:
        return jsonify(document(current_app, wants_token=wants_token))

    return routes


def document(app: Flask, *, wants_token: bool) -> dict[str, Any]:
    """Return the document; `wants_token`: whether the routes that are guarded ask for one."""
    paths: dict[str, dict[str, Any]] = {}
    models: set[type[BaseModel]] = {Problem}
    for rule, description in routes_of(app):
        operations = paths.setdefault(_path(rule), {})
        is_guarded = wants_token and description.kind in (Kind.READING, Kind.CHANGING)
        for method in _METHODS:
            if method.upper() in (rule.methods or ()):
                operations[method] = _operation(rule, description, is_guarded=is_guarded)
        if isinstance(description.answers, type):
            models.add(description.answers)
    _, schemas = models_json_schema(
        [(model, "serialization") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=_REFERENCE,
    )
    components = {
        "schemas": schemas["$defs"],
        **({"securitySchemes": _TOKEN} if wants_token else {}),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "biomaj_download",
            "version": __version__,
            "description": "The download service of BioMAJ.",
        },
        "paths": paths,
        "components": components,
    }


def routes_of(app: Flask) -> Iterator[tuple[Rule, Description]]:
    """Hand out the described routes of an application, by their paths."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: (str(rule), rule.endpoint)):
        description = description_of(app, rule.endpoint)
        if description is not None:
            yield rule, description


def _path(rule: Rule) -> str:
    return re.sub(r"<(\w+?)_?>", r"{\1}", str(rule))


def _operation(rule: Rule, description: Description, *, is_guarded: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": description.summary,
        "parameters": [*_places(rule), *_arguments(description)],
        "responses": _responses(description),
    }
    if description.bodies:
        content = {kind: {"schema": schema} for kind, schema in description.bodies.items()}
        operation["requestBody"] = {"required": True, "content": content}
    if is_guarded:
        operation["security"] = [{"token": []}]
    return operation


def _places(rule: Rule) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"<(\w+?)_?>", str(rule)):
        schema = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _arguments(description: Description) -> Iterator[dict[str, Any]]:
    if description.query is None:
        return
    for name, schema in description.query.model_json_schema()["properties"].items():
        shown = {key: value for key, value in schema.items() if key not in ("title", "description")}
        told = {"description": schema["description"]} if "description" in schema else {}
        yield {"name": name, "in": "query", "required": False, "schema": shown, **told}


def _responses(description: Description) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": description.status.phrase}
    if isinstance(description.answers, str):
        answer["content"] = {description.answers: {"schema": {}}}
    elif description.answers is not None:
        reference = _REFERENCE.format(model=description.answers.__name__)
        answer["content"] = {JSON: {"schema": {"$ref": reference}}}
    problems = {str(status.value): _problem(status.phrase) for status in _statuses(description)}
    return {
        str(description.status.value): answer,
        **dict(sorted(problems.items())),
        "default": _problem("A problem"),
    }


def _statuses(description: Description) -> Iterator[HTTPStatus]:
    """Hand out the problems that a route may answer with."""
    if description.kind is Kind.OLD and (description.query or description.bodies):
        yield HTTPStatus.BAD_REQUEST
    elif description.query or description.bodies:
        yield HTTPStatus.UNPROCESSABLE_ENTITY
    if description.kind is not Kind.OPEN:
        yield from (HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE)
    if description.kind is Kind.CHANGING:
        yield HTTPStatus.FORBIDDEN
    if description.is_of_one:
        yield HTTPStatus.NOT_FOUND
    if description.bodies:
        yield from (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def _problem(phrase: str) -> dict[str, Any]:
    reference = {"$ref": _REFERENCE.format(model=Problem.__name__)}
    return {"description": phrase, "content": {PROBLEM_TYPE: {"schema": reference}}}
