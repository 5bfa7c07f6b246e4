"""Real BioMAJ 3.1.24 on this package: in its own process, and through the service."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.interop.site import SERVICE_PROPERTIES, Site, install_biomaj
from tests.servers.biomaj import DownloadConsumer, DownloadWeb

#: pip installs BioMAJ within the time of the first test.
pytestmark = pytest.mark.timeout(900)
#: Days of the first release and of the changed file: BioMAJ names a release by the newest.
FIRST = datetime(2024, 2, 28, 12, tzinfo=timezone.utc).timestamp()
CHANGED = datetime(2024, 3, 5, 12, tzinfo=timezone.utc).timestamp()
FILES = {
    "one.dat": b"1" * 1000,
    "two words.dat": b"2" * 2000,
    "sub/three.dat": b"3" * 3000,
}
NEW_BODY = b"changed" * 100


def write(path: Path, body: bytes, modified: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    path.chmod(0o644)
    path.parent.chmod(0o755)
    os.utime(path, (modified, modified))


@pytest.fixture(scope="session")
def biomaj_python():
    """The Python that has BioMAJ; without a package index it may be missing, but not in CI."""
    try:
        return install_biomaj()
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def start_site(biomaj_python, tmp_path):
    sites = []

    def start(lines, service=""):
        sites.append(Site(biomaj_python, tmp_path, lines, service))
        return sites[0]

    yield start
    for site in sites:
        site.close()


@pytest.fixture(scope="module")
def service(start_server, rabbitmq, redis_server):
    """The lines that send BioMAJ's downloads through RabbitMQ, a consumer and the web."""
    web = start_server(DownloadWeb, rabbitmq, redis_server)
    start_server(DownloadConsumer, rabbitmq, redis_server)
    return SERVICE_PROPERTIES.format(rabbitmq=rabbitmq, web=web)


@pytest.fixture
def make_bank(request, nginx, ftp_server, rsync_server, tmp_path_factory):
    """Make a bank of a kind: the folder that is served, and the bank's lines."""
    name = f"biomaj-{abs(hash(request.node.nodeid))}"
    web, ftp = f"{nginx.host}:{nginx.port}", f"{ftp_server.host}:{ftp_server.port}"

    def make(kind):
        folder = tmp_path_factory.mktemp("local")
        bank = folder / name
        served = {"local": bank, "rsync": rsync_server.root / name}
        served |= dict.fromkeys(("http", "directhttp"), nginx.root / name)
        served |= dict.fromkeys(("ftp", "directftp"), ftp_server.root / name)
        served["multi"] = nginx.root / name
        lines = {
            "local": f"protocol=local\nserver=localhost\nremote.dir={bank}/",
            "ftp": f"protocol=ftp\nserver={ftp}\nremote.dir=/{name}/",
            "http": f"protocol=http\nserver={web}\nremote.dir=/{name}/",
            "directhttp": f"protocol=directhttp\nserver={web}\nremote.dir={name}/one.dat/\n"
            "target.name=one.dat",
            "directftp": f"protocol=directftp\nserver={ftp}\nremote.dir={name}/one.dat/\n"
            "target.name=one.dat",
            "multi": "protocol=multi\nremote.dir=/\nserver=none\n"
            f"remote.file.0.protocol=directhttp\nremote.file.0.server={web}\n"
            f"remote.file.0.path={name}/one.dat\nremote.file.0.name=one.dat\n"
            f"remote.file.1.protocol=directhttp\nremote.file.1.server={web}\n"
            f"remote.file.1.path={name}/sub/three.dat\nremote.file.1.name=sub/three.dat",
            "rsync": f"protocol=rsync\nserver={rsync_server.url}\nremote.dir={name}/",
        }
        return served[kind], lines[kind]

    return make


FILES_OF = {
    "directhttp": ["one.dat"],
    "directftp": ["one.dat"],
    "multi": ["one.dat", "sub/three.dat"],
}


def production_of(update) -> dict[str, bytes]:
    flat = Path(update["directory"]) / "flat"
    return {
        str(path.relative_to(flat)): path.read_bytes() for path in flat.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("way", ["in process", "by the service"])
@pytest.mark.parametrize(
    "kind", ["local", "ftp", "http", "directhttp", "directftp", "multi", "rsync"]
)
def test_biomaj_updates_a_bank(kind, way, start_site, make_bank, request):
    served, lines = make_bank(kind)
    bodies = {name: FILES[name] for name in FILES_OF.get(kind, FILES)}
    for name, body in bodies.items():
        write(served / name, body, FIRST)
    service = request.getfixturevalue("service") if way == "by the service" else ""
    site = start_site(lines, service)

    first = site.update()
    assert first["ok"], first.get("error", site.log()[-3000:])
    assert first["is_new"]
    assert production_of(first) == bodies

    second = site.update()
    assert second["ok"]
    assert not second["is_new"]
    assert second["directory"] == first["directory"]

    # One file is new. The others are too, but do not show it: what BioMAJ copies stays the old one.
    # (Of a bank of several downloaders BioMAJ looks at the last one alone, and remembers it alone.)
    changed = list(bodies)[-1]
    write(served / changed, NEW_BODY, CHANGED)
    for name in bodies.keys() - {changed}:
        write(served / name, b"x" * len(bodies[name]), FIRST)
    third = site.update()
    assert third["ok"], third.get("error", site.log()[-6000:])
    assert third["is_new"]
    assert third["directory"] != first["directory"]
    kept = {"one.dat": (served / "one.dat").read_bytes()} if kind == "multi" else bodies
    assert production_of(third) == kept | {changed: NEW_BODY}


@pytest.mark.parametrize("way", ["in process", "by the service"])
def test_biomaj_hears_of_a_download_that_failed(way, start_site, make_bank, request):
    served, lines = make_bank("http")
    write(served / "one.dat", b"1", FIRST)
    write(served / "broken.dat.zip", b"no zip file", FIRST)
    service = request.getfixturevalue("service") if way == "by the service" else ""
    lines += "\noptions.names=wait_policy\noptions.wait_policy=wait_none"
    site = start_site(lines, service)

    update = site.update()

    assert not update["ok"]
    assert not update["status"]["download"]
    assert "broken.dat.zip" in site.log()


def test_biomaj_brings_500_files_by_the_service_in_seconds(start_site, make_bank, service):
    served, lines = make_bank("http")
    bodies = {f"{number}.dat": os.urandom(10 * 1024) for number in range(500)}
    for name, body in bodies.items():
        write(served / name, body, FIRST)
    site = start_site(lines, service)

    update = site.update()

    assert update["ok"]
    assert production_of(update) == bodies
    # The figure is far below; a poll of 10 s for each turn of BioMAJ's would be far above.
    assert update["seconds"] < 10, update["seconds"]
