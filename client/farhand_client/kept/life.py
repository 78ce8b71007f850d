"""The life of a process that keeps forwards: it begins at a terminal, and then has none.

It asks for passphrases and host keys as every command does, makes the forwards, and only then leaves the terminal, so
that a failure is seen. Afterwards it reconnects for as long as it lives, unless told otherwise: even where a client
gives up, because a login is refused for example, it connects again from time to time, and begins its forwards again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from random import uniform
from typing import TYPE_CHECKING, Any, TypeAlias

from farhand_client.errors import ConnectionLost, FarhandError
from farhand_client.forwards.connection_end import ConnectionEnd

from .control import ControlServer
from .holding import MAX_FORWARD_RETRY_DELAY, MIN_RETRY_DELAY, HeldForward, HeldForwards
from .log import KeptLog
from .mounts import MountWatch
from .place import KeptError, KeptPlace, kept_place

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.connection.reconnecting import Outage, OutageCallback
    from farhand_client.forwards.forward import Forward
    from farhand_client.forwards.reports import WatchForward
    from farhand_client.forwards.specs import ForwardSpec
    from farhand_client.pending import Pending

    from .requests import ControlRequest

OpenKeptClient: TypeAlias = "Callable[[OutageCallback, bool], Pending[Client]]"
"""Connects, with a callback for outages; asks the user if the second argument is True."""


class KeptProcess:
    """This process, as the one that keeps the forwards of `host`. With `endless` it connects again whatever happens."""

    def __init__(
        self, host: str, place: KeptPlace, log: KeptLog, open_client: OpenKeptClient, *, endless: bool
    ) -> None:
        self._host = host
        self._place = place
        self._log = log
        self._open_client = open_client
        self._endless = endless
        self._since = self._state_since = time.time()
        self._error: str | None = None
        self._client: Client | None = None
        self._held = HeldForwards(self._begin, log.write)
        self._stopped = asyncio.Event()
        self._mounts_changed = asyncio.Event()
        self._lock: int | None = None
        """The locked lock file; None while there is none, or another process has it."""
        self._server: ControlServer

    async def live(self, specs: Sequence[ForwardSpec], ready: Callable[[list[HeldForward]], None]) -> None:
        """Keep forwards until the process is told to end. `ready` is called once they are made; it leaves the terminal.

        Raises `KeptError`, and what else prevents the forwards from being made; later on `ConnectionLost`.
        """
        self._lock = self._place.take()
        if self._lock is None:
            raise KeptError(f"another process is about to keep forwards of {self._host}; try again when it does")
        try:
            client = await self._open_client(self._watch, True)
            try:
                self._client = client
                begun = await self._held.add(specs)
                self._server = ControlServer(self._place.socket, self._answer)
                mounts = MountWatch(self._mounts_changed.set)
                finding = asyncio.ensure_future(self._stay_findable())
                try:
                    ready(begun)
                    self._log.write(
                        f"keeps {', '.join(str(spec) for spec in specs)} of {self._host}, pid {os.getpid()}"
                    )
                    await self._keep()
                finally:
                    mounts.close()
                    finding.cancel()
                    await asyncio.wait([finding])
                    await self._server.close()
            finally:
                await self._held.close()
                if self._client is not None:
                    await self._client.close()
        finally:
            if self._lock is not None:
                if self._place.is_held(self._lock):
                    self._place.remove()
                os.close(self._lock)

    def stop(self) -> None:
        """End `live` in an orderly way."""
        self._stopped.set()

    async def _stay_findable(self) -> None:
        """Listen again in each new runtime directory: logind removes the old one at the user's last logout."""
        while True:
            await self._mounts_changed.wait()
            self._mounts_changed.clear()
            if self._lock is not None:
                if self._place.is_held(self._lock):
                    continue
                os.close(self._lock)
                self._lock = None
                await self._server.close()
            with contextlib.suppress(KeptError):  # there is none yet: its mount will be noticed
                self._lock = kept_place(self._host).take()
            if self._lock is not None:
                try:
                    self._server = ControlServer(self._place.socket, self._answer)
                    self._log.write("can be asked again: there is a new runtime directory")
                except OSError as error:
                    self._log.write(f"cannot be asked any more: {self._place.socket}: {error.strerror}")

    async def _keep(self) -> None:
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stopped.wait())
        try:
            while not stopping.done():
                assert self._client is not None
                try:
                    end = ConnectionEnd(self._client.tunnel().connection)
                except ConnectionLost as error:  # lost again before this
                    why: Exception = error
                else:
                    await asyncio.wait([stopping, end.ended], return_when=asyncio.FIRST_COMPLETED)
                    if stopping.done():
                        end.forget()
                        self._log.write("ends")
                        return
                    why = end.ended.result()
                await self._lost(why)
                again = asyncio.ensure_future(self._connect_again())
                await asyncio.wait([stopping, again], return_when=asyncio.FIRST_COMPLETED)
                again.cancel()
                await asyncio.wait([again])
                if not again.cancelled():
                    again.result()
        finally:
            stopping.cancel()

    async def _lost(self, why: Exception) -> None:
        """Give up the client, whose connection is lost for good. Raises `ConnectionLost` if that is the end."""
        client, self._client = self._client, None
        self._log.write(f"connection lost: {why}")
        if not self._endless:
            raise ConnectionLost(str(why))
        if self._error is None:
            self._state_since = time.time()
        self._error = str(why)
        await self._held.pause(ConnectionLost(str(why)))
        if client is not None:
            await client.close()

    async def _connect_again(self) -> None:
        longest = MIN_RETRY_DELAY
        while True:
            await asyncio.sleep(uniform(longest / 2, longest))  # nosec B311  # only spreads the attempts
            longest = min(2 * longest, MAX_FORWARD_RETRY_DELAY)
            try:
                self._client = await self._open_client(self._watch, False)
            except (FarhandError, OSError) as error:
                if str(error) != self._error:
                    self._log.write(f"cannot connect: {error}")
                self._error = str(error)
                continue
            self._watch(None)
            self._held.resume()
            return

    async def _begin(self, spec: ForwardSpec, watch: WatchForward) -> Forward:
        return await self._require_connection().forward(spec, watch=watch)

    def _require_connection(self) -> Client:
        if self._client is None or self._error is not None:
            raise ConnectionLost(f"not connected to {self._host}: {self._error}")
        return self._client

    def _watch(self, down: Outage | None) -> None:
        self._state_since = time.time()
        self._error = None if down is None else str(down.cause)
        self._log.write("connected again" if down is None else f"connection lost, reconnecting: {down.cause}")

    async def _answer(self, request: ControlRequest) -> dict[str, Any]:
        match request.verb:
            case "add":
                self._require_connection()  # otherwise who asks would wait for it, and perhaps give up
                added = await self._held.add(request.forwards)
                self._log.write(f"added {', '.join(map(str, request.forwards))}")
                return {**self._report(), "added": [held.report() for held in added]}
            case "cancel":
                await self._held.cancel(request.forwards)
                self._log.write(f"cancelled {', '.join(map(str, request.forwards))}")
            case "end":
                await self._held.close()
        if not len(self._held):
            self.stop()
        return self._report()

    def _report(self) -> dict[str, Any]:
        report = {
            "host": self._host,
            "pid": os.getpid(),
            "since": self._since,
            "state": "connected" if self._error is None else "reconnecting",
            "state_since": self._state_since,
            "log": str(self._log.path),
            "forwards": self._held.report(),
        }
        return report if self._error is None else report | {"error": self._error}


def leave_terminal() -> None:
    """Give up the session, terminal, directory and standard files of the command; ignore that the terminal ends."""
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
