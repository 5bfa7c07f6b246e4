"""Try the generated code on the oldest and the newest protobuf, each alone in a small venv.

BioMAJ core imports `biomaj_download.message.downmessage_pb2` beside services that pin 3.20.3.
"""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
RELEASES = {"oldest": "protobuf==3.20.3", "newest": "protobuf"}

ROUND_TRIP = """
import google.protobuf
from biomaj_download.message import downmessage_pb2 as wire

sent = wire.Operation(type=wire.Operation.DOWNLOAD)
sent.download.bank = "alu"
sent.download.session = "1"
sent.download.local_dir = "/tmp"
sent.download.options["tcp_keepalive"] = "60"
sent.download.remote_file.protocol = wire.DownloadFile.SFTP
sent.download.remote_file.server = "ftp.example.org"
sent.download.remote_file.remote_dir = "/pub/"
sent.download.remote_file.files.add(name="alu.n.gz", root="/pub/").metadata.size = 2**40
received = wire.Operation.FromString(sent.SerializeToString())
assert received == sent
assert received.download.http_method == wire.DownloadFile.GET
assert received.download.remote_file.http_parse.file_size == 3
print("round trip with protobuf", google.protobuf.__version__)
"""


def main() -> None:
    """Raise CalledProcessError where a release does not do."""
    for name, requirement in RELEASES.items():
        python = prepare(ROOT / ".venvs" / f"protobuf-{name}", requirement)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([python, "-c", ROUND_TRIP], env=environment, check=True)


def prepare(folder: Path, requirement: str) -> Path:
    """Return the Python of a venv that has just this."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", requirement], check=True)
    return python


if __name__ == "__main__":
    main()
