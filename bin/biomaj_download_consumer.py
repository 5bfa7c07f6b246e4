#!/usr/bin/env python3
"""The consumer process: read settings, start, nothing else."""

from __future__ import annotations

import sys

from biomaj_download.errors import ConfigError
from biomaj_download.settings import load_settings
from biomaj_download.supervisor import run


def main() -> int:
    """Work on download requests until SIGTERM or SIGINT; return the exit code."""
    try:
        settings = load_settings()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
