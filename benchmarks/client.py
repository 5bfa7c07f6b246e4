"""BioMAJ's own way: a remote DownloadClient with rate limiting 4, as its workflow uses it."""

from __future__ import annotations

import filecmp
import os
import time
from pathlib import Path

from benchmarks.ground import Ground
from benchmarks.row import OURS, Network, Result, Row, Scale
from benchmarks.site import BANK, CONSUMER, Site
from biomaj_download.download.curl import CurlDownload
from biomaj_download.downloadclient import DownloadClient

FILE_BYTES = 10 * 1024


def measure(ground: Ground, scale: Scale) -> Result:
    """Bring files; the seconds go from the first request handed over to the end of the wait."""
    site, origin = ground.site, ground.origin
    names = [f"{number:03}.dat" for number in range(scale.of(500, 20))]
    origin.fill("client", {name: os.urandom(FILE_BYTES) for name in names})
    site.configure()
    result = Result()
    for _ in range(scale.runs):
        downloader = CurlDownload("http", origin.server("http"), "/client/")
        downloader.set_files_to_download([{"name": name} for name in names])
        home = site.new_home()
        with site.running(CONSUMER):
            result.add(OURS, _bring(site, downloader, home))
        _, wrong, missing = filecmp.cmpfiles(
            origin.nginx.root / "client", home, names, shallow=False
        )
        if wrong or missing:
            raise SystemExit(f"{len(wrong)} files are wrong, {len(missing)} are missing")
    origin.forget("client")
    return result


def _bring(site: Site, downloader: CurlDownload, home: Path) -> float:
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
    client.download_remote_files({}, [downloader], str(home))
    failed = client.wait_for_download()
    seconds = time.monotonic() - started
    client.clean()
    client.close()
    if failed:
        raise SystemExit("a file failed")
    return seconds


ROWS = (
    Row(
        name="client",
        work="DownloadClient through gunicorn, RabbitMQ and Redis, rate limiting 4: 500 x 10 KiB",
        network=Network.LOOPBACK,
        unit="s",
        is_more_better=False,
        goal="5 s",
        measure=measure,
        is_reached=lambda result: result.median(OURS) <= 5,
    ),
)
