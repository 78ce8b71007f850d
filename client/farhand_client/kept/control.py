"""Answers who asks a kept process: its own user, one request a connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from farhand_client.errors import FarhandError
from farhand_client.mux.ask import peer
from farhand_protocol.sentences import unforeseen_sentence

from .requests import MAX_CONTROL_LINE, ControlRequest, encode_line

MAX_CONTROL_CALLERS: Final = 16
"""Connections that are served at once: people ask one by one. More wait in the listener's queue."""

CONTROL_REQUEST_TIMEOUT: Final = 5.0
"""Seconds for a caller to send its request, which it has at once."""

CONTROL_ANSWER_TIMEOUT: Final = 5.0
"""Seconds for a caller to take its answer."""

CONTROL_RETRY_DELAY: Final = 1.0
"""Seconds until accepting is tried again after it has failed, as for forwards (`EXHAUSTED_DELAY`)."""

Answer = Callable[[ControlRequest], Awaitable[dict[str, Any]]]
"""Does what is asked, and returns the report. Raises `FarhandError` and ValueError to refuse it."""


class ControlServer:
    """Listens at a Unix socket that only this user may use, until it is closed."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path: Final = path
        self._answer = answer
        self._listening = _listener(path)
        self._file = path.lstat()
        self._callers = asyncio.Semaphore(MAX_CONTROL_CALLERS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.ensure_future(self._accept())

    async def close(self) -> None:
        """Listen no more, and remove the socket; who is being answered gets the answer."""
        with contextlib.suppress(OSError):
            if os.path.samestat(self._path.lstat(), self._file):  # and not that of another process
                self._path.unlink()
        self._accepting.cancel()
        self._listening.close()
        await asyncio.wait([self._accepting, *self._tasks])

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._callers.acquire()
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError:  # descriptors have run out: forwards use many
                self._callers.release()
                await asyncio.sleep(CONTROL_RETRY_DELAY)
                continue
            task = asyncio.ensure_future(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._callers.release()

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with connection, contextlib.suppress(OSError, TimeoutError):
            if peer(connection)[1] != os.geteuid():
                return
            async with asyncio.timeout(CONTROL_REQUEST_TIMEOUT):
                line = await _line(connection)
            answer = encode_line(await self._answered(line))
            async with asyncio.timeout(CONTROL_ANSWER_TIMEOUT):
                await loop.sock_sendall(connection, answer)

    async def _answered(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": await self._answer(ControlRequest.decode(line))}
        except (FarhandError, ValueError) as error:
            return {"error": str(error)}
        except Exception as error:  # noqa: BLE001  # who asks is told, and the forwards go on
            return {"error": unforeseen_sentence(error)}


def _listener(path: Path) -> socket.socket:
    """Return a socket that listens at `path`, which nobody else can use at any moment."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(os.fsencode(path))
        listening.listen(MAX_CONTROL_CALLERS)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


async def _line(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while not data.endswith(b"\n"):
        more = await loop.sock_recv(connection, 65536)
        if not more or len(data) > MAX_CONTROL_LINE:
            raise OSError("no request, or one that is too long")
        data += more
    return bytes(data)
