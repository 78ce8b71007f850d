"""Who has called this command, and where.

Usually that is the parent of this process. A child of the helper (`farhand_client.helper`) does a command's work for
another process, the front: then it is the front's parent, and this process has no controlling terminal on which it
could ask anybody. `act_for` says so; nothing else has to know.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class FrontJob:
    """What a front does for this process, in the job that it belongs to."""

    def stop(self, number: int | None) -> bool:
        """Have the terminal's signal `number` stop the job; return whether it was stopped, once it is continued. None
        only waits for the latter: somebody has stopped it already."""
        raise NotImplementedError

    def own_stops(self, own: bool) -> None:
        """Have SIGTSTP sent to this process, which acts on it by `stop`; or no longer: then it stops both."""
        raise NotImplementedError

    def state(self) -> list[bytes]:
        """Return what `front_state` does. Raises OSError."""
        return front_state()


_front: int | None = None
_job: FrontJob | None = None
_abandon: Callable[[], None] | None = None
_clean = True


def act_for(front: int, abandon: Callable[[], None], job: FrontJob | None = None) -> None:
    """Act for the process `front` from now on; `abandon` ends this process, and has the front do the command itself.

    `job` stops and continues the front.
    """
    global _front, _abandon, _clean, _job
    _front, _abandon, _clean, _job = front, abandon, True, job


def job_of_front() -> FrontJob | None:
    """Return what stops the front; None if this process acts for itself."""
    return _job


def parent_pid() -> int:
    """Return the process that called this command. Raises OSError if it is gone."""
    if _front is None:
        return os.getppid()
    return int(front_state(_front)[1])


def front_state(front: int | None = None) -> list[bytes]:
    """Return what proc_pid_stat(5) says of the front from its state on: state, parent, group, session, terminal, the
    terminal's group. Raises OSError."""
    return fields_of_stat(_read(f"/proc/{front or _front}/stat"))


def fields_of_stat(text: bytes) -> list[bytes]:
    """Return the fields of proc_pid_stat(5) from the state on: they come after the name, which may hold anything."""
    return text.rpartition(b") ")[2].split()


def initial_environment() -> bytes:
    """Return the environment that this command was started with, as execve(2) left it. Raises OSError."""
    return _read(f"/proc/{_front or 'self'}/environ")


def commit() -> None:
    """Say that a request has been sent which must not be sent by another process, too."""
    global _abandon
    _abandon = None


def before_asking() -> None:
    """Call this before a person is asked anything. Does not return where the front has to do that."""
    if _abandon is not None:
        _abandon()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # not by pathlib: every command imports this
        return file.read()


def leave_state() -> None:
    """Say that this process keeps something of its command, such as an event loop, and must not do another one."""
    global _clean
    _clean = False


def is_clean() -> bool:
    """Return whether this process could do another command."""
    return _clean
