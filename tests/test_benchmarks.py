from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def test_each_benchmark_runs_for_a_moment(rabbitmq, redis_server, nginx, ftp_server, ssh_server):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--smoke"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for figure in ("files a second", "DownloadClient", "SFTP", "curl -o"):
        assert figure in done.stdout
