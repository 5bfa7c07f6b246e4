"""biomaj-download 3.2.12 in a virtual environment of its own, to race against."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VENV = Path(__file__).parents[1] / ".venvs" / "biomaj-download-3.2.12"
REQUIREMENTS = ("biomaj-download==3.2.12", "protobuf==3.20.3", "pika==0.13.0", "setuptools<81")
#: What pika 0.13 looks for where Python had it before 3.10.
_OLD_NAMES = """\
import collections
import collections.abc

for _name in ("Callable", "Iterable", "Mapping", "MutableMapping"):
    setattr(collections, _name, getattr(collections.abc, _name))
"""


def python() -> str:
    """Return its Python, installed where it is not yet."""
    program = VENV / "bin" / "python"
    if not (VENV / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([program, "-m", "pip", "install", "-q", *REQUIREMENTS], check=True)
        (site,) = (VENV / "lib").glob("python*/site-packages")
        (site / "old_names.py").write_text(_OLD_NAMES)
        # Not sitecustomize: Debian's Python has one of its own, which is found first.
        (site / "old_names.pth").write_text("import old_names\n")
        (VENV / "ready").touch()
    return str(program)


def consumer_command() -> list[str]:
    """Return the command of its consumer."""
    return [python(), str(VENV / "bin" / "biomaj_download_consumer.py")]
