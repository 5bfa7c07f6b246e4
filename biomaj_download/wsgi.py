"""The web application for a WSGI server: `gunicorn biomaj_download.wsgi:app`."""

from __future__ import annotations

from biomaj_download.biomaj_download_web import create_app
from biomaj_download.settings import load_settings

app = create_app(load_settings())
