"""A program's terminal: a pseudoterminal (pty(7)), of which the program has one end and the service the other.

Its modes have the names that SSH uses (RFC 4254, 8), and are translated to termios(3) here.
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
"""Mode of a user's terminal: the group tty may write to it, for write(1) and wall(1), as with sshd."""

_SIGNAL_KEYS: Final = (termios.VINTR, termios.VQUIT, termios.VSUSP)

_WINSIZE: Final = struct.Struct("HHHH")
"""struct winsize: rows, columns, and two sizes in pixels (ioctl_tty(2))."""


class PseudoTerminal:
    """Both ends of a pseudoterminal; -1 for one that is closed.

    The service keeps the program's end open as well until the program has ended. Otherwise a program that closes its
    terminal everywhere, and opens it again, would seem to have ended its output.
    """

    def __init__(self, master: int, slave: int) -> None:
        self.master = master
        self.slave = slave

    @classmethod
    def open(cls, plan: TerminalPlan, size: TerminalSize, credentials: Credentials | None) -> Self:
        """Open a terminal of this size, with the modes of the plan, owned by the user of `credentials`.

        Raises OSError, also if the system has no more terminals.
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
    def size(self) -> TerminalSize:
        """The size that the program sees."""
        rows, columns, _, _ = self._winsize()
        return TerminalSize(columns, rows)

    def resize(self, size: TerminalSize) -> None:
        """Set the size. If it differs, the kernel sends SIGWINCH to the foreground process group."""
        self._set_winsize(size.rows, size.columns, 0)

    def repaint(self) -> None:
        """Send SIGWINCH to the foreground process group, without a change of the size in characters.

        The kernel sends it, even to setuid programs, whenever any part of the size changes: here the width in pixels,
        which is unknown (0) before and after.
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
        """Return the characters that now make signals and discard what was typed before them (termios(3))."""
        attributes = termios.tcgetattr(self.master)
        if not attributes[3] & termios.ISIG or attributes[3] & termios.NOFLSH:
            return b""
        return b"".join(attributes[6][key] for key in _SIGNAL_KEYS).replace(b"\0", b"")

    def end_key(self) -> bytes:
        """Return the character that now ends a program's input; empty if the program reads every character literally.

        Line editors (readline(3)) interpret each character themselves, but leave the special keys in place.
        """
        attributes = termios.tcgetattr(self.master)
        meant = attributes[3] & (termios.ICANON | termios.ISIG)
        return bytes(attributes[6][termios.VEOF]).strip(b"\0") if meant else b""

    def by_lines(self) -> bool:
        """Return whether the program now reads whole lines (canonical mode)."""
        return bool(termios.tcgetattr(self.master)[3] & termios.ICANON)

    def unread(self) -> bool:
        """Return whether the program has not yet read everything that was typed."""
        looking = select.poll()
        looking.register(self.slave, select.POLLIN)
        return bool(looking.poll(0))

    def drop_typed(self) -> None:
        """Discard the input that the kernel holds: what the program could read, and what waits behind it."""
        with contextlib.suppress(termios.error):  # a program may have hung its terminal up (vhangup(2))
            termios.tcflush(self.master, termios.TCOFLUSH)
            termios.tcflush(self.slave, termios.TCIFLUSH)

    def release(self) -> None:
        """Close the program's end after the program has ended: the output ends once nobody else has it open."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def close(self) -> None:
        """Close both ends; processes that have it as their controlling terminal get SIGHUP."""
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
"""From asm-generic/termbits-common.h, the same on all architectures; Python names it from 3.14 on."""

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
"""On the wire, a special character that is disabled; on Linux that is NUL (_POSIX_VDISABLE)."""


def set_modes(fd: int, modes: Iterable[tuple[str, int]]) -> None:
    """Set modes of the terminal `fd`, after UTF-8 input (IUTF8), which makes the kernel erase whole characters.

    Modes that are not named keep the system's defaults. Raises termios.error.
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
