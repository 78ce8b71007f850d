"""The life of the helper process: alone, without a terminal, gone when it is not needed.

It is started with the directory of the `farhand` program as its argument, and with an `OFFER` on stdin. Whoever holds
the lock file is the helper; its sockets are bound under temporary names and renamed, so that a name is never there
without a listener. It stops when they are removed or replaced, since then nobody finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import farhand_client
import farhand_protocol
from farhand_client.config import DEFAULT_MUX_IDLE, config_directory, load
from farhand_client.errors import FarhandError
from farhand_client.mux import ask
from farhand_client.mux.place import HelperPlace, helper_place, is_private
from farhand_client.mux.request import MAX_REQUEST, OFFER, STATUS, ConnectionRequest, frame
from farhand_client.mux.start import MODULE
from farhand_protocol.limits import FRAME_HEADER_SIZE

from .proof import UnchangedFiles
from .switchboard import HelperSwitchboard
from .watch import DirectoryWatch
from .zygote import run_zygote

BACKLOG: Final = 128
"""Connections that wait to be accepted; more are refused, and their commands connect by themselves."""

BEGUN_AT_ONCE: Final = 4096
"""Bytes that the zygote has sent which are read at once; it sends one for each command. What is left is read next."""

KILL_TIMEOUT: Final = 10.0
"""Seconds for a killed helper to end: it may be writing to a disk that hangs."""

_SET_DUMPABLE: Final = 4  # prctl(2), PR_SET_DUMPABLE


def run_helper(arguments: Sequence[str]) -> int:
    """Be the helper, unless there is one. Return the exit code."""
    place = helper_place(os.fsencode(arguments[0])) if len(arguments) == 1 else None
    if place is None:
        return 2
    _detach()
    offer = _read_offer()
    os.umask(0o077)
    with contextlib.suppress(FileExistsError):
        os.mkdir(place.directory, 0o700)
    if not is_private(place.directory):
        return 2
    lock = _lock(place)
    if lock is None and end_silent_helper(place):
        lock = _lock(place)
    if lock is None:
        return 0
    connections = _listener(place.connections)
    zygote = _fork_zygote(place, lock, connections)
    _forbid_dumps()
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Helper(place, lock, connections, zygote).live(offer))
    finally:
        zygote.close()
        os.close(lock)
    return 0


class _Helper:
    """The helper while its loop runs."""

    def __init__(self, place: HelperPlace, lock: int, connections: socket.socket, zygote: socket.socket) -> None:
        self._place = place
        self._lock: int = lock
        self._listeners = {place.connections: connections}
        self._found = {path: _inode(path) for path in (place.connections, place.fronts)}
        self._zygote = zygote
        self._stopped = asyncio.Event()
        self._leaving = False
        self._servers: list[asyncio.Server] = []

    async def live(self, offer: ConnectionRequest | None) -> None:
        """Serve until it is time to go."""
        loop = asyncio.get_running_loop()
        self._switchboard = HelperSwitchboard(_idle_time(), UnchangedFiles(_program_files()), self._leave)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, self._leave, True)
        self._zygote.setblocking(False)
        loop.add_reader(self._zygote, self._receive_from_zygote)
        watch = DirectoryWatch(self._place.directory, self._directory_changed)
        try:
            (connections,) = self._listeners.values()
            server = await loop.create_unix_server(self._switchboard.make_caller, sock=connections, backlog=BACKLOG)
            self._servers.append(server)
            if offer is not None:
                self._switchboard.pool.offer(offer)
            self._directory_changed()
            await self._stopped.wait()
        finally:
            watch.close()
            loop.remove_reader(self._zygote)
            self._unlink()
            self._switchboard.stop()

    def _leave(self, now: bool) -> None:
        """Stop: at once, or when the callers have left. In any case nobody finds this helper from now on."""
        if not self._leaving:
            self._leaving = True
            self._unlink()
            for server in self._servers:
                server.close()
            # Another helper may serve from now on.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._switchboard.pool.retire_all()
            self._switchboard.on_empty = self._stopped.set
        if now or not self._switchboard.callers:
            self._stopped.set()

    def _receive_from_zygote(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if self._zygote.recv(BEGUN_AT_ONCE):
                self._switchboard.command_begun()
            else:
                asyncio.get_running_loop().remove_reader(self._zygote)
                self._leave(False)

    def _unlink(self) -> None:
        for path, inode in self._found.items():
            if inode is not None and _inode(path) == inode:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _directory_changed(self) -> None:
        if not self._leaving and any(_inode(path) != inode for path, inode in self._found.items()):
            self._leave(True)


def _detach() -> None:
    """Leave the session, terminal, directory, descriptors and signal dispositions of whoever has started this."""
    with contextlib.suppress(PermissionError):  # it leads a session
        os.setsid()
    os.closerange(3, 1 << 20)
    os.chdir("/")
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _read_offer() -> ConnectionRequest | None:
    """Return the offer on stdin, which was complete before this process was started."""
    data = b""
    if not os.isatty(0):
        while len(data) <= MAX_REQUEST + FRAME_HEADER_SIZE and (more := os.read(0, MAX_REQUEST)):
            data += more
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    payload = data[FRAME_HEADER_SIZE:]
    if not data or data != frame(OFFER, payload):
        return None
    with contextlib.suppress(ValueError, TypeError):
        return ConnectionRequest.decode(payload)
    return None


def _lock(place: HelperPlace) -> int | None:
    """Return the lock file, locked; None if another process has locked it."""
    while True:
        descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_ino == (_inode(place.lock) or (0, 0))[1]:
            with contextlib.suppress(OSError):  # a full disk: then nobody replaces this process while its queue is full
                os.ftruncate(descriptor, 0)
                os.write(descriptor, b"%d" % os.getpid())
            return descriptor
        os.close(descriptor)  # it was removed in between: lock the one that is there now


def _listener(path: bytes) -> socket.socket:
    """Return a socket that listens at `path`, in place of whatever is left there."""
    temporary = path + b".new"
    listening = _bound(temporary)
    listening.listen(BACKLOG)
    os.rename(temporary, path)
    return listening


def _bound(path: bytes) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(path)  # mode 0600 by the umask
    return bound


def _fork_zygote(place: HelperPlace, lock: int, connections: socket.socket) -> socket.socket:
    """Fork the process whose children serve fronts; return a socket that lives as long as it, and the other way round.

    Nobody can connect at `place.fronts` before it is ready, and until then commands are executed as without a helper.
    """
    fronts = _bound(place.fronts)
    ours, theirs = socket.socketpair()
    if not os.fork():
        ours.close()
        connections.close()
        os.close(lock)
        os.umask(0o022)
        run_zygote(fronts, theirs, place.program)
    theirs.close()
    fronts.close()
    return ours


def end_silent_helper(place: HelperPlace) -> bool:
    """Kill the helper of `place` if it does not answer. Return whether it has ended.

    A command does not wait for a silent helper; it starts another one, which comes here, where nobody waits.
    """
    connection = ask.reach(place)
    try:
        if connection is not None:
            with contextlib.closing(connection):
                descriptor = os.pidfd_open(ask.peer(connection)[0])
        elif _is_full(place):
            descriptor = os.pidfd_open(int(Path(os.fsdecode(place.lock)).read_bytes()))
        else:
            return False  # it is only starting
    except (OSError, ValueError):
        return False
    try:
        # Only now asked, so that the process of this number, if it is another one by now, is not killed.
        if ask.ask_for(place, STATUS) is not None or not _is_helper(descriptor, place):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return bool(select.select([descriptor], [], [], KILL_TIMEOUT)[0])
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_full(place: HelperPlace) -> bool:
    """Return whether the queue of connections is full, and stays so. Those who pass a silent helper by stay in it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        timeout = struct.pack("ll", int(ask.REPORT_TIMEOUT), 0)  # struct timeval
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        try:
            connection.connect(place.connections)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


def _is_helper(descriptor: int, place: HelperPlace) -> bool:
    pid = Path(f"/proc/self/fdinfo/{descriptor}").read_text().partition("Pid:")[2].split()[0]
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return MODULE.encode() in words and place.program in words


def _forbid_dumps() -> None:
    """Keep other processes of the user from reading this one's memory, as ssh-agent does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def _inode(path: bytes) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _idle_time() -> float:
    try:
        path = config_directory() / "config.toml"
        return load(path).mux_idle if path.exists() else DEFAULT_MUX_IDLE
    except (FarhandError, OSError):
        return DEFAULT_MUX_IDLE  # every command says what is wrong with the file


def _program_files() -> list[str]:
    """Return files that an upgrade replaces, and the configuration."""
    packages = [Path(package.__path__[0]) for package in (farhand_client, farhand_protocol)]
    files = [str(package / "__init__.py") for package in packages] + [str(packages[0] / "version.py")]
    with contextlib.suppress(FarhandError):
        files.append(str(config_directory() / "config.toml"))
    return files
