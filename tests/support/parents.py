"""Parents as programs find them in the field: careless, without a terminal, in another locale or account."""

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
"""nohup(1), a script's `&`, and more."""

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
"""What each of them does before it executes the program; Python statements."""

EVERYTHING: Final = "\n".join(PARENTS.values())

USER: Final = "nobody"

_EXECUTE: Final = "import os, signal, sys\n{statements}\nos.execvp(sys.argv[1], sys.argv[1:])\n"

_AS_USER: Final = """
account = {uid}, {gid}
os.setgroups([])
os.setresgid(account[1], account[1], account[1])
os.setresuid(account[0], account[0], account[0])
"""


def parent(statements: str) -> tuple[str, ...]:
    """Return the command that does this and then executes the command behind it, in the same process."""
    return (sys.executable, "-I", "-S", "-c", _EXECUTE.format(statements=statements))


def ordinary_user(statements: str) -> str:
    """Return the statements that become an ordinary user, of which only root is able, and then do `statements`."""
    entry = pwd.getpwnam(USER)
    return _AS_USER.format(uid=entry.pw_uid, gid=entry.pw_gid) + statements


def give_away(directory: Path) -> None:
    """Make a directory and all in it the ordinary user's."""
    entry = pwd.getpwnam(USER)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
