"""A helper's zygote for tests of the fronts: its children do what their first argument names, instead of a command.

Run as a program: the argument is the path of the socket. It writes `ready` once a child waits, and ends with its stdin.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from farhand_client import caller, cli
from farhand_client.helper import child
from farhand_client.helper.zygote import run_zygote
from farhand_client.ui.process import prepare_process


def act() -> int:
    """Do what `farhand ps ACT` says; stands for `cli.main`."""
    prepare_process()
    name, *rest = sys.argv[2:]
    try:
        code = _ACTS[name](*rest)
    except Exception:  # noqa: BLE001  # as `cli.main`: whatever it is, it is shown
        traceback.print_exc()
        return 1
    sys.stdout.flush()
    return code


def _say(text: str) -> None:
    print(text, flush=True)


def _state(*_: str) -> int:
    state: dict[str, Any] = {
        "argv": sys.argv[1:],
        "directory": str(Path.cwd()),
        "environment": dict(os.environ),
        "umask": os.umask(0),
        "ignored": [number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_IGN],
        "open": [number for number in range(3) if not Path(f"/proc/self/fd/{number}").samefile("/dev/null")],
        "more": len(list(Path("/proc/self/fd").iterdir())),
        "parent": caller.parent_pid(),
        "pid": os.getpid(),
        "name": Path("/proc/self/comm").read_text().strip(),
    }
    _say(json.dumps(state))
    return 0


def _exit(code: str) -> int:
    return int(code)


def _copy() -> int:
    while data := os.read(0, 65536):
        os.write(1, data)
    return 0


def _pid() -> int:
    _say(str(os.getpid()))
    signal.pause()
    return 0


def _signals() -> int:
    """Say each signal that arrives; SIGUSR2 ends this with its number."""
    got: list[int] = []
    waited = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGWINCH}
    numbers = {*waited, signal.SIGUSR2, signal.SIGRTMIN}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    _say(str(os.getpid()))
    while signal.SIGUSR2 not in got:
        got.append(signal.sigwait(numbers))
        _say(signal.Signals(got[-1]).name)
    return 128 + signal.SIGUSR2


def _ask() -> int:
    caller.before_asking()
    return 1


def _commit() -> int:
    caller.commit()
    caller.before_asking()
    return 5


def _ticks() -> int:
    """Say the time again and again, to show when this process is stopped."""
    _say(str(os.getpid()))
    while True:
        time.sleep(0.01)
        os.write(1, b".")


def _suspend(how: str) -> int:
    """Stop the job, at once or on SIGTSTP, and say whether it was stopped."""
    told = caller.job_of_front()
    assert told is not None
    if how == "asked":
        told.own_stops(True)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
        _say(str(os.getpid()))
        signal.sigwait([signal.SIGTSTP])
        _say("asked")
    _say(str(told.stop(signal.SIGTSTP)))
    return 0


def _interrupted() -> int:
    _say(str(os.getpid()))
    signal.pause()
    return 0


def _leave(what: str) -> int:
    """Leave something behind that another command would find."""
    _say(str(os.getpid()))
    if what == "loop":
        caller.leave_state()
    elif what == "file":
        os.open(os.devnull, os.O_RDONLY)
    elif what == "thread":
        threading.Thread(target=time.sleep, args=[60], daemon=True).start()
    elif what == "handler":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


_ACTS: Final[dict[str, Callable[..., int]]] = {
    "state": _state, "exit": _exit, "copy": _copy, "pid": _pid, "signals": _signals, "ask": _ask, "commit": _commit,
    "ticks": _ticks, "leave": _leave, "suspend": _suspend, "interrupted": _interrupted,
}  # fmt: skip


def main() -> None:
    """Run the zygote until stdin ends."""
    path = sys.argv[1]
    cli.main = act  # type: ignore[assignment]  # it takes no arguments
    child.RECEIVE_TIMEOUT = 20  # type: ignore[misc]  # a front on a busy machine is slow
    Path(path).parent.mkdir(mode=0o700, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    Path(path).chmod(0o600)
    ours, theirs = socket.socketpair()
    if not os.fork():
        ours.close()
        run_zygote(listener, theirs, b"/usr/bin")
    theirs.close()
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if not probe.connect_ex(path):
                break
        time.sleep(0.01)  # a socket says nobody that it listens
    _say("ready")
    os.read(0, 1)


if __name__ == "__main__":
    main()
