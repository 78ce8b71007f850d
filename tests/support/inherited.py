"""Resets what a process inherits from its parent, so that the tests have the same result under any parent.

A script's `&` passes SIGINT and SIGQUIT on as ignored, nohup(1) SIGHUP, a careless parent a signal mask; cron(8) sets
no TERM, a service manager no HOME, a hardened account umask 077. Programs that the tests start would inherit all of
that.
How the product itself copes with such parents is tested in `tests/integration/test_any_parent.py`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

UMASK: Final = 0o022
"""The default of login.defs(5)."""

_KEPT_BY_PYTHON: Final = {signal.SIGPIPE, signal.SIGXFSZ}
"""Python ignores them for itself; `subprocess` restores their defaults in what it starts."""

_SET: Final = {"TERM": "xterm", "LANG": "C.UTF-8"}

_REMOVED: Final = (
    "BASH_ENV", "CDPATH", "COLUMNS", "ENV", "FORCE_COLOR", "LINES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET",
    "NO_COLOR", "PROMPT_COMMAND", "PS1", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONOPTIMIZE",
    "PYTHONWARNINGS", "SSH_AUTH_SOCK", "STY", "TMUX", "TZ", "WATCHDOG_USEC", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
)  # fmt: skip
"""Variables that change what shells, terminals, service managers or Python do. Without PYTHONDONTWRITEBYTECODE the
programs that the tests start compile the project once, not at every start."""


MAX_TMPDIR: Final = 16
"""Bytes of a temporary directory's name. Below it lie Unix sockets, whose paths have 107 bytes at most (unix(7)), and
directories that prompts show on one line of a terminal."""


def reset_inherited_state() -> None:
    """Give this process default signal dispositions, an empty mask, open standard files, a usual umask and environment.

    Call it in the main thread before any process or thread is started. xdist's workers inherit the result.
    """
    _open_standard_files()
    _reset_signals()
    os.umask(UMASK)
    _reset_environment()


def _reset_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - _KEPT_BY_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _open_standard_files() -> None:
    # Otherwise the next opened file would become one of them.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            assert os.open(os.devnull, os.O_RDWR) == number
            os.set_inheritable(number, True)


def _reset_environment() -> None:
    for name in [name for name in os.environ if name in _REMOVED or name.startswith("LC_")]:
        del os.environ[name]
    os.environ.update(_SET)
    if not Path(os.environ.get("HOME", "/nonexistent")).is_dir():
        os.environ["HOME"] = home = tempfile.mkdtemp(prefix="farhand-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
    if len(os.environ.get("TMPDIR", "")) > MAX_TMPDIR and os.access("/tmp", os.W_OK | os.X_OK):
        del os.environ["TMPDIR"]
        tempfile.tempdir = None
