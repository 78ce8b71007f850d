"""A program's terminal: a pseudoterminal (pty(7)) between the program and the service.

Its modes have SSH's names (RFC 4254, 8), which are translated to termios(3) here.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import grp
import os
import select
import struct
import termios
from collections.abc import Iterable
from typing import Final, Self

from farhand_server.credentials import Credentials

from ..plan import TerminalPlan, TerminalSize

_MODE: Final = 0o620
"""File mode of a user's terminal: as with sshd, the group tty may write to it, for write(1) and wall(1)."""

_SIGNAL_KEYS: Final = (termios.VINTR, termios.VQUIT, termios.VSUSP)

_TIOCGPTN: Final = 0x80045430
"""The request for a pseudoterminal's number (ioctl_tty(2)); Python has no name for it."""

_NUMBER: Final = struct.Struct("I")

_WINSIZE: Final = struct.Struct("HHHH")
"""struct winsize: rows, columns, and two sizes in pixels (ioctl_tty(2))."""


class PseudoTerminal:
    """Both ends of a pseudoterminal; a closed end is -1.

    Until the program has ended, the service keeps the program's end open, too. Otherwise a program that closes all its
    descriptors of the terminal and reopens it would seem to have ended its output.
    """

    def __init__(self, master: int, slave: int) -> None:
        self.master = master
        self.slave = slave

    @classmethod
    def open(cls, plan: TerminalPlan, size: TerminalSize, credentials: Credentials | None) -> Self:
        """Open a terminal of this size, with the plan's modes, owned by the user of `credentials`.

        Raises OSError, for instance if the system has no more terminals.
        """
        terminal = cls(*os.openpty())
        try:
            os.set_blocking(terminal.master, False)
            set_modes(terminal.slave, plan.modes)
            terminal.resize(size)
            if credentials is not None and credentials.uid != os.geteuid():
                group = _tty_group()
                os.fchown(terminal.slave, credentials.uid, credentials.gid if group is None else group)
                os.fchmod(terminal.slave, _MODE if group is not None else _MODE & 0o700)
        except termios.error as error:
            terminal.close()
            raise OSError(*error.args) from None
        except BaseException:
            terminal.close()
            raise
        return terminal

    @property
    def name(self) -> str | None:
        """The name of the program's end, as ps(1) shows it; None once the service has closed both ends."""
        if self.master < 0:
            return None
        try:
            (number,) = _NUMBER.unpack(fcntl.ioctl(self.master, _TIOCGPTN, _NUMBER.pack(0)))
        except OSError:
            return None
        return f"pts/{number}"

    @property
    def size(self) -> TerminalSize:
        """The size that the program sees."""
        rows, columns, _, _ = self._winsize()
        return TerminalSize(columns, rows)

    def resize(self, size: TerminalSize) -> None:
        """Set the size. If it differs, the kernel sends SIGWINCH to the foreground process group."""
        self._set_winsize(size.rows, size.columns, 0)

    def repaint(self) -> None:
        """Send SIGWINCH to the foreground process group without changing the size in characters.

        The kernel sends the signal, even to setuid programs, whenever any part of the size changes. Here that is the
        width in pixels, which is unknown (0) before and after.
        """
        rows, columns, _, _ = self._winsize()
        self._set_winsize(rows, columns, 1)
        self._set_winsize(rows, columns, 0)

    def foreground(self) -> int | None:
        """Return the foreground process group; None if there is none."""
        try:
            return os.tcgetpgrp(self.master) or None
        except OSError:
            return None

    def signal_keys(self) -> bytes:
        """Return the characters that currently cause signals and discard earlier input (termios(3))."""
        attributes = termios.tcgetattr(self.master)
        if not attributes[3] & termios.ISIG or attributes[3] & termios.NOFLSH:
            return b""
        return b"".join(attributes[6][key] for key in _SIGNAL_KEYS).replace(b"\0", b"")

    def end_key(self) -> bytes:
        """Return the character that currently ends the program's input; empty if the program reads all characters
        literally.

        Line editors (readline(3)) interpret each character themselves, but leave the special characters set.
        """
        attributes = termios.tcgetattr(self.master)
        meant = attributes[3] & (termios.ICANON | termios.ISIG)
        return bytes(attributes[6][termios.VEOF]).strip(b"\0") if meant else b""

    def by_lines(self) -> bool:
        """Return whether the program currently reads whole lines (canonical mode)."""
        return bool(termios.tcgetattr(self.master)[3] & termios.ICANON)

    def unread(self) -> bool:
        """Return whether some typed input has not been read by the program."""
        looking = select.poll()
        looking.register(self.slave, select.POLLIN)
        return bool(looking.poll(0))

    def drop_typed(self) -> None:
        """Discard all input that the kernel holds: what the program could read, and what is queued behind that."""
        with contextlib.suppress(termios.error):  # a program may have hung up its terminal (vhangup(2))
            termios.tcflush(self.master, termios.TCOFLUSH)
            termios.tcflush(self.slave, termios.TCIFLUSH)

    def release(self) -> None:
        """Close the program's end after the program has ended. The output ends once no process has that end open."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def close(self) -> None:
        """Close both ends. Processes that have it as their controlling terminal receive SIGHUP."""
        self.release()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def _winsize(self) -> tuple[int, int, int, int]:
        rows, columns, width, height = _WINSIZE.unpack(fcntl.ioctl(self.master, termios.TIOCGWINSZ, bytes(8)))
        return rows, columns, width, height

    def _set_winsize(self, rows: int, columns: int, width: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, _WINSIZE.pack(rows, columns, width, 0))


@functools.cache
def _tty_group() -> int | None:
    try:
        return grp.getgrnam("tty").gr_gid
    except KeyError:
        return None


IUTF8: Final = 0o40000
"""From asm-generic/termbits-common.h, the same on all architectures. Python has a name for it since 3.14."""

_INPUT: Final = ("IGNPAR", "PARMRK", "INPCK", "ISTRIP", "INLCR", "IGNCR", "ICRNL", "IXON", "IXANY", "IXOFF", "IMAXBEL")
_OUTPUT: Final = ("OPOST", "ONLCR", "OCRNL", "ONOCR", "ONLRET")
_LOCAL: Final = (
    "ISIG", "ICANON", "ECHO", "ECHOE", "ECHOK", "ECHONL", "NOFLSH", "TOSTOP", "IEXTEN", "ECHOCTL", "ECHOKE",
)  # fmt: skip

_FLAGS: Final[dict[str, tuple[int, int]]] = {
    "IUTF8": (0, IUTF8),
    **{
        name: (word, getattr(termios, name))
        for word, names in ((0, _INPUT), (1, _OUTPUT), (3, _LOCAL))
        for name in names
    },
}
"""For each flag, the index of its word in `termios.tcgetattr`, and its bit."""

_SWITCHED_OFF: Final = 255
"""The wire's value for a disabled special character; Linux's is NUL (_POSIX_VDISABLE)."""


def set_modes(fd: int, modes: Iterable[tuple[str, int]]) -> None:
    """Set modes of the terminal `fd`. First switch on UTF-8 input (IUTF8), which makes the kernel erase whole
    characters.

    Modes that are not given keep the system's defaults. Raises termios.error.
    """
    attributes = termios.tcgetattr(fd)
    attributes[0] |= IUTF8
    for name, value in modes:
        if name in _FLAGS:
            word, bit = _FLAGS[name]
            attributes[word] = attributes[word] | bit if value else attributes[word] & ~bit
        else:
            attributes[6][getattr(termios, name)] = bytes([0 if value == _SWITCHED_OFF else value])
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
