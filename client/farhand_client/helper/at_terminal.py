"""Which commands a child of the helper serves at the user's terminal, and how it has its front's job stopped."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import socket
from collections.abc import Mapping, Sequence
from typing import Final

from farhand_client import caller, job
from farhand_client.errors import FarhandError

from .handover import NO_STOPS, NOT_STOPPED, OWN_STOPS, STOP_JOB

_AT_A_TERMINAL: Final = frozenset({"attach", "repl", "replay", "shell"})
"""Commands that use the user's terminal if there is one."""

_FROM_STDIN: Final = frozenset({"put", "cp"})
"""Commands that read stdin, without regard to the job, if one of their words is a hyphen."""

_STAT_SIZE: Final = 1024
"""Bytes that suffice for /proc/PID/stat: 52 numbers of 20 digits at most, of which the first ones count, and a name."""

_ELSEWHERE: Final = ("/dev/fd/", "/dev/tty", "/proc/")
"""Paths that mean something else in another process."""


class ToldJob(caller.FrontJob):
    """Tells the process `front` on `connection`, which says by `token` when it was continued."""

    def __init__(self, connection: socket.socket, token: int, front: int) -> None:
        self._connection = connection
        self._token = token
        self._front = front
        self._stat: int | None = None
        """Its file in /proc, once it was read: each key asks for it."""

    def close(self) -> None:
        """Close what this has opened, and `token`."""
        os.close(self._token)
        if self._stat is not None:
            os.close(self._stat)

    def state(self) -> list[bytes]:
        """Implements `FrontJob`."""
        if self._stat is None:
            self._stat = os.open(f"/proc/{self._front}/stat", os.O_RDONLY | os.O_CLOEXEC)
        return caller.fields_of_stat(os.pread(self._stat, _STAT_SIZE, 0))

    def stop(self, number: int | None) -> bool:
        """Implements `FrontJob`."""
        if number is not None:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._token)  # that it was continued before
            self._tell(STOP_JOB + bytes([number]))
        ready = select.poll()
        ready.register(self._token, select.POLLIN)
        ready.poll()
        return os.eventfd_read(self._token) < NOT_STOPPED

    def own_stops(self, own: bool) -> None:
        """Implements `FrontJob`."""
        self._tell(OWN_STOPS if own else NO_STOPS)

    def _tell(self, what: bytes) -> None:
        with contextlib.suppress(OSError):  # the front is gone: then this process ends
            self._connection.send(what, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def is_served(arguments: Sequence[str], standard: Mapping[int, int], front: int) -> bool:
    """Return whether this process does a command as well as the process `front` would.

    `standard` are the descriptors of the standard files.
    """
    name, *rest = arguments or [""]
    if name == "run":
        rest = _options_of_run(rest)
    terminals = [fd for number, fd in standard.items() if number < 2 and os.isatty(fd)]
    if terminals and name in _FROM_STDIN and "-" in rest:
        return False
    if not all(_is_own(fd, front) for fd in terminals) and _may_read(name, rest):
        return False
    return not any(path in word for word in rest for path in _ELSEWHERE)


def _may_read(name: str, rest: Sequence[str]) -> bool:
    """Return whether a command may read stdin. `rest` are its words, or its options where they come first."""
    if name == "run":  # a letter too many does no harm
        return any(word == "--stdin" or (word[:1] == "-" != word[1:2] and {*word} & {*"it"}) for word in rest)
    if name == "rsh":
        return _session_reads(rest)
    return name in _AT_A_TERMINAL


def _is_own(terminal: int, front: int) -> bool:
    """Return whether this is the front's controlling terminal, and can be opened here by its name."""
    try:
        os.close(job.open_own(terminal, front))
    except OSError:
        return False
    return True


def _session_reads(words: Sequence[str]) -> bool:
    try:
        line = importlib.import_module("farhand_client.sshconfig.command_line").parse_command_line(list(words))
    except FarhandError:
        return False  # it is refused
    values = line.settings.values
    return values.get("stdinnull") != "yes" or values.get("requesttty", "no") not in ("no", "auto")


def _options_of_run(words: list[str]) -> list[str]:
    valued = importlib.import_module("farhand_client.cli.run").VALUED_OPTIONS
    options, _ = importlib.import_module("farhand_client.cli.options").split_arguments(words, valued)
    return list(options)
