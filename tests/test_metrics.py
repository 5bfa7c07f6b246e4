from __future__ import annotations

import os
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from biomaj_download.metrics import Metrics

_TWO_PROCESSES = """
import os
from prometheus_client import CollectorRegistry
from biomaj_download.metrics import Metrics
metrics = Metrics(CollectorRegistry())
metrics.observe_download("pdb", "h", size_bytes=1, seconds=1)
if os.fork():
    os.wait()
    print(metrics.exposed().decode())
else:
    metrics.observe_download("pdb", "h", size_bytes=1, seconds=1)
"""


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry) -> Metrics:
    return Metrics(registry)


def test_metrics_count_under_the_names_that_dashboards_know(registry, metrics):
    metrics.observe_download("pdb", "example.org", size_bytes=100, seconds=0.5)
    metrics.observe_download("pdb", "example.org", size_bytes=50, seconds=1.5)
    metrics.observe_error("pdb", "stalled")

    host = {"bank": "pdb", "host": "example.org"}
    assert registry.get_sample_value("biomaj_download_total", {"bank": "pdb"}) == 2
    assert registry.get_sample_value("biomaj_download_errors_total", {"bank": "pdb"}) == 1
    assert registry.get_sample_value("biomaj_download_file_size_total", host) == 150
    assert registry.get_sample_value("biomaj_download_file_time_total", host) == 2.0
    assert b'biomaj_download_total{bank="pdb"} 2.0' in metrics.exposed()


def test_metrics_name_a_host_that_was_not_told(registry, metrics):
    metrics.observe_download("pdb", None, size_bytes=1, seconds=1)

    labels = {"bank": "pdb", "host": "na"}
    assert registry.get_sample_value("biomaj_download_file_size_total", labels) == 1


def test_metrics_tell_failures_apart_by_known_codes_only(registry, metrics):
    for code in ("stalled", "stalled", "digest-mismatch", "CurlDownload: a.gz", "b.gz"):
        metrics.observe_error("pdb", code)

    failures = {
        code: registry.get_sample_value("biomaj_download_failures_total", {"class": code})
        for code in ("stalled", "digest-mismatch", "other", "b.gz")
    }
    assert failures == {"stalled": 2, "digest-mismatch": 1, "other": 2, "b.gz": None}


@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_metrics_of_processes_that_share_a_folder_are_added_up(tmp_path, name):
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", name: str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", _TWO_PROCESSES],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert 'biomaj_download_total{bank="pdb"} 2.0' in done.stdout


def test_metrics_are_told_while_a_process_begins(tmp_path, monkeypatch, metrics):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    (tmp_path / "counter_1.db").touch()

    assert metrics.exposed() == b""
