"""Connects and listens as far as the rules of a tunnel allow: what the forward worker does for the client.

What was judged is what is connected to. A name is resolved once, and each of its addresses is judged (`Dialer`). The
path of a Unix socket is opened first, with all its symbolic links, and then its true path is judged; the connection
goes to the file that was opened, whatever has been put in its place. A listener is made in a directory that was opened
and judged in the same way.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from farhand_forwards.accepting import Accepted, LocalListener
from farhand_forwards.dialing import Dialer
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardRefused, ForwardTarget, InetTarget, UnixTarget

from .records import FlowRecord
from .rules import ForwardJudge, ForwardRules

_Result = TypeVar("_Result")

_LOOPBACK: Final = ("", "localhost")

MAX_OPENING: Final = 4
"""Files that are opened at once, each in one of the five or more threads that asyncio has by default. Further ones wait
without a thread, no longer than their connections do: what hangs is bounded, however often a client asks for it."""


class JudgedService:
    """What a worker does for its client. `on_listen` is called with a record of each listener, refused ones included.
    Relative paths begin at the home directory in the environment (HOME)."""

    def __init__(self, rules: ForwardRules, on_listen: Callable[[FlowRecord], None]) -> None:
        self._judge: Final = ForwardJudge(rules)
        self._on_listen = on_listen
        self._dialer: Final = Dialer(self._denied)
        self._opening: Final = asyncio.Semaphore(MAX_OPENING)
        self._home: Final = os.path.realpath(os.path.expanduser(b"~"))

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        """Return a socket that is connected to `target`. Raises `ForwardRefused`."""
        if isinstance(target, UnixTarget) and not self._judge.all_paths:
            return await self._connect_path(target)
        return await self._dialer.connect(target)

    async def listen(self, where: ForwardTarget, accepted: Accepted) -> LocalListener:
        """Listen at `where`. Raises `ForwardRefused`."""
        try:
            place, directory = await self._judged_place(where)
            listener = await listen_at(place, accepted, directory)
        except ForwardRefused as error:
            self._on_listen(FlowRecord("listen", _shown(where), cause=error.cause, message=str(error)))
            raise
        self._on_listen(FlowRecord("listen", _shown(where), str(listener.address), cause="listening"))
        return listener

    async def _opened(self, path: bytes, flags: int = 0) -> int:
        """Return a descriptor of a file of any kind, as far as `flags` say. In a thread: a file server may hang. If
        nobody waits any more, it is closed as soon as it is open. Raises OSError and `ForwardRefused`."""
        await self._opening.acquire()
        opening = asyncio.ensure_future(_in_thread(os.open, path, os.O_PATH | os.O_CLOEXEC | flags))
        opening.add_done_callback(lambda _: self._opening.release())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)
            raise

    def _denied(self, target: ForwardTarget, address: str | None) -> str | None:
        if isinstance(target, UnixTarget):
            return None  # any, or judged before
        return self._judge.denied_connection(target, address or "")

    async def _connect_path(self, target: UnixTarget) -> socket.socket:
        path = os.path.join(os.path.expanduser(b"~"), target.path)
        try:
            opened = await self._opened(path)
        except OSError as error:
            # Whether there is such a file is for those to know who may connect to it.
            if denied := self._judge.denied_path(os.path.normpath(path), self._home):
                raise ForwardRefused("denied", denied) from None
            raise ForwardRefused("refused", f"cannot connect to {target}: {error.strerror}") from None
        try:
            place = b"/proc/self/fd/%d" % opened
            path = os.readlink(place)
            if denied := self._judge.denied_path(path, self._home):
                raise ForwardRefused("denied", denied)
            if not await _in_thread(_is_at, opened, path):
                raise ForwardRefused("denied", f"{target} is not a file at a path of this machine that could be judged")
            try:
                return await self._dialer.connect(UnixTarget(place))
            except ForwardRefused as error:
                raise ForwardRefused(error.cause, str(error).replace(str(UnixTarget(place)), str(target))) from None
        finally:
            os.close(opened)

    async def _judged_place(self, where: ForwardTarget) -> tuple[ForwardTarget, int]:
        """Return where to listen: with an address in place of a name, and a path without symbolic links together with a
        descriptor of its directory, otherwise -1."""
        if isinstance(where, InetTarget):
            return await self._judged_address(where), -1
        if where.path:
            return await self._judged_path(where)
        _refuse(self._judge.denied_listening_path(b"", self._home))
        return where, -1

    async def _judged_path(self, where: UnixTarget) -> tuple[UnixTarget, int]:
        path = os.path.join(os.path.expanduser(b"~"), where.path)
        parent, name = os.path.split(path)
        if name in (b"", b".", b".."):
            raise ForwardRefused("failed", f"cannot listen on {where}: it is a directory")
        try:
            directory = await self._opened(parent, os.O_DIRECTORY)
        except OSError as error:
            # Whether there is such a directory is for those to know who may listen there.
            _refuse(self._judge.denied_listening_path(os.path.normpath(path), self._home))
            raise ForwardRefused("failed", f"cannot listen on {where}: {error.strerror}") from None
        try:
            there = os.readlink(b"/proc/self/fd/%d" % directory)
            place = UnixTarget(os.path.join(there, name))
            _refuse(self._judge.denied_listening_path(place.path, self._home))
            if not await _in_thread(_is_at, directory, there):
                raise ForwardRefused("denied", f"{where} is not in a directory of this machine that could be judged")
        except BaseException:
            os.close(directory)
            raise
        return place, directory

    async def _judged_address(self, where: InetTarget) -> InetTarget:
        if where.host == "*" or where.host.lower() in _LOOPBACK:
            _refuse(self._judge.denied_listener(where, None))
            return where if where.host == "*" else where._replace(host="")
        kind = socket.SOCK_DGRAM if where.transport == "udp" else socket.SOCK_STREAM
        try:
            found = await _in_thread(
                partial(socket.getaddrinfo, where.host, where.port, type=kind, flags=socket.AI_PASSIVE)
            )
        except (OSError, UnicodeError):
            raise ForwardRefused("unresolved", f"cannot listen on {where}: {where.host} has no address") from None
        address = str(found[0][4][0])
        _refuse(self._judge.denied_listener(where, address))
        return where._replace(host=address)


def _close_late(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _is_at(opened: int, path: bytes) -> bool:
    """Whether a file that was opened is the one at the path that the kernel says. It is not if it was deleted, or is in
    another mount namespace, which /proc/PID/root leads to: there the path says what a container calls it (proc(5))."""
    try:
        return os.path.samestat(os.fstat(opened), os.lstat(path))
    except OSError:
        return False


async def _in_thread(call: Callable[..., _Result], *arguments: object) -> _Result:
    """Call something that may wait, of a name server or a file server. Raises also `ForwardRefused`."""
    try:
        return await asyncio.to_thread(call, *arguments)
    except RuntimeError:  # a limit on threads
        raise ForwardRefused("busy", "no thread can be started") from None


def _refuse(denied: str | None) -> None:
    if denied is not None:
        raise ForwardRefused("denied", denied)


def _shown(where: ForwardTarget) -> str:
    if isinstance(where, InetTarget):
        return str(where if where.host else where._replace(host="localhost"))
    return str(where) or "agent"
