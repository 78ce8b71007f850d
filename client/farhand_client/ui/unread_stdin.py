"""Says that data on stdin was not passed on, where somebody put it there for the command.

`echo hi | farhand run web -- cat` prints nothing, since stdin is passed on only with `-i`: a silence that costs hours.
But in `while read host; do farhand run "$host" -- uptime; done < list`, stdin holds the rest of the list, and must be
left alone. The two differ in whose stdin it is: in a loop it is the shell's own, and a cron job, a CI step, a hook or
any other script inherits it from whatever started it. So data counts only

- in a file that is still at its beginning: a list that a loop reads is not;
- in a pipe or socket from which the process that started this one does not read, too. (For a file that says little:
  while dash(1) runs a command with `< file`, the file is its own stdin; and so is a here-document.)

Where /proc does not tell what another process reads, as on macOS, every pipe counts: a line too many does no harm.
Nothing is read: FIONREAD and the file's size say whether there is data.
"""

from __future__ import annotations

import array
import fcntl
import os
import stat
import termios
from itertools import islice

from farhand_client.caller import parent_pid

from .printing import print_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_DESCRIPTORS: Final = 256
"""Descriptors of the parent process that are looked at: many more than any shell has, and a millisecond's work."""


UNREAD: Final = "stdin was not passed on; -i passes it, -n silences this"
"""What `farhand run` says."""


class UnreadStdin:
    """Prints `sentence` once, as soon as data on stdin is found that nobody will read."""

    def __init__(self, sentence: str | None) -> None:
        self._sentence = sentence

    def report(self) -> None:
        """Print the sentence, unless it has been printed or there is no data yet."""
        if self._sentence is not None and has_data_for_us():
            sentence, self._sentence = self._sentence, None
            print_message(sentence)


def has_data_for_us(fd: int = 0) -> bool:
    """Return whether `fd`, this process's stdin, has data that was put there for this process."""
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return status.st_size > 0 and os.lseek(fd, 0, os.SEEK_CUR) == 0
        # A terminal is read by the shell, and /dev/null holds nothing.
        is_channel = stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)
        return is_channel and _has_bytes(fd) and not _is_inherited(status)
    except OSError:
        return False  # closed, or of a kind that does not say


def _has_bytes(fd: int) -> bool:
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0] > 0


def _is_inherited(status: os.stat_result) -> bool:
    """Return whether the parent process reads from the same pipe; False if that cannot be found out."""
    try:
        parent = f"/proc/{parent_pid()}"
        if _is_same(f"{parent}/fd/0", status):
            return True
        # fish(1) reads for a loop from another descriptor. A pipe's writing end does not count: it belongs to whoever
        # gives data to this process.
        with os.scandir(f"{parent}/fd") as descriptors:
            numbers = [entry.name for entry in islice(descriptors, MAX_DESCRIPTORS)]
    except OSError:
        return False  # no Linux, or another user's process
    return any(_is_same(f"{parent}/fd/{number}", status) and _is_readable(parent, number) for number in numbers)


def _is_same(path: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except FileNotFoundError:
        return False  # closed


def _is_readable(process: str, number: str) -> bool:
    try:
        with open(f"{process}/fdinfo/{number}", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False  # closed meanwhile
    flags = next((line.split()[1] for line in lines if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_WRONLY
