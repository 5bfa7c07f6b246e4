"""Files by HTTP, FTP and SFTP through the whole service: byte for byte right, each counted once."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.site import OURS, Site, table
from biomaj_download.message import downmessage_pb2 as wire
from tests.servers.sshd import SshServer
from tests.servers.vsftpd import VsftpdServer

FILE_BYTES = 10 * 1024


def measure(site: Site, *, files: int) -> str:
    """Return the table: a row a protocol."""
    with VsftpdServer() as ftp, SshServer() as ssh:
        kinds = wire.DownloadFile
        account = f"{ssh.user}:{ssh.password}"
        hosts = {"ssh_hosts_file": str(ssh.known_hosts_file)}
        rows = [
            _bring(site, files, "HTTP", site.nginx.root, kinds.HTTP, site.nginx.port, "/p/"),
            _bring(site, files, "FTP", ftp.root, kinds.FTP, ftp.port, "/p/"),
            _bring(
                site,
                files,
                "SFTP",
                ssh.root,
                kinds.SFTP,
                ssh.port,
                f"{ssh.root}/p/",
                account,
                hosts,
            ),
        ]
    return table(f"{files} files of 10 KiB by each protocol, through the service", rows)


def _bring(
    site: Site,
    files: int,
    title: str,
    root: Path,
    protocol: int,
    port: int,
    remote_dir: str,
    credentials: str = "",
    options: dict[str, str] | None = None,
) -> tuple[str, str, str]:
    origin = root / "p"
    origin.mkdir()
    bodies = {f"{number}.dat": os.urandom(FILE_BYTES) for number in range(files)}
    for name, body in bodies.items():
        (origin / name).write_bytes(body)
        (origin / name).chmod(0o644)
    session = site.new_session()
    home = site.folder / session
    requests = []
    for name in bodies:
        request = site.request(session, home, protocol, f"127.0.0.1:{port}", remote_dir)
        request.download.remote_file.credentials = credentials
        request.download.options.update(options or {})
        file = request.download.remote_file.files.add(name=name, root=remote_dir)
        file.metadata.size = FILE_BYTES
        requests.append(request)
    site.publish(requests)
    run = site.race(OURS, session, files)
    right = sum((home / name).read_bytes() == body for name, body in bodies.items())
    if right != files or run.errors:
        raise SystemExit(f"{title}: right {right} of {files}, errors {run.errors}")
    figure = f"{right} right, progress {files}, {run.files_per_second:.0f} files/s"
    return (title, figure, "all right")
