"""A program for tests of window sizes."""

from __future__ import annotations

import sys

SHOWS_SIZE = (
    *(sys.executable, "-I", "-S", "-c"),
    """
import os, select, signal
woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
signal.signal(signal.SIGWINCH, lambda *_: None)
print("ready", flush=True)
line = ""
while line != "end":
    for ready in select.select([woken, 0], [], [])[0]:
        text = os.read(ready, 1000)
        if ready == woken:
            size = os.get_terminal_size(0)
            print("changed:", size.lines, size.columns, flush=True)
        else:
            line = text.decode().strip()
            print("read:", line, flush=True)
""",
)
"""A program that shows each new size of its terminal, and each line that it reads. In a shell, a signal between the
look for one and read(2) would wait for the end of the line."""
