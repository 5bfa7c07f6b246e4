"""How gunicorn serves the web interface; `biomaj-download web` starts it so.

    gunicorn -c python:biomaj_download.gunicorn_conf biomaj_download.wsgi:app

Threads, because a client's question about progress waits up to a minute for its answer. Only
gunicorn imports this file, which reads the settings.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from biomaj_download.discovery import register_web
from biomaj_download.notify import Notifier
from biomaj_download.settings import load_settings

_settings = load_settings()

bind = f"0.0.0.0:{_settings.web.port}"
worker_class = "gthread"
workers = 2
threads = 32
keepalive = 75
timeout = 120
certfile = str(_settings.tls.cert) if _settings.tls.cert else None
keyfile = str(_settings.tls.key) if _settings.tls.key else None

# What must be undone in the end is kept at the server: a reload (HUP) reads this file anew.


def on_starting(server: Any) -> None:
    """Make the folder where the processes add up their counts; those of an earlier run go.

    prometheus_client looks for it when it is first imported, which a worker does.
    """
    names = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")  # the second is the old one
    given = next(filter(None, map(os.environ.get, names)), None)
    folder = Path(given or tempfile.mkdtemp(prefix="biomaj-download-metrics-"))
    folder.mkdir(parents=True, exist_ok=True)
    for counts in folder.glob("*.db"):
        counts.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    server.own_metrics_folder = None if given else folder
    server.notifier = Notifier()  # here, for systemd's watchdog is the main process's


def when_ready(server: Any) -> None:
    """Tell Consul, once for all workers."""
    server.deregister = register_web(_settings)


def pre_fork(server: Any, worker: Any) -> None:
    """Hand a worker what it tells systemd by."""
    worker.notifier = server.notifier


def post_worker_init(worker: Any) -> None:
    """Have streams end when a worker is to end, which waits for its answers, and systemd hear.

    A worker tells its main process each second or so that its loop turns; now and then, systemd
    hears it too. The main process ends a worker that hangs; where none is left that turns, systemd
    ends them all.
    """
    from biomaj_download.biomaj_download_web import streams_of  # noqa: PLC0415 - see `on_starting`

    streams_of(worker.wsgi).is_stopping = lambda: not worker.alive
    tell_main_process = worker.notify

    def notify() -> None:
        tell_main_process()
        worker.notifier.lives("serving")

    worker.notify = notify


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that has ended."""
    from prometheus_client import multiprocess  # noqa: PLC0415 - see `on_starting`

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Take the registration back, and the metrics of a folder of our own."""
    if getattr(server, "deregister", None) is not None:
        server.deregister()
    if getattr(server, "own_metrics_folder", None) is not None:
        shutil.rmtree(server.own_metrics_folder, ignore_errors=True)
