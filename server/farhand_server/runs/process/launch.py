"""The command line that starts a program as another user, under limits, in a cgroup.

A prefix of standard programs, because `preexec_fn` and `user=` of `subprocess` would make a fork of the whole service
out of a vfork:

    [sh: enters the cgroup] [setpriv: becomes the user] sh: terminal, limits, environment [env: more of it]
        [bash: another name] the program

What runs before setpriv(1) has changed users runs as root, so nothing that a request chose may steer it. The program's
environment (think of LD_PRELOAD) therefore travels as the *values* of variables with names of our own, which no program
looks at, and is put in place by a shell that is the user already. Its values never stand on a command line, which
anybody may read in /proc, but for the few in `_NOT_FOR_SHELLS`.
"""

from __future__ import annotations

import functools
import math
import os
import re
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from farhand_server.credentials import Credentials

from .usage import ResourceLimits

BASH: Final = b"/bin/bash"
SHELL: Final = b"/bin/sh"
ENV: Final = b"/usr/bin/env"
NICE: Final = b"/usr/bin/nice"
SETPRIV: Final = b"/usr/bin/setpriv"
"""util-linux 2.31 or later. None of them is searched for in a PATH."""

_TERMINAL: Final = "command exec <>/proc/self/fd/0 >&0 2>&0 || exit 125"
"""A terminal becomes the controlling one of a session's leader that has none and opens it (tty_ioctl(4), termios(3)):
that needs neither preexec_fn nor a program that is not everywhere."""

_NAMED: Final = (
    b"-p",
    b"-c",
    b'exec 2>&3 3>&-; export -n SHELLOPTS BASHOPTS; unset PWD OLDPWD SHLVL; exec -a "$0" -- "$@"',
)
"""Of all shells bash alone gives a program another name; with -p it acts on nothing that is in the environment."""

_ASIDE: Final = " 3>&2 2>/dev/null"
"""Where stderr goes until bash, which complains of a locale that it does not know, has come to its first line."""

UMASK: Final = "022"
"""Of programs that run as another user: the default of login.defs(5). The service's own account keeps the service's."""

_NOT_FOR_SHELLS: Final = re.compile(
    rb"(?![A-Za-z_][A-Za-z0-9_]*\Z)|(?:_|BASH.*|COMP.*|DIRSTACK|EPOCH.*|E?UID|FUNC.*|GROUPS|HIST.*|IFS|LINENO"
    rb"|(?:OLD)?PWD|OPT...|OPTIND|PIPESTATUS|POSIXLY_CORRECT|PPID|PS[0-9]|S?RANDOM|SECONDS|SHELLOPTS|SHLVL)\Z",
    re.DOTALL,
)
"""Names that a shell drops, as they are none of its own syntax, or keeps for a use of its own: env(1) sets them."""

_SHELLS_OWN: Final = (b"PWD", b"OLDPWD", b"SHLVL", b"_")
"""Variables that dash or bash hands on whether it was given them or not."""


class LaunchCommand(NamedTuple):
    """What to hand to execve(2)."""

    argv: tuple[bytes, ...]
    env: Mapping[bytes, bytes]


def launch(
    argv: Sequence[bytes],
    *,
    env: Mapping[bytes, bytes],
    credentials: Credentials | None,
    limits: ResourceLimits,
    cgroup: Path | None,
    terminal: bool = False,
    argv0: bytes | None = None,
) -> LaunchCommand:
    """Return what runs `argv`, with exactly `env`, as the user of `credentials`, with `limits`, in `cgroup`.

    Where none of that is asked for, that is `argv` and `env` themselves. The pid stays the same, as do descriptors and
    the working directory. `credentials` are None, or the service's own, for the service's own account.

    With `terminal` the program's stdin is one, and becomes its controlling terminal, stdout and stderr. `argv0` is the
    name by which it is called; where there is no bash(1) it is called by its own, with the option `-l`: that a shell is
    a login shell is all that such a name ever says. bash adds a SHLVL of 0, and what of `env` shells keep for a use of
    their own does not get past it.

    `limits` are rlimits, soft and hard (setrlimit(2)); leave out what the cgroup enforces. None is raised above the
    hard limit of the service. Memory is rounded up to KiB, the size of files to 512 bytes, processor time to seconds,
    with one more before the hard limit: the program gets SIGXCPU, and KILL only where it goes on.

    Errors come as those of the program: exit 125, with the reason on stderr, where the cgroup cannot be entered or the
    terminal not be opened, and 126 or 127 where a program of the prefix is missing or `check` has overlooked what is
    wrong with `argv[0]`.
    """
    if credentials is not None and credentials.uid == os.geteuid():
        credentials = None
    named = argv0 is not None and os.access(BASH, os.X_OK)
    if argv0 is not None:
        argv = (BASH, *_NAMED, argv0, *argv) if named else (argv[0], b"-l", *argv[1:])
    if credentials is None and not limits and cgroup is None and not terminal and not named:
        return LaunchCommand(tuple(argv), env)
    names, exported = _pack(env)
    enter = [] if cgroup is None else ['echo 0 >"$1" || exit 125', "shift"]
    place = () if cgroup is None else (os.fsencode(cgroup / "cgroup.procs"),)
    left = [name for name in names if name not in exported]
    by_shell = not left and _finds_the_same(argv[0], env)
    last = 'unset PWD OLDPWD\nexec "$@"' if by_shell else _exec_line(left)
    setting = [*_limit_lines(limits), last + _ASIDE if named else last]
    if exported:
        # A shell that knows no locale of that name says so on stderr, which is the program's.
        setting.insert(0, f"export {_values(exported)} 2>/dev/null\nunset {' '.join(exported)}")
    if terminal:
        setting.insert(0, _TERMINAL)
    packed = {name.encode(): value for name, value in names.items()}
    # env(1) takes a name with "=" for an assignment, and "-" for an option.
    guarded = (NICE, b"-n", b"0", b"--", *argv) if not by_shell and (b"=" in argv[0] or argv[0] == b"-") else argv
    if credentials is None:
        return LaunchCommand((*_shell(enter + setting), *place, *guarded), packed)
    setting.insert(0, f"umask {UMASK}")
    switched = (*_setpriv(credentials), *_shell(setting), *guarded)
    if cgroup is not None:
        switched = (*_shell([*enter, 'exec "$@"']), *place, *switched)
    return LaunchCommand(switched, packed)


def _finds_the_same(program: bytes, env: Mapping[bytes, bytes]) -> bool:
    """Whether env(1) can be saved, as /bin/sh finds the program as execvp(3) does and adds nothing to its environment.

    dash does, but that it has a PATH of its own where there is none, and other uses for `%` in it.
    """
    return _is_dash(SHELL) and not program.startswith(b"-") and b"%" not in env.get(b"PATH", b"%")


@functools.cache
def _is_dash(shell: bytes) -> bool:
    return os.path.realpath(shell).endswith(b"/dash")


def _shell(lines: list[str]) -> tuple[bytes, ...]:
    return (SHELL, b"-c", "\n".join(lines).encode(), b"farhandd")


def _setpriv(credentials: Credentials) -> tuple[bytes, ...]:
    # The groups by number: --init-groups would look up once more, and perhaps otherwise, what the service has found.
    groups = ",".join(map(str, credentials.groups))
    return (
        SETPRIV,
        f"--reuid={credentials.uid}".encode(),
        f"--regid={credentials.gid}".encode(),
        f"--groups={groups}".encode() if groups else b"--clear-groups",
        b"--inh-caps=-all",
        b"--",
    )


def _pack(env: Mapping[bytes, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """Each variable as a value under a name that none of them has, and the names of those that a shell can export."""
    prefix = "E"
    while any(name.startswith(prefix.encode()) and name[len(prefix) :].isdigit() for name in env):
        prefix += "_"
    names = {}
    exported = []
    for number, (name, value) in enumerate(env.items()):
        names[f"{prefix}{number}"] = name + b"=" + value
        if not _NOT_FOR_SHELLS.match(name):
            exported.append(f"{prefix}{number}")
    return names, exported


def _values(names: list[str]) -> str:
    return " ".join(f'"${name}"' for name in names)


def _exec_line(left: list[str]) -> str:
    unset = " ".join(f"-u {name}" for name in [*(name.decode() for name in _SHELLS_OWN), *left])
    return f"exec {ENV.decode()} {unset} -- {_values(left)} " + '"$@"'


def _limit_lines(limits: ResourceLimits) -> list[str]:
    lines = []
    if limits.files is not None:
        lines.append(f"ulimit -n {_bounded(limits.files, resource.RLIMIT_NOFILE)}")
    if limits.file_size is not None:
        lines.append(f"ulimit -f {_bounded(limits.file_size, resource.RLIMIT_FSIZE, unit=512)}")
    if limits.processes is not None:
        number = _bounded(limits.processes, resource.RLIMIT_NPROC)
        lines.append(f"ulimit -u {number} 2>/dev/null || ulimit -p {number}")  # -u in bash, -p in dash
    if limits.cpu is not None:
        seconds = max(1, math.ceil(limits.cpu))
        lines.append(f"ulimit -S -t {_bounded(seconds, resource.RLIMIT_CPU)}")
        lines.append(f"ulimit -H -t {_bounded(seconds + 1, resource.RLIMIT_CPU)}")
    if limits.memory is not None:
        # Last: the shell has to live with it.
        lines.append(f"ulimit -v {_bounded(limits.memory, resource.RLIMIT_AS, unit=1024)}")
    return lines


def _bounded(value: int, number: int, unit: int = 1) -> int:
    _, hard = resource.getrlimit(number)
    if hard != resource.RLIM_INFINITY and value >= hard:
        return hard // unit
    return -(-value // unit)
