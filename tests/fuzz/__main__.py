"""Fuzz each target, by atheris, for so many minutes: `python -m tests.fuzz MINUTES [TARGET...]`.

What it finds is left in the working directory (`crash-*`, `timeout-*`), and ends it: it belongs
into `corpus.py`, once it is mended.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.corpus import CORPUS
from tests.fuzz.targets import TARGETS

#: One input may take so long; the expressions' own time is a second.
TIMEOUT_SECONDS = 20
MOST_BYTES = 4096
RUNNER = """
import sys
import atheris
with atheris.instrument_imports(include=["biomaj_download", "re", "ast", "simpleeval"]):
    from tests.fuzz import targets
target = getattr(targets, sys.argv.pop(1))
atheris.Setup(sys.argv, lambda data: targets.run(target, data))
atheris.Fuzz()
"""


def fuzz(name: str, minutes: float) -> int:
    """Fuzz one target; return 0 where nothing was found."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for number, data in enumerate(CORPUS[name]):
            Path(folder, str(number)).write_bytes(data)
        limits = [f"-max_total_time={round(minutes * 60)}", f"-timeout={TIMEOUT_SECONDS}"]
        limits += [f"-max_len={MOST_BYTES}", "-rss_limit_mb=2048", "-print_final_stats=1"]
        command = [sys.executable, "-W", "ignore", "-c", RUNNER, name, *limits, folder]
        return subprocess.run(command, check=False).returncode


def main(minutes: str = "10", *names: str) -> int:
    """Fuzz the targets of these names, or all; return 0 where nothing was found."""
    chosen = names or [target.__name__ for target in TARGETS]
    return max(fuzz(name, float(minutes)) for name in chosen)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
