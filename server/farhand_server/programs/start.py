"""What one of the service's own programs does first: it becomes the user of its run, irrevocably.

Everything is imported before that, by a user who can read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Final

from farhand_server.worker.identity import become_user, give_up_privileges

from .order_file import RunIds

OWN_PIPE_SIZE: Final = 1 << 20
"""Bytes to which the pipes are enlarged (F_SETPIPE_SZ, fcntl(2)): a chunk of a file's content, or four frames of a
connection, so that neither side waits for the other in the middle of one. The kernel refuses that beyond the account's
share, and programs work without it, too."""

USER_UMASK: Final = 0o022
"""The umask of a program that has become another user, as that of other programs (`runs.process.launch`)."""

PROGRAM_BUG: Final = 70
"""The exit code for an error in the program itself (EX_SOFTWARE, sysexits.h)."""


def readable_by_all(directories: Sequence[str]) -> bool:
    """Whether every user may read what is in these directories, as far as their modes say."""
    return all(map(_for_everybody, directories))


def _for_everybody(directory: str) -> bool:
    path = os.path.realpath(directory)
    while True:
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116  # pathlib takes 10 ms
        except OSError:
            return True  # there is nothing to read
        if not mode & stat.S_IXOTH:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)  # noqa: PTH120  # as above


def load_lazy_modules(names: Sequence[str]) -> None:
    """Import modules that are otherwise only imported when they are needed, if not every user could read them then."""
    if not readable_by_all(sys.path):
        for name in names:
            importlib.import_module(name)


def become(user: RunIds | None) -> None:
    """Become the user; None stands for the service's own account. Then nobody can look into the process."""
    gc.freeze()
    gc.enable()
    if user is not None:
        become_user(*user)
        os.umask(USER_UMASK)
    give_up_privileges()


def run_and_exit(serve: Callable[[], int]) -> None:
    """Enlarge the pipes, call `serve`, and end with the exit code that it returns, whatever threads hang."""
    code = PROGRAM_BUG
    try:
        for fd in (0, 1):
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, OWN_PIPE_SIZE)
        code = serve()
    except BaseException:  # noqa: BLE001  # Python would exit with 1, which means something else
        sys.__excepthook__(*sys.exc_info())
    finally:
        os._exit(code)
