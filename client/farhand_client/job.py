"""The job that this command is for the user's shell: whether it may use the terminal, and how it is stopped.

The kernel sees to that for a process of its own: it stops those in the background that read keys (SIGTTIN) or set the
terminal's modes (SIGTTOU). A child of the helper (`caller`) has a session of its own, and the kernel lets it use the
front's terminal at any time. So it looks itself whether the front might, and has the front stop where the kernel
would have stopped it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed lacks it; signal imports enum, and the direct path this
import errno
import os

from . import caller

_STOPPED = (b"T", b"t")
"""States of a process that is stopped (proc_pid_stat(5))."""

_FLAGS = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


def may_read(fd: int) -> bool:
    """Return whether this command may read from a file now, as `may_use_terminal` says if that is a terminal."""
    return caller.job_of_front() is None or not os.isatty(fd) or may_read_keys()


def may_read_keys() -> bool:
    """Return whether this command may read from the terminal now, as `may_use_terminal` says."""
    return may_use_terminal(_signal.SIGTTIN)


def may_set_modes() -> bool:
    """Return whether this command may set the terminal's modes now, as `may_use_terminal` says."""
    return may_use_terminal(_signal.SIGTTOU)


def may_use_terminal(number: int) -> bool:
    """Return whether this command's job has the terminal.

    In the background it is stopped first, by `number`. Afterwards this is False if it still is
    in the background: ask again when there is a reason to. Raises OSError if nobody could have continued the job.
    """
    job = caller.job_of_front()
    if job is None:
        return True
    state, foreground = _state(job)
    if foreground:
        return True
    stopped = job.stop(None if state in _STOPPED else number)
    foreground = _state(job)[1]
    if not stopped and not foreground:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return foreground


def suspend() -> None:
    """Stop this job as Ctrl-Z does, and return once it is continued; at once if nobody could continue it."""
    job = caller.job_of_front()
    if job is not None:
        job.stop(_signal.SIGTSTP)
        return
    before = _signal.signal(_signal.SIGTSTP, _signal.SIG_DFL)
    os.kill(0, _signal.SIGTSTP)
    _signal.signal(_signal.SIGTSTP, before)
    _signal.siginterrupt(_signal.SIGTSTP, False)  # as asyncio had set it


def set_own_stops(own: bool) -> None:
    """Say whether this process handles SIGTSTP, and stops by `suspend`."""
    job = caller.job_of_front()
    if job is not None:
        job.own_stops(own)


def in_background(terminal: int) -> bool:
    """Return whether this command's job is in the background of a terminal, which it then must not use."""
    job = caller.job_of_front()
    if job is not None:
        return not _state(job)[1]
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:  # not the controlling terminal, so it stops nobody
        return False


def open_terminal() -> int:
    """Open the controlling terminal. Raises OSError if there is none."""
    if caller.job_of_front() is None:
        return os.open("/dev/tty", _FLAGS)
    for number in range(3):
        try:
            return open_own(number)
        except OSError:  # another terminal, or none
            continue
    raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))


def open_own(fd: int, front: int | None = None) -> int:
    """Open the front's controlling terminal, which is open as `fd`, by its name. Raises OSError if it is another
    terminal or none, belongs to another account, or has another name here."""
    number = int(caller.front_state(front)[4])
    # The minor number's bits are 31 to 20 and 7 to 0 (proc_pid_stat(5)).
    device = os.makedev(number >> 8 & 0xFFF, (number >> 20 & 0xFFF) << 8 | number & 0xFF)
    if os.fstat(fd).st_rdev != device:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
    return os.open(os.ttyname(fd), _FLAGS | os.O_NONBLOCK)


def _state(job: caller.FrontJob) -> tuple[bytes, bool]:
    state, _, group, _, _, foreground, *_ = job.state()
    return state, group == foreground and state not in _STOPPED
