"""Where biomaj-download 3 had it: `gunicorn -c gunicorn_conf.py biomaj_download.wsgi:app`."""

from biomaj_download.gunicorn_conf import *  # noqa: F403 - gunicorn takes all names from here
