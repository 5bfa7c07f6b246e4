"""How gunicorn serves the web interface: `gunicorn -c gunicorn_conf.py biomaj_download.wsgi:app`.

Threads, because a client's question about progress waits up to a minute for its answer.
"""

import os
import shutil
import tempfile
from pathlib import Path

# Where the processes share their counts; the lower-case name is the old one. It must be set, and
# the counts of an earlier run be gone, before prometheus_client is first imported.
_names = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
_given = next(filter(None, map(os.environ.get, _names)), None)
_metrics_directory = Path(_given or tempfile.mkdtemp(prefix="biomaj-download-metrics-"))
_metrics_directory.mkdir(parents=True, exist_ok=True)
for _file in _metrics_directory.glob("*.db"):
    _file.unlink()
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_directory)

from prometheus_client import multiprocess  # noqa: E402 - see above

from biomaj_download.discovery import register_web  # noqa: E402 - see above
from biomaj_download.settings import load_settings  # noqa: E402 - see above

_settings = load_settings()

bind = f"0.0.0.0:{_settings.web.port}"
worker_class = "gthread"
workers = 2
threads = 32
keepalive = 75
timeout = 120
if _settings.tls.cert and _settings.tls.key:
    certfile, keyfile = str(_settings.tls.cert), str(_settings.tls.key)

_deregister = []


def when_ready(server):
    """Tell Consul, once for all workers."""
    _deregister.append(register_web(_settings))


def child_exit(server, worker):
    """Forget the gauges of a worker that has ended."""
    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    """Take the registration back, and the metrics of a folder of our own."""
    for deregister in filter(None, _deregister):
        deregister()
    if _given is None:
        shutil.rmtree(_metrics_directory, ignore_errors=True)
