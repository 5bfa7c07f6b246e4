from __future__ import annotations

from prometheus_client import CollectorRegistry

from biomaj_download.metrics import Metrics


def test_metrics_count_under_the_names_that_dashboards_know():
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    metrics.observe(
        [
            {"bank": "pdb", "host": "example.org", "size": 100, "download_time": 0.5},
            {"bank": "pdb", "host": "example.org", "size": 50, "download_time": 1.5},
            {"bank": "pdb", "host": "example.org", "error": "stalled"},
        ]
    )

    host = {"bank": "pdb", "host": "example.org"}
    assert registry.get_sample_value("biomaj_download_total", {"bank": "pdb"}) == 2
    assert registry.get_sample_value("biomaj_download_errors_total", {"bank": "pdb"}) == 1
    assert registry.get_sample_value("biomaj_download_file_size_total", host) == 150
    assert registry.get_sample_value("biomaj_download_file_time_total", host) == 2.0
    assert b'biomaj_download_total{bank="pdb"} 2.0' in metrics.exposed()
