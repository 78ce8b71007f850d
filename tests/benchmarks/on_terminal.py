"""Measures programs on a local terminal as a user sees them: `python -m tests.benchmarks.on_terminal WHAT …`.

    keys   COUNT GAP  COMMAND…  µs from a key to its echo (median of COUNT), with GAP seconds between two keys
    drain  BYTES      COMMAND…  seconds from the first byte of output to the end, after at least BYTES
    prompt TEXT       COMMAND…  ms from the start until TEXT appears

prints one number. The command of `keys` prints `ready` and then echoes each of `WARM_UP` + COUNT bytes.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

WARM_UP: Final = 300
"""Keys that are not counted: after them, even an idle processor runs at full speed."""

TIMEOUT: Final = 60_000
"""Milliseconds without output after which a program counts as stuck."""

EXIT_TIMEOUT: Final = 5_000
"""Milliseconds in which a program has to end by itself once its terminal has hung up."""

_WHERE: Final = b"\x1b[6n"
"""A program's query for the cursor's position (ECMA-48, DSR 6)."""


class Terminal:
    """A program on a pty of 80×24, from the user's side."""

    def __init__(self, command: Sequence[str]) -> None:
        self._program, self._master = pty.fork()
        if self._program == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
                os.execvp(command[0], list(command))
            finally:
                os._exit(127)

    def write(self, data: bytes) -> None:
        """Type `data`."""
        os.write(self._master, data)

    def read(self) -> bytes:
        """Return the next output of the terminal; nothing at its end."""
        if not select.select([self._master], [], [], TIMEOUT / 1000)[0]:
            raise RuntimeError("the program writes nothing")
        try:
            return os.read(self._master, 1 << 16)
        except OSError:  # EIO: no process has the other side open any more
            return b""

    def until(self, text: bytes) -> bytes:
        """Return the output up to and including `text`; answer queries for the cursor's position."""
        seen = b""
        while text not in seen:
            some = self.read()
            if not some:
                raise RuntimeError(f"the program ended without {text!r}: {seen!r}")
            for _ in range(some.count(_WHERE)):
                self.write(b"\x1b[1;1R")
            seen += some
        return seen

    def end(self) -> None:
        """Hang up and wait for the program's end; kill it if it does not end in time."""
        os.close(self._master)
        ending = select.poll()
        descriptor = os.pidfd_open(self._program)
        ending.register(descriptor, select.POLLIN)
        if not ending.poll(EXIT_TIMEOUT):
            os.kill(self._program, signal.SIGKILL)
        os.waitpid(self._program, 0)
        os.close(descriptor)


def keys(count: str, gap: str, *command: str) -> float:
    """Return the µs from a key to its echo."""
    terminal = Terminal(command)
    terminal.until(b"ready")
    took: list[int] = []
    for _ in range(WARM_UP + int(count)):
        if float(gap) and len(took) >= WARM_UP:
            time.sleep(float(gap))
        start_time = time.perf_counter_ns()
        terminal.write(b"k")
        echo = terminal.read()
        took.append(time.perf_counter_ns() - start_time)
        if echo != b"k":
            raise RuntimeError(f"instead of the echo it received {echo!r}")
    terminal.end()
    return median(took[WARM_UP:]) / 1000


def drain(size: str, *command: str) -> float:
    """Return the seconds from the first byte of output to the end."""
    terminal = Terminal(command)
    received = len(terminal.read())
    start_time = time.perf_counter()
    while some := terminal.read():
        received += len(some)
    took = time.perf_counter() - start_time
    terminal.end()
    if received < int(size):
        raise RuntimeError(f"only {received} bytes arrived")
    return took


def prompt(text: str, *command: str) -> float:
    """Return the ms from the start until `text` appears."""
    start_time = time.perf_counter()
    terminal = Terminal(command)
    terminal.until(text.encode())
    took = time.perf_counter() - start_time
    terminal.end()
    return 1000 * took


WORKLOADS: Final[dict[str, Callable[..., float]]] = {"keys": keys, "drain": drain, "prompt": prompt}

if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(WORKLOADS[what](*arguments))
