"""The web application for a WSGI server: `gunicorn biomaj_download.wsgi:app`."""

from __future__ import annotations

from biomaj_download.biomaj_download_web import app

__all__ = ["app"]
