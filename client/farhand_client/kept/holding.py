"""The forwards of a kept process, and their numbers. One that has failed is begun again until it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import uniform
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from farhand_client.errors import FarhandError, ForwardError
from farhand_client.forwards.refusal import refused_forward
from farhand_client.forwards.reports import ForwardEvent
from farhand_forwards.targets import ForwardTarget, InetTarget

from .place import KeptError
from .requests import MAX_KEPT_FORWARDS

if TYPE_CHECKING:
    from farhand_client.forwards.forward import Forward
    from farhand_client.forwards.reports import ForwardedConnection, WatchForward
    from farhand_client.forwards.specs import ForwardSpec

MIN_RETRY_DELAY: Final = 1.0
"""Seconds before a failed forward is begun again for the first time."""

MAX_FORWARD_RETRY_DELAY: Final = 60.0
"""Seconds between two attempts at most: what keeps a forward from listening, such as another program on its port or a
policy, is changed by people."""

BeginForward: TypeAlias = "Callable[[ForwardSpec, WatchForward], Awaitable[Forward]]"
"""Makes a forward. Raises `FarhandError`."""


class HeldForward:
    """A forward, and what has gone through it since it was begun."""

    def __init__(self, spec: ForwardSpec, log: Callable[[str], None]) -> None:
        self.spec: Final = spec
        self.since: Final = time.time()
        self.forward: Forward | None = None
        """None while it has failed, until it is begun again."""
        self.failed: Callable[[], None] | None = None
        """Called when it listens no more."""
        self._log = log
        self._address: ForwardTarget = spec.listen
        self._error: Exception | None = None
        self._connections = self._refused = self._sent = self._received = 0
        self._opened: set[ForwardedConnection | None] = set()

    def begun(self, forward: Forward) -> None:
        """Record that it listens."""
        self.forward, self._error = forward, None
        self._address = forward.address

    @property
    def again(self) -> ForwardSpec:
        """What to begin after it has failed: on the same port, if any was asked for."""
        listen = self.spec.listen
        if isinstance(listen, InetTarget) and isinstance(self._address, InetTarget):
            return self.spec._replace(listen=listen._replace(port=self._address.port))
        return self.spec

    def means(self, spec: ForwardSpec) -> bool:
        """Return whether it is `spec`, as it was asked for or with the port on which it really listens."""
        return spec in (self.spec, self.again)

    def note(self, event: ForwardEvent) -> None:
        """Count and log an event of the forward."""
        match event.kind:
            case "opened":
                self._connections += 1
                if event.connection is not None:
                    self._opened.add(event.connection)
            case "refused":
                self._refused += 1
                if event.connection not in self._opened:
                    self._connections += 1
                self._opened.discard(event.connection)
                self._log(f"{self.spec}: refused {_what(event.connection)}: {event.error}")
            case "closed":
                self._opened.discard(event.connection)
                if event.connection is not None:
                    self._sent += event.connection.sent
                    self._received += event.connection.received
                if event.error is not None:
                    self._log(f"{self.spec}: {_what(event.connection)} ended early: {event.error}")
            case "lost":
                self._log(f"{self.spec}: not listening: {event.error}")
            case "restored":
                self._log(f"{self.spec}: listening again on {self._address}")
            case "failed":
                self.forward, self._error = None, event.error
                self._log(f"{self.spec}: failed: {event.error}")
                if self.failed is not None:
                    self.failed()

    def report(self) -> dict[str, Any]:
        """Return what `--list` shows."""
        open_now = () if self.forward is None else self.forward.connections
        report = {
            "forward": str(self.spec),
            "listen": str(self._address),
            "port": self._address.port if isinstance(self._address, InetTarget) else None,
            "since": self.since,
            "connections": self._connections,
            "open": len(open_now),
            "refused": self._refused,
            "sent": self._sent + sum(connection.sent for connection in open_now),
            "received": self._received + sum(connection.received for connection in open_now),
        }
        return report if self._error is None else report | {"error": str(self._error)}


class HeldForwards:
    """Begins forwards by `begin`, and holds them until they are cancelled."""

    def __init__(self, begin: BeginForward, log: Callable[[str], None]) -> None:
        self._begin = begin
        self._log = log
        self._held: dict[HeldForward, None] = {}
        self._retries: dict[HeldForward, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def report(self) -> list[dict[str, Any]]:
        """Return what `--list` shows of each."""
        return [held.report() for held in self._held]

    async def add(self, specs: Sequence[ForwardSpec]) -> list[HeldForward]:
        """Begin forwards, all of them or none. Raises what `begin` raises, and `KeptError`."""
        async with self._changing:
            if len(self._held) + len(specs) > MAX_KEPT_FORWARDS:
                raise KeptError(f"one process keeps at most {MAX_KEPT_FORWARDS} forwards")
            begun: list[HeldForward] = []
            try:
                for spec in specs:
                    if any(spec == held.spec and held.again == spec for held in self._held):
                        raise KeptError(f"{spec} is kept already")
                    held = HeldForward(spec, self._log)
                    try:
                        held.begun(await self._begin(spec, held.note))
                    except ForwardError as error:
                        raise refused_forward(spec, error) from None
                    held.failed = partial(self._failed, held)
                    begun.append(held)
                    self._held[held] = None
            except BaseException:
                for held in begun:
                    await self._end(held)
                raise
            return begun

    async def cancel(self, specs: Sequence[ForwardSpec]) -> None:
        """End forwards, all of them or none. Raises `KeptError` if one is not there."""
        async with self._changing:
            ending: dict[HeldForward, None] = {}
            for spec in specs:
                found = next((held for held in self._held if held.means(spec) and held not in ending), None)
                if found is None:
                    kept = ", ".join(str(held.spec) for held in self._held)
                    raise KeptError(f"{spec} is not kept; kept: {kept}")
                ending[found] = None
            for held in ending:
                await self._end(held)

    async def close(self) -> None:
        """End every kept forward, and reset its connections."""
        for held in list(self._held):
            await self._end(held)

    async def pause(self, why: FarhandError) -> None:
        """End every forward because of `why`, until `resume`."""
        async with self._changing:
            for held in list(self._held):  # `close` may end some meanwhile
                if held not in self._held:
                    continue
                await self._stop_retrying(held)
                forward = held.forward
                held.note(ForwardEvent("failed", error=why))
                if forward is not None:
                    with contextlib.suppress(FarhandError):
                        await forward.close()

    def resume(self) -> None:
        """Begin every forward again that has failed."""
        for held in self._held:
            if held.forward is None and held not in self._retries:
                self._retry(held, at_once=True)

    async def _end(self, held: HeldForward) -> None:
        self._held.pop(held, None)
        await self._stop_retrying(held)
        if held.forward is not None:
            await held.forward.close()

    async def _stop_retrying(self, held: HeldForward) -> None:
        held.failed = None
        retry = self._retries.pop(held, None)
        if retry is not None:
            retry.cancel()
            await asyncio.wait([retry])

    def _retry(self, held: HeldForward, *, at_once: bool = False) -> None:
        self._retries[held] = asyncio.ensure_future(self._begin_again(held, 0.0 if at_once else MIN_RETRY_DELAY))

    async def _begin_again(self, held: HeldForward, longest: float) -> None:
        while True:
            await asyncio.sleep(uniform(longest / 2, longest))  # nosec B311  # only spreads the attempts
            longest = min(max(2 * longest, MIN_RETRY_DELAY), MAX_FORWARD_RETRY_DELAY)
            try:
                held.begun(await self._begin(held.again, held.note))
            except FarhandError as error:
                self._log(f"{held.spec}: still not listening: {error}")
                continue
            held.failed = partial(self._failed, held)
            self._log(f"{held.spec}: listening again on {held.again.listen}")
            del self._retries[held]
            return

    def _failed(self, held: HeldForward) -> None:
        self._retry(held)


def _what(connection: ForwardedConnection | None) -> str:
    if connection is None:
        return "a connection"
    target = "" if connection.target is None else f" to {connection.target}"
    return f"the connection from {connection.origin or 'a local program'}{target}"
