"""Keeps forked children away from the connections of their parent.

A child inherits the socket and everything that would write to it: cancelled calls that stop their runs, the end of a
context, an event loop that is closed. In the child each such descriptor is replaced by /dev/null, so that nothing that
happens there reaches the service, and the service notices the end of the parent although a child of it lives on.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final
from weakref import WeakSet

from farhand_protocol.transport import ConnectionTransport

_transports: Final[WeakSet[ConnectionTransport]] = WeakSet()


def keep_from_children(transport: ConnectionTransport) -> None:
    """Replace the descriptor of `transport` in every child that this process forks from now on."""
    _transports.add(transport)


def _replace_descriptors() -> None:
    # Not by closing the transport: it would take the socket out of an epoll(7) instance that the parent shares. Not by
    # closing the descriptor: its number would be used again, while the transport still has it.
    descriptors = [number for transport in _transports if (number := transport.fileno()) >= 0]
    if descriptors:
        with contextlib.suppress(OSError):  # no descriptor is free: the checks of `home_loop` remain
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for number in descriptors:
                os.dup2(nothing, number, inheritable=False)
            os.close(nothing)


os.register_at_fork(after_in_child=_replace_descriptors)
