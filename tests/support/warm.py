"""`farhand` and `farhandd` as processes of their own, in a tenth of the time that an interpreter takes to import them.

A process that has imported everything forks (`tests.support.zygote`). The result is a child of this process with the
given descriptors, environment, directory, session and terminal that runs the program's `__main__`; only the start of
the interpreter and the imports are skipped. Programs that a test starts through another one (tmux, sh, systemd)
start normally, as do those that have to inherit something unusual, and all of them if FARHAND_TESTS_COLD is set, as CI
does for the long tests.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import functools
import os
import pickle
import socket
import subprocess
import sys
from asyncio import base_subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.zygote import LENGTH, PID, take_away

FARHAND: Final = (sys.executable, "-m", "farhand_client")
FARHANDD: Final = (sys.executable, "-m", "farhand_server")
HELPER: Final = (sys.executable, "-m", "farhand_client.helper")

CONTROLLING: Final = 'exec <>"$0" >&0 2>&0; exec "$@"'
"""A script for sh as the first process of a session: the terminal that it opens becomes the controlling terminal."""

_COLD: Final = bool(os.environ.get("FARHAND_TESTS_COLD"))

_OPTIONS: Final = ("LD_", "PYTHON")
_LOCALE: Final = ("LANG", "LC_")
"""Variables that an interpreter reads when it starts. Without a locale it uses UTF-8, as this process does."""

_SET_CHILD_SUBREAPER: Final = 36
_GET_CHILD_SUBREAPER: Final = 37  # prctl(2)

_libc: Final = ctypes.CDLL(None, use_errno=True)


def is_warm(argv: Sequence[Any], env: Mapping[str, str] | None, **options: Any) -> bool:
    """Return whether a command can be forked: it is one of ours, its locale and Python's options are those here, and
    nothing has to be done between fork and exec."""
    if (
        _COLD
        or tuple(argv[:3]) not in (FARHAND, FARHANDD, HELPER)
        or options.keys() & {"preexec_fn", "pass_fds", "user"}
    ):
        return False
    if env is None:
        return True
    locale = _starting_with(_LOCALE, env)
    return _starting_with(_OPTIONS, env) == _starting_with(_OPTIONS, os.environ) and (
        not locale or locale == _starting_with(_LOCALE, os.environ)
    )


def _starting_with(prefixes: tuple[str, ...], env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(prefixes)}


def _coverage() -> tuple[str, str] | None:
    """Return the directory and the context for coverage data, if `tests.support.own_coverage` runs these tests."""
    directory = os.environ.get("FARHAND_OWN_COVERAGE")
    if directory is None:
        return None
    from tests.support import own_coverage

    module = os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]
    return (directory, module) if own_coverage.is_measured(module) else None


class WarmPopen(subprocess.Popen[bytes]):
    """A `Popen` of a command that `is_warm`; with `terminal`, a path, the program leads a session on that terminal.

    `limits` are resource limits (`zygote.take_away`), and `closed` are standard files that the program is without.
    """

    def __init__(
        self,
        args: Sequence[Any],
        *,
        terminal: str | None = None,
        start_new_session: bool = False,
        limits: Mapping[int, int] | None = None,
        closed: Sequence[int] = (),
        **options: Any,
    ) -> None:
        self._terminal = terminal
        self._limits = dict(limits or {})
        self._closed = list(closed)
        self._new_session = start_new_session or terminal is not None
        super().__init__(args, **options)

    def _execute_child(
        self,
        args: Sequence[str | bytes],
        executable: object,
        preexec_fn: object,
        close_fds: object,
        pass_fds: object,
        cwd: str | None,
        env: Mapping[str, str] | None,
        startupinfo: object,
        creationflags: object,
        shell: object,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        *rest: object,
        **more: object,
    ) -> None:
        # Called by Popen.__init__ once it has opened the pipes; must set `pid` and close the child's ends of them.
        assert not executable
        assert not preexec_fn
        assert not pass_fds
        given = (os.environ if env is None else env).items()
        standard = [number if fd == -1 else fd for number, fd in enumerate((p2cread, c2pwrite, errwrite))]
        program = {
            "module": args[2],
            "arguments": [os.fsencode(each) for each in args[3:]],
            "env": {os.fsencode(name): os.fsencode(value) for name, value in given},
            "cwd": os.fspath(cwd or Path.cwd()),
            "umask": _umask(),
            "new_session": self._new_session,
            "terminal": self._terminal,
            "limits": self._limits,
            "closed": self._closed,
            "coverage": None if self._limits else _coverage(),  # it could perhaps not be written
        }
        self.pid = _zygote().fork(program, standard)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


class _Transport(base_subprocess.BaseSubprocessTransport):
    """The asyncio transport of a `WarmPopen`; a pidfd reports its exit."""

    def _start(
        self, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **options: Any
    ) -> None:
        # Called by BaseSubprocessTransport.__init__.
        process = WarmPopen(args, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=bufsize, **options)
        pidfd = os.pidfd_open(process.pid)

        def ended() -> None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
            code = process.returncode
            if code is None:  # otherwise `poll` has already reaped it
                code = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])
            self._process_exited(code)

        self._proc = process
        self._loop.add_reader(pidfd, ended)


async def start(*argv: Any, env: Mapping[str, str] | None = None, **options: Any) -> asyncio.subprocess.Process:
    """Like `asyncio.create_subprocess_exec`; with `terminal`, a path, as leader of a session on that terminal, and with
    `limits` and `closed` as in `WarmPopen`."""
    argv, env = _through_front(argv, env)
    if not is_warm(argv, env, **options):
        limits, closed = options.pop("limits", None) or {}, options.pop("closed", ())
        if limits or closed:
            options["preexec_fn"] = functools.partial(take_away, limits, closed)
        terminal: str | None = options.pop("terminal", None)
        if terminal is not None:
            argv, options["start_new_session"] = ("sh", "-c", CONTROLLING, terminal, *argv), True
        return await asyncio.create_subprocess_exec(*argv, env=env, **options)
    loop = asyncio.get_running_loop()
    protocol = asyncio.subprocess.SubprocessStreamProtocol(limit=1 << 16, loop=loop)
    ready = loop.create_future()
    pipes = {name: options.pop(name, None) for name in ("stdin", "stdout", "stderr")}
    transport = _Transport(loop, protocol, argv, shell=False, bufsize=0, waiter=ready, env=env, **pipes, **options)
    await ready
    return asyncio.subprocess.Process(transport, protocol, loop)


def run(
    argv: Sequence[Any], *, env: Mapping[str, str] | None = None, timeout: float = 60, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Like `subprocess.run` with bytes."""
    argv, env = _through_front(argv, env)
    if not is_warm(argv, env, **options):
        return subprocess.run(argv, env=env, timeout=timeout, check=False, **options)
    with WarmPopen(argv, env=env, **options) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def _through_front(
    argv: Sequence[Any], env: Mapping[str, str] | None
) -> tuple[tuple[Any, ...], Mapping[str, str] | None]:
    from tests.support import front_mode

    if front_mode.KIND is None or tuple(argv[:3]) != FARHAND:
        return tuple(argv), env
    argv, env = front_mode.through_front(argv, env)
    return tuple(argv), env


class Zygote:
    """The process that is forked."""

    def __init__(self) -> None:
        self._asking, theirs = socket.socketpair()
        script = Path(__file__).with_name("zygote.py")
        with theirs:
            # -P: files beside the script must not be imported as modules.
            self._process = subprocess.Popen(
                [sys.executable, "-P", script, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, program: dict[str, Any], standard: list[int]) -> int:
        """Start a program with these standard files as a child of this process; return its pid."""
        data = pickle.dumps(program)
        waiting, gate = os.pipe()
        try:
            with _as_subreaper():
                socket.send_fds(self._asking, [LENGTH.pack(len(data))], [*standard, waiting])
                self._asking.sendall(data)
                answer = self._asking.recv(PID.size)
        finally:
            os.close(waiting)
            os.close(gate)
        (pid,) = PID.unpack(answer)
        assert isinstance(pid, int)
        return pid

    def close(self) -> None:
        """End the process."""
        self._asking.close()
        self._process.wait()


@functools.cache
def _zygote() -> Zygote:
    zygote = Zygote()
    atexit.register(zygote.close)
    return zygote


@contextlib.contextmanager
def _as_subreaper() -> Iterator[None]:
    # Only until the orphan has been adopted: other orphans must not be.
    before = ctypes.c_int()
    _libc.prctl(_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _libc.prctl(_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
