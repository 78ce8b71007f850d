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

_AS_USER: Final = """
account = {uid}, {gid}
os.setgroups([])
os.setresgid(account[1], account[1], account[1])
os.setresuid(account[0], account[0], account[0])
"""


def parent(statements: str) -> tuple[str, ...]:
    """Return a command prefix that executes `statements` and then, in the same process, the command that follows it."""
    return (sys.executable, "-I", "-S", "-c", _EXECUTE.format(statements=statements))


def ordinary_user(statements: str) -> str:
    """Return statements that become an ordinary user, which needs root, and then execute `statements`."""
    entry = pwd.getpwnam(USER)
    return _AS_USER.format(uid=entry.pw_uid, gid=entry.pw_gid) + statements


def give_to_user(directory: Path) -> None:
    """Change the owner of a directory and everything in it to the ordinary user."""
    entry = pwd.getpwnam(USER)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
