"""Connects to targets on this machine's networks.

A name is resolved once, in a thread; each address is judged, and what is connected to is exactly an address that was
allowed, so that a name which has another address a moment later leads nowhere else. Several addresses are tried as in
RFC 8305 ("happy eyeballs").
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

from .targets import MAX_UNIX_PATH, ForwardCause, ForwardRefused, ForwardTarget, InetTarget, UnixTarget

RESOLVE_TIMEOUT: Final = 15.0
"""Seconds for a name: a resolver asks each of three servers for 5 seconds (resolv.conf(5))."""

DIALLING_TIMEOUT: Final = 30.0
"""Seconds in all for connecting to the addresses of a target: Linux would try for 127 (tcp(7), tcp_syn_retries)."""

NEXT_ATTEMPT_DELAY: Final = 0.25
"""Seconds until the next address is tried, too (RFC 8305, section 5)."""

MAX_RESOLVING: Final = 32
"""Names resolved at once, each in a thread; further ones wait. As many threads as asyncio has by default at most."""

MAX_ADDRESSES: Final = 32
"""Addresses of a name that are tried; 31 attempts a quarter of a second apart take a quarter of `DIALLING_TIMEOUT`."""

FIRST_BACKLOG_DELAY: Final = 0.01
"""Seconds until the next attempt if too many wait to be accepted on a Unix socket: the kernel refuses the next one with
EAGAIN (unix(7)), and does not tell when there is room. The delay doubles up to `MAX_BACKLOG_DELAY`."""

MAX_BACKLOG_DELAY: Final = 1.0
"""Seconds: short beside `DIALLING_TIMEOUT`, and a program that accepts nothing for so long is not in a hurry."""

SHARED_BACKLOG_DELAY: Final = 0.005
"""Seconds of delay at least for each connection that waits so: all of them together try 200 times a second at most."""

_CAUSES: Final[dict[int, ForwardCause]] = {
    errno.ECONNREFUSED: "refused",
    errno.ENOENT: "refused",
    errno.ECONNRESET: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EAFNOSUPPORT: "unreachable",
    errno.ETIMEDOUT: "timeout",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EMFILE: "busy",
    errno.ENFILE: "busy",
    errno.EAGAIN: "busy",
}
_REASONS: Final = {
    errno.ECONNREFUSED: "nothing listens there",
    errno.ENOENT: "there is no such socket",
    errno.ETIMEDOUT: "it did not answer",
}

_Resolved: TypeAlias = tuple[socket.AddressFamily, Any]

Allowed: TypeAlias = Callable[[ForwardTarget, str | None], str | None]
"""Judges a target together with one of its addresses; None for a Unix socket, which has none. Returns the sentence that
says why it is denied, None if it is allowed."""


class Dialer:
    """Connects to targets that are allowed."""

    def __init__(self, allowed: Allowed = lambda target, address: None, *, timeout: float = DIALLING_TIMEOUT) -> None:
        self._allowed = allowed
        self._timeout = timeout
        self._resolving = asyncio.Semaphore(MAX_RESOLVING)
        self._backlogged = 0
        """Connections that wait for room in the queue of a Unix socket."""

    async def connect(self, target: ForwardTarget) -> socket.socket:
        """Return a non-blocking socket that is connected to `target`. Raises `ForwardRefused`."""
        try:
            async with asyncio.timeout(self._timeout):
                if isinstance(target, UnixTarget):
                    return await self._connect_unix(target)
                addresses = self._permitted(target, await self._resolve(target))
                if target.transport == "udp":
                    return _connect_datagrams(addresses)
                return await connect_any(addresses)
        except TimeoutError:
            raise ForwardRefused("timeout", f"cannot connect to {target}: it did not answer") from None
        except OSError as error:
            raise connect_refused(target, error) from None

    async def _connect_unix(self, target: UnixTarget) -> socket.socket:
        path = os.path.join(os.path.expanduser(b"~"), target.path)
        self._judge(UnixTarget(path), None)
        if len(path) > MAX_UNIX_PATH:
            raise OSError(errno.ENAMETOOLONG, f"its path has {len(path)} bytes; {MAX_UNIX_PATH} can be")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            delay = FIRST_BACKLOG_DELAY
            while True:
                try:
                    sock.connect(path)
                except BlockingIOError as error:
                    if error.errno != errno.EAGAIN:
                        await asyncio.get_running_loop().sock_connect(sock, path)
                        return sock
                    await self._wait_for_backlog(delay)
                    delay = min(2 * delay, MAX_BACKLOG_DELAY)
                else:
                    return sock
        except BaseException:
            sock.close()
            raise

    async def _wait_for_backlog(self, delay: float) -> None:
        self._backlogged += 1
        try:
            await asyncio.sleep(max(delay, self._backlogged * SHARED_BACKLOG_DELAY))
        finally:
            self._backlogged -= 1

    def _judge(self, target: ForwardTarget, address: str | None) -> None:
        denied = self._allowed(target, address)
        if denied is not None:
            raise ForwardRefused("denied", denied)

    def _permitted(self, target: InetTarget, addresses: list[_Resolved]) -> list[_Resolved]:
        """Return the addresses that are allowed. Raises `ForwardRefused` if there are none."""
        permitted, denied = [], None
        for family, address in addresses:
            try:
                self._judge(target, address[0])
            except ForwardRefused as error:
                denied = denied or error
            else:
                permitted.append((family, address))
        if not permitted:
            raise denied or ForwardRefused("unresolved", f"cannot connect to {target}: {target.host} has no address")
        return permitted

    async def _resolve(self, target: InetTarget) -> list[_Resolved]:
        numeric = _addresses_of(target, socket.AI_NUMERICHOST)
        if isinstance(numeric, list):
            return numeric
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[_Resolved] | OSError] = loop.create_future()

        def answer(result: list[_Resolved] | OSError) -> None:
            self._resolving.release()
            if not found.done():
                found.set_result(result)

        def work() -> None:
            result = _addresses_of(target, 0)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(answer, result)

        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT):
                await self._resolving.acquire()
                try:
                    # Not an executor: nothing could end while one of its threads waits for a name server.
                    threading.Thread(target=work, name="resolve", daemon=True).start()
                except RuntimeError:  # a limit on threads
                    self._resolving.release()
                    raise OSError(errno.EAGAIN, "no thread can be started") from None
                result = await found
        except TimeoutError:
            raise ForwardRefused("unresolved", f"cannot connect to {target}: no name server answered") from None
        if isinstance(result, OSError):
            reason = result.strerror or str(result)
            raise ForwardRefused("unresolved", f"cannot connect to {target}: {target.host} has no address ({reason})")
        return result


def _addresses_of(target: InetTarget, flags: int) -> list[_Resolved] | OSError:
    kind = socket.SOCK_DGRAM if target.transport == "udp" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(target.host, target.port, type=kind, flags=flags)
    except UnicodeError as error:  # a label of more than 63 characters
        return OSError(0, str(error))
    except OSError as error:
        return error
    unique: list[_Resolved] = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    return unique[:MAX_ADDRESSES]


def _connect_datagrams(addresses: Iterable[_Resolved]) -> socket.socket:
    failure = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, address in addresses:
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            failure = error
            continue
        try:
            sock.setblocking(False)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


async def connect_any(addresses: list[_Resolved]) -> socket.socket:
    """Return a socket that is connected to one of these addresses. Raises the OSError of the first that has failed."""
    if len(addresses) == 1:
        return await _attempt(*addresses[0])
    loop = asyncio.get_running_loop()
    left = deque(_alternating(addresses))
    attempts: list[asyncio.Task[socket.socket]] = []
    connected: socket.socket | None = None
    try:
        while connected is None:
            if left:
                attempts.append(loop.create_task(_attempt(*left.popleft())))
            running = [attempt for attempt in attempts if not attempt.done()]
            if not running:
                if not left:
                    return attempts[0].result()  # raises
                continue
            delay = NEXT_ATTEMPT_DELAY if left else None
            done, _ = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            connected = next((attempt.result() for attempt in done if attempt.exception() is None), None)
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(lambda ended: _close_late(ended, connected))
    return connected


def _close_late(attempt: asyncio.Task[socket.socket], used: socket.socket | None) -> None:
    """Close what an attempt has connected, unless it is used."""
    if not attempt.cancelled() and attempt.exception() is None and attempt.result() is not used:
        attempt.result().close()


def _alternating(addresses: list[_Resolved]) -> Iterable[_Resolved]:
    """Return the addresses so that families alternate, beginning with that of the first (RFC 8305, section 4)."""
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    return (each for each in chain.from_iterable(zip_longest(first, others)) if each is not None)


async def _attempt(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        number = sock.connect_ex(address)
        if number == errno.EINPROGRESS:
            number = sock.connect_ex(address)  # on this machine it is over by now
        if number in (errno.EINPROGRESS, errno.EALREADY):
            await asyncio.get_running_loop().sock_connect(sock, address)
        elif number not in (0, errno.EISCONN):
            raise OSError(number, os.strerror(number))
    except BaseException:
        sock.close()
        raise
    return sock


def connect_refused(target: ForwardTarget, error: OSError) -> ForwardRefused:
    """Return why there is no connection, as a sentence."""
    number = error.errno or 0
    reason = _REASONS.get(number) or error.strerror or str(error)
    return ForwardRefused(_CAUSES.get(number, "failed"), f"cannot connect to {target}: {reason}")
