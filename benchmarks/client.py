"""BioMAJ's own way: a remote DownloadClient with rate limiting 4, as its workflow uses it."""

from __future__ import annotations

import os
import subprocess
import time

from benchmarks.site import BANK, OURS, Site, table
from biomaj_download.download.curl import CurlDownload
from biomaj_download.downloadclient import DownloadClient

FILE_BYTES = 10 * 1024


def measure(site: Site, *, files: int) -> str:
    """Return the table; the time goes from the first request handed over to the end of the wait."""
    origin = site.nginx.root / "client"
    origin.mkdir()
    for number in range(files):
        (origin / f"{number}.dat").write_bytes(os.urandom(FILE_BYTES))
    downloader = CurlDownload("http", f"127.0.0.1:{site.nginx.port}", "/client/")
    downloader.set_files_to_download([{"name": f"{number}.dat"} for number in range(files)])
    environment = {"BIOMAJ_CONFIG": str(site.config), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(OURS, env=environment) as consumer:
        try:
            seconds = _bring(site, downloader)
        finally:
            consumer.terminate()
    right = sum(
        path.read_bytes() == (site.folder / "client" / path.name).read_bytes()
        for path in origin.iterdir()
    )
    if right != files:
        raise SystemExit(f"right: expected {files}, got {right}")
    row = (f"{files} files, rate limiting 4", f"{seconds:.1f} s, all right", "5 s for 500")
    return table("DownloadClient through gunicorn, RabbitMQ, Redis, one consumer", [row])


def _bring(site: Site, downloader: CurlDownload) -> float:
    rabbitmq = site.rabbitmq
    client = DownloadClient(
        rabbitmq.host,
        rabbitmq.port,
        rabbitmq.virtual_host,
        rabbitmq.user,
        rabbitmq.password,
    )
    client.set_rate_limiting(4)
    client.create_session(BANK, site.web.url)
    started = time.monotonic()
    client.download_remote_files({}, [downloader], str(site.folder / "client"))
    failed = client.wait_for_download()
    seconds = time.monotonic() - started
    client.clean()
    client.close()
    if failed:
        raise SystemExit("a file failed")
    return seconds
