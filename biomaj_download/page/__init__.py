"""The live page: its files, and the routes that serve them.

In: nothing but requests; the page itself asks the REST routes.  Out: static files of this folder,
under a policy that lets a browser load, run and ask nothing from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, send_from_directory
from werkzeug.exceptions import NotFound

_HERE = Path(__file__).parent
#: What is served, by the end of its name; a host's own table of types may say otherwise.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
#: https://www.w3.org/TR/CSP3/
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def page_routes() -> Blueprint:
    """Return the routes `/` and `/page/NAME`."""
    routes = Blueprint("page", __name__)

    @routes.get("/")
    def page() -> Response:
        return _file("index.html")

    @routes.get("/page/<name>")
    def part(name: str) -> Response:
        return _file(name)

    return routes


def _file(name: str) -> Response:
    """Answer with a file of the page; a browser asks each time whether it is still that one."""
    kind = _TYPES.get(Path(name).suffix)
    if kind is None:
        raise NotFound(f"the page has no {name!r}")
    response = send_from_directory(_HERE, name, mimetype=kind, max_age=0)
    response.headers["Content-Security-Policy"] = _POLICY
    return response
