"""The command line that starts a program as another user, under limits, in a cgroup.

It is a prefix of standard programs, because with `preexec_fn` or `user=`, `subprocess` would fork the whole service
instead of using vfork:

    [sh: enters the cgroup] [setpriv: becomes the user] sh: terminal, limits, environment [env: more of it]
        [bash: another name] the program

Everything before setpriv(1) has changed the user runs as root, so nothing in a request may influence it. The program's
environment (for instance LD_PRELOAD) is therefore passed as the *values* of variables with our own names, which no
program looks at, and is set by a shell that already runs as the user. The values never appear on a command line, which
anybody may read in /proc, except for the few variables in `_NOT_FOR_SHELLS`.
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
"""Part of util-linux 2.31 and later. None of these programs is searched for in a PATH."""

_TERMINAL: Final = "command exec <>/proc/self/fd/0 >&0 2>&0 || exit 125"
"""When a session leader without a controlling terminal opens a terminal, it becomes the controlling terminal
(tty_ioctl(4), termios(3)). This needs neither preexec_fn nor a program that some systems lack."""

_NAMED: Final = (
    b"-p",
    b"-c",
    b'exec 2>&3 3>&-; export -n SHELLOPTS BASHOPTS; unset PWD OLDPWD SHLVL; exec -a "$0" -- "$@"',
)
"""Only bash can give a program another name. With -p it ignores variables that would affect it."""

_ASIDE: Final = " 3>&2 2>/dev/null"
"""Redirects stderr until bash has reached its first line, because bash reports an unknown locale."""

UMASK: Final = "022"
"""The umask of programs that run as another user: the default of login.defs(5). Other programs inherit the
service's."""

_NOT_FOR_SHELLS: Final = re.compile(
    rb"(?![A-Za-z_][A-Za-z0-9_]*\Z)|(?:_|BASH.*|COMP.*|DIRSTACK|EPOCH.*|E?UID|FUNC.*|GROUPS|HIST.*|IFS|LINENO"
    rb"|(?:OLD)?PWD|OPT...|OPTIND|PIPESTATUS|POSIXLY_CORRECT|PPID|PS[0-9]|S?RANDOM|SECONDS|SHELLOPTS|SHLVL)\Z",
    re.DOTALL,
)
"""Names that a shell drops because they are invalid in its syntax, or that it uses itself. env(1) sets them instead."""

_SHELLS_OWN: Final = (b"PWD", b"OLDPWD", b"SHLVL", b"_")
"""Variables that dash or bash passes on even if it was not given them."""


class LaunchCommand(NamedTuple):
    """The arguments for execve(2)."""

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
    """Return a command that runs `argv` with exactly `env`, as the user of `credentials`, under `limits`, in `cgroup`.

    If none of that is requested, the command is `argv` and `env` themselves. The program has the pid, the descriptors
    and the working directory of the command. For the service's own account, `credentials` are None or the service's
    own.

    With `terminal`, the program's stdin is a terminal, which becomes its controlling terminal, stdout and stderr.
    `argv0` is the program's name. On a system without bash(1), the program keeps its own name and gets the option `-l`,
    because such a name is only ever used to mark a login shell. bash adds a SHLVL of 0, and drops variables in `env`
    that shells use themselves.

    `limits` are set as soft and hard rlimits (setrlimit(2)); leave out those that the cgroup enforces. No limit is
    raised above the service's hard limit. Memory is rounded up to KiB, file size to 512 bytes, and processor time to
    seconds. The hard limit on processor time is one second higher: the program gets SIGXCPU, and KILL only if it
    continues.

    Errors look like the program's own: exit code 125, with the reason on stderr, if the cgroup cannot be entered or the
    terminal cannot be opened, and 126 or 127 if a program of the prefix is missing or `check` has overlooked a problem
    with `argv[0]`.
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
        # A shell reports an unknown locale on stderr, which belongs to the program.
        setting.insert(0, f"export {_values(exported)} 2>/dev/null\nunset {' '.join(exported)}")
    if terminal:
        setting.insert(0, _TERMINAL)
    packed = {name.encode(): value for name, value in names.items()}
    # env(1) interprets a name with "=" as an assignment, and "-" as an option.
    guarded = (NICE, b"-n", b"0", b"--", *argv) if not by_shell and (b"=" in argv[0] or argv[0] == b"-") else argv
    if credentials is None:
        return LaunchCommand((*_shell(enter + setting), *place, *guarded), packed)
    setting.insert(0, f"umask {UMASK}")
    switched = (*_setpriv(credentials), *_shell(setting), *guarded)
    if cgroup is not None:
        switched = (*_shell([*enter, 'exec "$@"']), *place, *switched)
    return LaunchCommand(switched, packed)


def _finds_the_same(program: bytes, env: Mapping[bytes, bytes]) -> bool:
    """Return whether env(1) is not needed, because /bin/sh finds the same program as execvp(3) and adds no variables.

    dash finds the same program, except that it has its own default PATH, and gives `%` in a PATH a special meaning.
    """
    return _is_dash(SHELL) and not program.startswith(b"-") and b"%" not in env.get(b"PATH", b"%")


@functools.cache
def _is_dash(shell: bytes) -> bool:
    return os.path.realpath(shell).endswith(b"/dash")


def _shell(lines: list[str]) -> tuple[bytes, ...]:
    return (SHELL, b"-c", "\n".join(lines).encode(), b"farhandd")


def _setpriv(credentials: Credentials) -> tuple[bytes, ...]:
    # Pass the groups by number: --init-groups would look them up again, perhaps with a different result.
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
    """Return each variable as a value under a name that no variable has, and the names that a shell can export."""
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
        # This limit comes last, because it applies to the shell as well.
        lines.append(f"ulimit -v {_bounded(limits.memory, resource.RLIMIT_AS, unit=1024)}")
    return lines


def _bounded(value: int, number: int, unit: int = 1) -> int:
    _, hard = resource.getrlimit(number)
    if hard != resource.RLIM_INFINITY and value >= hard:
        return hard // unit
    return -(-value // unit)
