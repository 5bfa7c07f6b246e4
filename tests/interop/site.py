"""Real, unmodified BioMAJ in its own virtual environment, and a site of one bank for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers.process import poll

ROOT = Path(__file__).parents[2]
#: With our package, as pip resolves it; MongoDB's stand-in is the only thing that is not BioMAJ's.
PACKAGES = ("biomaj==3.1.24", "mongomock>=4.1", "-e", str(ROOT))
VENV = ROOT / ".venv-biomaj"
INSTALL_SECONDS = 600
UPDATE_SECONDS = 110

GLOBAL_PROPERTIES = """\
[GENERAL]
root.dir={folder}
conf.dir={folder}/conf
log.dir={folder}/log
process.dir={folder}/process
cache.dir={folder}/cache
lock.dir={folder}/lock
data.dir={folder}/data
db.url=mongodb://localhost:27017
db.name=biomaj_test
use_ldap=0
use_elastic=0
mail.smtp.host=
mail.admin=
mail.from=
historic.logfile.level=DEBUG
bank.num.threads=2
files.num.threads=4
{service}
"""
SERVICE_PROPERTIES = """\
micro.biomaj.service.download=1
micro.biomaj.rabbit_mq={rabbitmq.host}
micro.biomaj.rabbit_mq_port={rabbitmq.port}
micro.biomaj.rabbit_mq_user={rabbitmq.user}
micro.biomaj.rabbit_mq_password={rabbitmq.password}
micro.biomaj.rabbit_mq_virtualhost=/
micro.biomaj.proxy={web.url}
"""
BANK_PROPERTIES = """\
[GENERAL]
db.fullname="A bank"
db.name=bank
db.type=nucleic
offline.dir.name=offline/bank_tmp
dir.version=bank
frequency.update=0
release.file=
release.regexp=
release.file.compressed=
remote.files=^.*\\.dat ^/sub/.*\\.dat$
local.files=**/*
no.extract=true
keep.old.version=1
{lines}
"""


def install_biomaj() -> Path:
    """Return the Python that has BioMAJ; it is installed once.

    Raises:
        RuntimeError: pip could not; the text is its own.
    """
    python = VENV / "bin" / "python"
    stamp = VENV / "installed"
    wanted = " ".join(PACKAGES) + (ROOT / "requirements.txt").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", *PACKAGES],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pip could not install BioMAJ: {done.stderr[-2000:]}")
    stamp.write_text(wanted)
    return python


class Site:
    """BioMAJ with one bank: `update` it as often as wanted; `close` ends the process."""

    def __init__(self, python: Path, folder: Path, lines: str, service: str = "") -> None:
        self.folder = folder
        for name in ("conf", "log", "process", "cache", "lock", "data", "answers"):
            (folder / name).mkdir()
        properties = folder / "global.properties"
        properties.write_text(GLOBAL_PROPERTIES.format(folder=folder, service=service))
        (folder / "conf" / "bank.properties").write_text(BANK_PROPERTIES.format(lines=lines))
        script = str(Path(__file__).with_name("update_bank.py"))
        command = [str(python), script, str(properties), "bank", f"{folder}/answers"]
        with (folder / "output.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder
            )
        self._updates = 0

    def update(self) -> dict[str, Any]:
        """Update the bank; return what it came to.

        Raises:
            RuntimeError: BioMAJ does not answer.
        """
        answer = self.folder / "answers" / f"{self._updates}.json"
        self._updates += 1
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        for _ in poll(UPDATE_SECONDS):
            if answer.exists() or self._process.poll() is not None:
                break
        if not answer.exists():
            raise RuntimeError(f"BioMAJ did not answer:\n{self.log()[-3000:]}")
        return dict(json.loads(answer.read_text()))

    def log(self) -> str:
        """Return what BioMAJ printed and logged."""
        logs = sorted((self.folder / "log").rglob("*.log"))
        return "".join(path.read_text() for path in (self.folder / "output.log", *logs))

    def close(self) -> None:
        """End BioMAJ."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
