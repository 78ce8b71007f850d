"""Starts the helper, and replaces one that does not answer."""

from __future__ import annotations

import os
import signal
import sys

from farhand_client import caller

from . import ask
from .place import HelperPlace
from .request import OFFER, ConnectionRequest, frame

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing takes 5 ms
    from collections.abc import Callable
    from typing import Final

MODULE: Final = "farhand_client.helper"

_KEPT: Final = (
    "HOME",
    "PATH",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "TMPDIR",
    "LANG",
    "LANGUAGE",
    "TZ",
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "HOSTALIASES",
)
_KEPT_BEGINNINGS: Final = ("LC_", "PYTHON", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_")
"""The variables that the helper gets: it outlives the command that starts it, and what that has in its environment may
be secret. Whatever else matters for a connection is in the request. Commands for which an interpreter would start in
another environment are not served (`farhand_client.helper.circumstances`)."""


def offer_or_start(place: HelperPlace, request: ConnectionRequest) -> None:
    """Let the helper keep a connection like this one; start the helper if there is none that answers.

    Takes a few milliseconds: the helper is not waited for. Never fails.
    """
    try:
        if not ask.offer(place, request):
            start(place, request)
    except OSError:
        return  # there is no helper then: too many processes, or no memory


def start_if_none(place: HelperPlace, configured: Callable[[], bool]) -> None:
    """Start the helper for its processes, without a connection, if there is none and it is `configured`."""
    if caller.job_of_front() is not None:
        return  # a helper serves this command
    connection = ask.reach(place)
    if connection is not None:
        connection.close()
        return
    try:
        if configured():
            start(place)
    except OSError:
        return


def start(place: HelperPlace, request: ConnectionRequest | None = None) -> None:
    """Start the helper of `place`, with an offer if there is a `request`. Raises OSError.

    It ends at once if there is another one already. Its parent is init(1), because a child between ends first: the
    command need not reap it.
    """
    reading, writing = os.pipe()
    try:
        if request is not None:
            os.set_blocking(writing, False)  # a pipe holds the longest request
            os.write(writing, frame(OFFER, request.encode()))
        os.close(writing)
        writing = -1
        # -P: the directory in which it runs must not be searched for modules. In /, where it blocks no file system.
        argv = [sys.executable, "-P", "-m", MODULE, os.fsdecode(place.program)]
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", 'cd / && "$@" >/dev/null 2>&1 <&3 3<&- &', "sh", *argv],
            _environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, reading, 3)],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD),
        )
        os.waitpid(pid, 0)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)}
