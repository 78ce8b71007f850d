"""A program's terminal: a pseudoterminal (pty(7)), of which the program has one end and the service the other.

Modes of a terminal: from the names that SSH has for them (RFC 4254, 8) to termios(3).
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
"""Of a user's terminal: the group tty may write to it, so that write(1) and wall(1) can (sshd does the same)."""

_SIGNAL_KEYS: Final = (termios.VINTR, termios.VQUIT, termios.VSUSP)

_WINSIZE: Final = struct.Struct("HHHH")
"""struct winsize: rows, columns, and two sizes in pixels (ioctl_tty(2))."""


class PseudoTerminal:
    """Both ends of it. The service keeps the program's open as well, until the program has ended: one that closes all
    it has of its terminal, and opens it again, would seem to have ended its output."""

    def __init__(self, master: int, slave: int) -> None:
        self.master = master
        self.slave = slave

    @classmethod
    def open(cls, wanted: TerminalPlan, size: TerminalSize, credentials: Credentials | None) -> Self:
        """Open one of this size and with the modes that are wanted; it belongs to the user of `credentials`.

        Raises OSError, also where the system has no more of them.
        """
        terminal = cls(*os.openpty())
        try:
            os.set_blocking(terminal.master, False)
            set_modes(terminal.slave, wanted.modes)
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
    def size(self) -> TerminalSize:
        """As the program finds it."""
        rows, columns, _, _ = self._winsize()
        return TerminalSize(columns, rows)

    def resize(self, size: TerminalSize) -> None:
        """Give it another size. Where that is another, the foreground process group gets SIGWINCH from the kernel."""
        self._set_winsize(size.rows, size.columns, 0)

    def repaint(self) -> None:
        """Send SIGWINCH to the foreground process group, though the size stays as it is.

        The kernel sends it, to whomever it is the foreground of, setuid programs among them, whenever anything of the
        size changes: here the width in pixels, which is unknown before and after.
        """
        rows, columns, _, _ = self._winsize()
        self._set_winsize(rows, columns, 1)
        self._set_winsize(rows, columns, 0)

    def foreground(self) -> int | None:
        """The foreground process group; None where there is none."""
        try:
            return os.tcgetpgrp(self.master) or None
        except OSError:
            return None

    def signal_keys(self) -> bytes:
        """The characters that are now made into signals, and throw away what was typed before them (termios(3))."""
        attributes = termios.tcgetattr(self.master)
        if not attributes[3] & termios.ISIG or attributes[3] & termios.NOFLSH:
            return b""
        return b"".join(attributes[6][key] for key in _SIGNAL_KEYS).replace(b"\0", b"")

    def end_key(self) -> bytes:
        """The character that now ends a program's input; none where the program takes every character as it is.

        Line editors (readline(3)) look at each character themselves, but leave the keys their meaning.
        """
        attributes = termios.tcgetattr(self.master)
        meant = attributes[3] & (termios.ICANON | termios.ISIG)
        return bytes(attributes[6][termios.VEOF]).strip(b"\0") if meant else b""

    def by_lines(self) -> bool:
        """Whether the program is now given whole lines."""
        return bool(termios.tcgetattr(self.master)[3] & termios.ICANON)

    def unread(self) -> bool:
        """Whether the program has not read all that was typed."""
        looking = select.poll()
        looking.register(self.slave, select.POLLIN)
        return bool(looking.poll(0))

    def drop_typed(self) -> None:
        """Throw away what the kernel has of what was typed: what the program could read, and what waits behind it."""
        with contextlib.suppress(termios.error):  # a program may have hung its terminal up (vhangup(2))
            termios.tcflush(self.master, termios.TCOFLUSH)
            termios.tcflush(self.slave, termios.TCIFLUSH)

    def release(self) -> None:
        """The program has ended: whoever still has its terminal open alone keeps the output from its end."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def close(self) -> None:
        """Close both ends; whoever has it as the controlling terminal gets SIGHUP."""
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
"""asm-generic/termbits-common.h, the same everywhere; Python has no name for it before 3.14."""

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
"""Of each flag the word of `termios.tcgetattr` that it is in, and its bit."""

_SWITCHED_OFF: Final = 255
"""A character that is none, on the wire; Linux has NUL for that (_POSIX_VDISABLE)."""


def set_modes(fd: int, modes: Iterable[tuple[str, int]]) -> None:
    """Give the terminal `fd` these modes, and before them input in UTF-8, so that one character is erased as one.

    What is not named stays as the system has it. Raises termios.error.
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
