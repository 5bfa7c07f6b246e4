#!/usr/bin/env python3
"""The consumer: works on download requests until it is told to stop."""

from __future__ import annotations

import sys

from biomaj_download.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
