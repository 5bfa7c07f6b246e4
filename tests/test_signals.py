from __future__ import annotations

import signal
import subprocess
import sys

import pytest

#: Tells of the first signal, and goes on as one who is busy stopping.
BUSY = """
import os, time
from biomaj_download.signals import obey_stop_signals

def tell(word):
    os.write(1, f"{word}\\n".encode())  # print cannot be interrupted by itself

obey_stop_signals(lambda: tell("stopping"), before_the_end=lambda: tell("ending"))
tell("started")
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_and_the_second_ends(first, second):
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == "started\n"

        busy.send_signal(first)
        assert busy.stdout.readline() == "stopping\n"
        busy.send_signal(second)

        assert busy.stdout.readline() == "ending\n"
        assert busy.wait(2) == 128 + second
