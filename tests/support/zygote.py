"""The process that `tests.support.warm` forks: an interpreter that has imported Farhand and waits to become it.

Run as a script; its only argument is the descriptor of a stream socket. Each request is a length, a pickled dict and
three descriptors, and is answered by the pid of a process that is a child not of this one but of the requester: the
process in between has ended, and the orphan was adopted by its nearest subreaper (prctl(2)). It waits until the gate, a
fourth descriptor, is closed by the requester; then it becomes `python -m MODULE ARGUMENT…` as if just started.

It imports no module of the tests, and has one thread and no open file of its own, so that a fork inherits nothing else.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import pkgutil
import resource
import runpy
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

LENGTH: Final = struct.Struct("!I")
PID: Final = struct.Struct("!i")

PACKAGES: Final = ("farhand_protocol", "farhand_files", "farhand_forwards", "farhand_client", "farhand_server")


def preload() -> None:
    """Import every module of Farhand, and with them everything that they import."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # as both programs do
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def receive(asking: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next request and its descriptors; None once the requester has closed the socket."""
    head, fds, _, _ = socket.recv_fds(asking, LENGTH.size, 4)
    if not head:
        return None
    (length,) = LENGTH.unpack(head)
    data = bytearray()
    while len(data) < length:
        data += asking.recv(length - len(data))
    request: dict[str, Any] = pickle.loads(data)
    return request, fds


def serve(asking: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for each request; return only in the new process, with the program that it has to become."""
    while True:
        received = receive(asking)
        if received is None:
            sys.exit()
        request, fds = received
        reading, writing = os.pipe()
        between = os.fork()
        if not between:
            pid = os.fork()
            if pid:
                os.write(writing, PID.pack(pid))
                os._exit(0)
            os.close(reading)
            os.close(writing)
            asking.close()
            return request, fds
        os.close(writing)
        os.waitpid(between, 0)
        asking.sendall(os.read(reading, PID.size))
        for fd in (reading, *fds):
            os.close(fd)


def become(request: dict[str, Any], fds: list[int]) -> None:
    """Take over what a newly started process would inherit from its parent."""
    *standard, gate = fds
    os.read(gate, 1)
    os.close(gate)
    if request["new_session"]:
        os.setsid()
    if request["terminal"] is not None:
        # Opened by the first process of a session without one, it becomes the session's (tty_ioctl(4)).
        terminal = os.open(request["terminal"], os.O_RDWR)
        for number in range(3):
            os.dup2(terminal, number)
    else:
        for number, fd in enumerate(standard):
            os.dup2(fd, number)
    os.closerange(3, 256)
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    os.environb.clear()
    os.environb.update(request["env"])
    if not any(os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")):
        os.environ["LC_CTYPE"] = "C.UTF-8"  # as Python does at its start (PEP 538)
    take_away(request["limits"], request["closed"])
    sys.argv = [request["module"], *map(os.fsdecode, request["arguments"])]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    _open_streams(request["closed"])


def take_away(limits: dict[int, int], closed: Sequence[int]) -> None:
    """Set resource limits, and close standard files; RLIMIT_AS is in bytes beyond what the process has now."""
    for which, value in limits.items():
        if which == resource.RLIMIT_AS:
            value += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(which, (value, value))
    for number in closed:
        os.close(number)


def _open_streams(closed: Sequence[int]) -> None:
    # As Python does at its start: buffered, by lines where it is a terminal; how errors are handled is in the streams.
    # There is none for a closed file.
    for number, mode in enumerate("rww"):
        if number in closed:
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)
            continue
        before = (sys.stdin, sys.stdout, sys.stderr)[number]
        buffering = 1 if number == 2 or os.isatty(number) else -1
        stream = open(number, mode, buffering, encoding="utf-8", errors=before.errors, closefd=False)  # noqa: SIM115
        name = ("stdin", "stdout", "stderr")[number]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def main() -> None:
    """Serve; in each child, run the requested program to its end."""
    asking = socket.socket(fileno=int(sys.argv[1]))
    preload()
    request, fds = serve(asking)
    become(request, fds)
    save_coverage = measure(*request["coverage"]) if request["coverage"] is not None else None
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if save_coverage is not None:
            save_coverage()
        if isinstance(error.code, int):
            exit_without_cleanup(error.code)
        raise


def measure(directory: str, test_module: str) -> Callable[[], None]:
    """Record which lines run from now on, with `test_module` as context, for `tests.support.own_coverage`.

    Return a function that saves the data.
    """
    import coverage

    measured = coverage.Coverage(
        data_file=f"{directory}/data", data_suffix=True, config_file=False, source_pkgs=PACKAGES, context=test_module
    )
    measured.set_option("run:disable_warnings", ["module-not-measured", "no-data-collected"])
    measured.start()

    def save() -> None:
        measured.stop()
        measured.save()

    return save


def exit_without_cleanup(code: int) -> None:
    """Exit as an interpreter does, but without clearing the imported modules: that would copy all of the memory that is
    shared with the process that was forked. Neither program registers anything with atexit.

    Return if threads still have to be ended: the interpreter does that.
    """
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except (OSError, ValueError):
                code = 120  # the message of Py_FinalizeEx
    os._exit(code)


if __name__ == "__main__":
    main()
