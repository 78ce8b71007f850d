"""Parent processes as programs meet them in practice: careless, without a terminal, in another locale or account."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Final

IGNORED: Final = """
for name in ("HUP", "INT", "QUIT", "PIPE", "TERM", "TSTP", "TTIN", "TTOU", "CHLD", "ALRM", "USR1", "USR2"):
    signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)
"""
"""As after nohup(1), a script's `&`, and more."""

PARENTS: Final = {
    "signals_ignored": IGNORED,
    "signals_blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "no_controlling_terminal": "if os.getpid() != os.getsid(0): os.setsid()",
    "stdin_closed": "os.close(0)",
    "umask_077": "os.umask(0o077)",
    "no_term": "os.environ.pop('TERM', None)",
    "lang_c": "os.environ['LANG'] = 'C'",
    "home_unset": "os.environ.pop('HOME', None)",
    "home_missing": "os.environ['HOME'] = '/nonexistent/home'",
}
"""The Python statements that each parent executes before the program."""

ALL_STATEMENTS: Final = "\n".join(PARENTS.values())

USER: Final = "nobody"

_EXECUTE: Final = "import os, signal, sys\n{statements}\nos.execvp(sys.argv[1], sys.argv[1:])\n"

ORDINARY_USER: Final = (
    *("setpriv", "--reuid", USER, "--regid", str(pwd.getpwnam(USER).pw_gid), "--clear-groups"),
    *("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"),
)
"""A command prefix that becomes an ordinary user, which needs root. It keeps the right to read any file: the
interpreter may be in a home directory that only its owner can read."""


def parent(statements: str) -> tuple[str, ...]:
    """Return a command prefix that executes `statements` and then, in the same process, the command that follows it."""
    return (sys.executable, "-I", "-S", "-c", _EXECUTE.format(statements=statements))


def give_to_user(directory: Path) -> None:
    """Change the owner of a directory and everything in it to the ordinary user."""
    entry = pwd.getpwnam(USER)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
