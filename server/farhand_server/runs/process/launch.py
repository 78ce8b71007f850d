"""The command line that starts a program as another user, under limits, in a cgroup.

It is a prefix of standard programs, because with `preexec_fn` or `user=`, `subprocess` would fork the whole service
instead of using vfork:

    [sh: enters the cgroup] [setpriv: becomes the user] sh: terminal, limits, environment
        [env: what a shell adds] [bash: another name] the program

Everything before setpriv(1) has changed the user runs as root, so nothing in a request may influence it. The program's
environment (for instance LD_PRELOAD) is therefore passed as the *values* of variables with our own names, which no
program looks at, and is set by a shell that already runs as the user. No value is ever on a command line, which anybody
may read in /proc: env(1) would need it there. So if a name is one that the shell cannot pass on, because it is no name
in its language or one that it keeps for itself, a Python sets the whole environment instead (`_EXECUTE`). That takes
about 10 ms; for dash, the shell of Debian, no usual name needs it.
"""

from __future__ import annotations

import functools
import math
import os
import re
import resource
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from farhand_server.credentials import Credentials

from .packed import EXECUTE_PACKED
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

_NOT_FOR_DASH: Final = re.compile(rb"(?![A-Za-z_][A-Za-z0-9_]*\Z)|OPTIND\Z", re.DOTALL)
"""Names that dash drops because they are invalid in its syntax, and one whose values it interprets."""

_NOT_FOR_SHELLS: Final = re.compile(
    rb"(?![A-Za-z_][A-Za-z0-9_]*\Z)|(?:_|BASH.*|COMP.*|DIRSTACK|EPOCH.*|E?UID|FUNC.*|GROUPS|HIST.*|IFS|LINENO"
    rb"|(?:OLD)?PWD|OPT...|OPTIND|PIPESTATUS|POSIXLY_CORRECT|PPID|PS[0-9]|S?RANDOM|SECONDS|SHELLOPTS|SHLVL)\Z",
    re.DOTALL,
)
"""Names that bash or another shell drops, changes or interprets."""

_SHELLS_OWN: Final = (b"PWD", b"OLDPWD", b"SHLVL", b"_")
"""Variables that dash or bash passes on even if it was not given them."""

PYTHON: Final = b"/usr/bin/python3"
"""Used if the user may not execute the service's own Python."""

_ISOLATED: Final = (b"-I", b"-S", b"-B", b"-c")
"""Options of a Python that executes a text and nothing that the user has put anywhere."""

_EXECUTE: Final = b"""\
import _signal, os, sys
prefix, count, memory, program, *argv = map(os.fsencode, sys.argv[1:])
environment = dict(os.environb[prefix + b"%d" % i].split(b"=", 1) for i in range(int(count)))
for number in _signal.SIGPIPE, _signal.SIGXFSZ:
    _signal.signal(number, _signal.SIG_DFL)
if memory:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
try:
    os.execvpe(program, argv, environment)
except OSError as error:
    os.write(2, b"farhandd: %s: %s\\n" % (program, os.fsencode(error.strerror)))
    os._exit(127 if isinstance(error, FileNotFoundError) else 126)
"""
"""Executes a program with the environment in the variables `prefix`0, `prefix`1, …

Python ignores two signals, which the program would inherit. The limit on memory is set last, because Python needs more
of it than a small program may have.
"""


class NoLauncher(Exception):
    """Nothing that the user may execute can set a variable with this name without showing its value. The text says what
    to do."""


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
    directory: int | None = None,
    by_shell: bool = False,
    arguments: int | None = None,
) -> LaunchCommand:
    """Return a command that runs `argv` with exactly `env`, as the user of `credentials`, under `limits`, in `cgroup`.

    If none of that is requested, the command is `argv` and `env` themselves. The program has the pid, the descriptors
    and the working directory of the command. For the service's own account, `credentials` are None or the service's
    own.

    With `terminal`, the program's stdin is a terminal, which becomes its controlling terminal, stdout and stderr.
    `argv0` is the program's name. On a system without bash(1), the program keeps its own name and gets the option `-l`,
    because such a name is only ever used to mark a login shell. bash adds a SHLVL of 0.

    `directory` is a descriptor with one digit, which the program inherits, of the directory in which it starts; without
    one, it starts in the command's. The program's own process enters it, with the user's rights. With `by_shell`, there
    is a shell in front of the program even if nothing else is requested, so that executing the command itself cannot
    wait for anything. `arguments` is the descriptor of a file, which the program inherits, with `argv`, `argv0` and
    `env` in it (`packed`).

    `limits` are set as soft and hard rlimits (setrlimit(2)); leave out those that the cgroup enforces. No limit is
    raised above the service's hard limit. Memory is rounded up to KiB, file size to 512 bytes, and processor time to
    seconds. The hard limit on processor time is one second higher: the program gets SIGXCPU, and KILL only if it
    continues.

    Errors look like the program's own: exit code 125, with the reason on stderr, if the cgroup cannot be entered or the
    terminal cannot be opened, and 126 or 127 if a program of the prefix is missing or the look at `argv[0]` (`place`)
    has overlooked a problem. Raises `NoLauncher`.
    """
    if credentials is not None and credentials.uid == os.geteuid():
        credentials = None
    if argv0 is not None and arguments is None and not os.access(BASH, os.X_OK):
        argv, argv0 = (argv[0], b"-l", *argv[1:]), None
    direct = arguments is None and not (terminal or by_shell) and argv0 is None
    if credentials is None and not limits and cgroup is None and direct:
        return LaunchCommand(tuple(argv), env)
    prefix, packed = _pack({} if arguments is not None else env)
    if arguments is not None:
        python = python_for(credentials) or PYTHON
        argv = (python, *_ISOLATED, EXECUTE_PACKED, b"%d" % arguments, _memory(limits))
        setting = [*_limit_lines(replace(limits, memory=None)), 'exec "$@"']
    elif odd := _not_for_shell(env, bash=argv0 is not None or not _is_dash(SHELL)):
        python = python_for(credentials) or _no_python(odd)
        name = argv[0] if argv0 is None else argv0
        setting = [*_limit_lines(replace(limits, memory=None)), 'exec "$@"']
        options = (*_ISOLATED, _EXECUTE, prefix, b"%d" % len(env), _memory(limits))
        argv = (python, *options, argv[0], name, *argv[1:])
    else:
        setting, argv = _by_shell(argv, prefix, env, limits, argv0)
    if directory is not None:
        setting.insert(0, f"cd -P /proc/self/fd/{directory} && exec {directory}<&- || exit 125")
    if terminal:
        setting.insert(0, _TERMINAL)
    enter = [] if cgroup is None else ['echo 0 >"$1" || exit 125', "shift"]
    place = () if cgroup is None else (os.fsencode(cgroup / "cgroup.procs"),)
    if credentials is None:
        return LaunchCommand((*_shell(enter + setting), *place, *argv), packed)
    setting.insert(0, f"umask {UMASK}")
    switched = (*_setpriv(credentials), *_shell(setting), *argv)
    if cgroup is not None:
        switched = (*_shell([*enter, 'exec "$@"']), *place, *switched)
    return LaunchCommand(switched, packed)


def _by_shell(
    argv: Sequence[bytes], prefix: bytes, env: Mapping[bytes, bytes], limits: ResourceLimits, argv0: bytes | None
) -> tuple[list[str], Sequence[bytes]]:
    """Return the lines with which a shell sets limits and environment and executes its arguments, and these
    arguments."""
    setting = [*_limit_lines(limits)]
    if env:
        names = [f"{prefix.decode()}{number}" for number in range(len(env))]
        values = " ".join(f'"${name}"' for name in names)
        # A shell reports an unknown locale on stderr, which belongs to the program.
        setting.insert(0, f"unset PWD OLDPWD\nexport {values} 2>/dev/null\nunset {' '.join(names)}")
    else:
        setting.insert(0, "unset PWD OLDPWD")
    if argv0 is not None:
        argv = (BASH, *_NAMED, argv0, *argv)
    if _finds_the_same(argv[0], env):
        last = 'exec "$@"'
    else:
        # env(1) interprets a name with "=" as an assignment, and "-" as an option.
        argv = (NICE, b"-n", b"0", b"--", *argv) if b"=" in argv[0] or argv[0] == b"-" else argv
        unset = " ".join(f"-u {name.decode()}" for name in _SHELLS_OWN if name not in env)
        last = f'exec {ENV.decode()} {unset} -- "$@"'
    return [*setting, last if argv0 is None else last + _ASIDE], argv


def _not_for_shell(env: Mapping[bytes, bytes], *, bash: bool) -> bytes | None:
    """Return a name that the shells of the prefix cannot set, None if there is none."""
    pattern = _NOT_FOR_SHELLS if bash else _NOT_FOR_DASH
    return next(filter(pattern.match, env), None)


def python_for(credentials: Credentials | None) -> bytes | None:
    """Return a Python that the user may execute, if there is one. None as `credentials` is the service's account."""
    own = os.path.realpath(os.fsencode(sys.executable))
    if credentials is None:
        return own
    return next((python for python in (own, PYTHON) if _for_everybody(python)), None)


def _no_python(name: bytes) -> NoReturn:
    raise NoLauncher(
        f"the environment variable {os.fsdecode(name)[:255]!r} can only be set by a Python that the user may execute; "
        f"install {PYTHON.decode()}, or leave the variable out"
    )


def _for_everybody(program: bytes) -> bool:
    """Return whether every account may execute a program and enter the directories above it."""
    path = Path(os.fsdecode(program))
    try:
        return path.is_file() and all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.parents))
    except OSError:
        return False


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


def _pack(env: Mapping[bytes, bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """Return each variable as a value under a name that no variable has, and the beginning of these names."""
    prefix = b"E"
    while any(name.startswith(prefix) and name[len(prefix) :].isdigit() for name in env):
        prefix += b"_"
    return prefix, {b"%s%d" % (prefix, number): name + b"=" + value for number, (name, value) in enumerate(env.items())}


def _memory(limits: ResourceLimits) -> bytes:
    """Return the limit on memory for a Python that sets it, in bytes, or nothing."""
    return b"" if limits.memory is None else b"%d" % (_bounded(limits.memory, resource.RLIMIT_AS, unit=1024) << 10)


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
