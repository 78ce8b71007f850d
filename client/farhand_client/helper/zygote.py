"""The process that has loaded everything, and forks the children that serve commands.

A fork takes a hundredth of the time in which an interpreter imports the client, and shares its memory. Children are
forked before they are needed: at least `WAITING` of them wait, blocked in accept(2), for a front to connect.

It has one thread, no event loop and no connection to a service, so that a fork inherits nothing else.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import select
import signal
import socket
import sys
from typing import Final, NoReturn

from pydantic import BaseModel

import farhand_client
import farhand_files
import farhand_protocol

from .child import CHILD_PID, run_child

WAITING: Final = 2
"""Children that wait: one is taken while the next front already comes, as in a pipe of two commands."""

MAX_CHILDREN: Final = 64
"""Children at a time. Each has 10 MB of its own; beyond these, as with `xargs -P100`, fronts execute the full program,
which the machine's memory bounds, too."""

MAX_LOST_CHILDREN: Final = 5
"""Children that may end, one after the other, without a command: by then something is wrong that forking again does not
mend, such as a lack of memory."""

_NOT_SERVED: Final = ("farhand_client.helper", "farhand_client.__main__", "farhand_client.sync")
"""Modules that no child needs, by the beginnings of their names."""

_LATER: Final = (
    "concurrent.futures.thread",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization.ssh",
    "encodings.idna",
    "pwd",
    "resource",
    "ssl",
    "uvloop",
)
"""What the client imports only when it needs it; a child would each time."""


def run_zygote(listener: socket.socket, control: socket.socket, program: bytes) -> NoReturn:
    """Keep children waiting on `listener`, in a process that was forked for this, until `control` is closed. For each
    command that begins, a byte is sent there.

    `listener` is a Unix socket in blocking mode, bound but not listening: nobody connects before children can be
    forked. The children are the `farhand` in the directory `program`.
    """
    try:
        _reset_process()
        load_everything()
        sys.argv = [os.path.join(os.fsdecode(program), "farhand")]
        Zygote(listener, control).run()
    except BaseException:  # noqa: BLE001  # whatever it is, the process that was forked must not go on
        os._exit(1)
    os._exit(0)


def _reset_process() -> None:
    """Have the signals of a new interpreter: children inherit them."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def load_everything() -> None:
    """Import what any served command needs, and leave it out of garbage collection."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # as the program does
    for package in (farhand_client, farhand_files, farhand_protocol):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(_NOT_SERVED):
                importlib.import_module(module.name)
    for name in _LATER:
        importlib.import_module(name)
    _build_models(BaseModel)
    gc.collect()
    gc.freeze()


def _build_models(model: type[BaseModel]) -> None:
    """Build our models, which otherwise are built when they are first used: in each child, and a third of its work."""
    for each in model.__subclasses__():
        _build_models(each)
        if each.__module__.startswith("farhand_") and not each.__pydantic_complete__:
            each.model_rebuild()


class Zygote:
    """Forks children as they are taken, and reaps them."""

    def __init__(self, listener: socket.socket, control: socket.socket) -> None:
        self._listener = listener
        self._control = control
        self._reports, self._reporting = os.pipe()
        self._waiting: set[int] = set()
        self._children: dict[int, int] = {}
        """Pids by pidfd."""
        self._failures = 0
        self._poll = select.poll()

    def run(self) -> None:
        """Return once the control socket is closed. Children that wait end with this process (`end_with_parent`)."""
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._reports, select.POLLIN)
        self._listener.listen(MAX_CHILDREN)  # before any child waits: accept(2) fails on a socket that does not listen
        refusing = False
        while self._failures < MAX_LOST_CHILDREN:
            while len(self._waiting) < WAITING and len(self._children) < MAX_CHILDREN:
                self._fork()
            if refusing is not (full := not self._waiting):
                refusing = full
                if full:
                    self._poll.register(self._listener, select.POLLIN)
                else:
                    self._poll.unregister(self._listener)
            for fd, _ in self._poll.poll():
                if fd == self._control.fileno():
                    return
                self._handle(fd)

    def _handle(self, fd: int) -> None:
        if fd == self._reports:
            data = os.read(self._reports, CHILD_PID.size * MAX_CHILDREN)
            for (pid,) in CHILD_PID.iter_unpack(data):
                if pid < 0:
                    self._waiting.add(-pid)
                else:
                    self._waiting.discard(pid)
                    with contextlib.suppress(
                        OSError
                    ):  # the helper hangs: it it does not stay longer for what it does not receive
                        self._control.send(b".", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                self._failures = 0
        elif fd == self._listener.fileno():
            connection, _ = self._listener.accept()
            connection.close()  # the front sees at once that no child is free
        else:
            pid = self._children.pop(fd)
            self._poll.unregister(fd)
            os.close(fd)
            _, status = os.waitpid(pid, 0)
            if pid in self._waiting:
                self._waiting.discard(pid)
                # A front kills a child that does not go on in time, as on a busy machine; and some have waited enough.
                self._failures += os.waitstatus_to_exitcode(status) not in (-signal.SIGKILL, -signal.SIGALRM)

    def _fork(self) -> None:
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            try:
                self._control.close()
                for fd in (self._reports, *self._children):
                    os.close(fd)
                run_child(self._listener, self._reporting, parent)
            finally:
                os._exit(1)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        self._waiting.add(pid)
        self._poll.register(pidfd, select.POLLIN)
