#!/usr/bin/env python3
"""The consumer process: read settings, start, nothing else."""

from __future__ import annotations

import signal
import sys

from biomaj_download.downloadservice import DownloadService
from biomaj_download.errors import ConfigError


def main() -> int:
    """Work on download requests until SIGTERM or SIGINT; return the exit code."""
    try:
        service = DownloadService()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.supervise()
    try:
        service.wait_for_messages()
    finally:
        service.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
