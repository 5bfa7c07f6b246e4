"""What a route is, beside its view: who may call it, what it takes and answers.

The door (`access`) and the document (`openapi`) read it: neither can forget a route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Flask, request
from pydantic import BaseModel, ConfigDict
from werkzeug.exceptions import UnsupportedMediaType

JSON = "application/json"
View = TypeVar("View", bound=Callable[..., Any])
Arguments = TypeVar("Arguments", bound=BaseModel)


class Kind(Enum):
    """Who may call a route; see `access`."""

    OPEN = "open"
    #: Clients of biomaj-download 3 call it without a token.
    OLD = "old"
    READING = "reading"
    CHANGING = "changing"


class Query(BaseModel):
    """Arguments of a request; others are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a route.

    `answers`: the model of a JSON answer, or a media type; None: no body. `is_of_one`: of a thing
    that may not be there. `bodies`: a schema (JSON Schema) for each media type that it takes.
    """

    summary: str
    kind: Kind
    answers: type[BaseModel] | str | None = None
    status: HTTPStatus = HTTPStatus.OK
    query: type[BaseModel] | None = None
    is_of_one: bool = False
    bodies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def described(description: Description) -> Callable[[View], View]:
    """Put a description on a view."""

    def mark(view: View) -> View:
        view.description = description  # type: ignore[attr-defined]
        return view

    return mark


def description_of(app: Flask, endpoint: str | None) -> Description | None:
    """Return the description of the view that answers an endpoint."""
    return getattr(app.view_functions.get(endpoint or ""), "description", None)


def sent_type(*expected: str) -> str:
    """Return the media type of the request's body.

    A page of another site can send a few types here without asking first: none of ours.

    Raises:
        UnsupportedMediaType: it is none of those that are expected.
    """
    if request.mimetype not in expected:
        raise UnsupportedMediaType(f"expected {' or '.join(expected)}, got {request.mimetype!r}")
    return request.mimetype


def arguments(model: type[Arguments]) -> Arguments:
    """Return the arguments of the request.

    Raises:
        ValidationError: one is wrong, or unknown.
    """
    return model.model_validate(request.args.to_dict())
