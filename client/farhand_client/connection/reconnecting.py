"""What a client holds on to: one connection after the other to the same service, so that a cut is only a pause.

When a line that was lost is tried again: full-jitter back-off with a deadline, without a clock of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from farhand_client.errors import AuthenticationError, ConnectionLost, FarhandError, HostKeyError, RequestRefused
from farhand_protocol.errors import ErrorCode

from .session import ClientSession

if TYPE_CHECKING:
    from .login import LoginResult


RECONNECT_TIMEOUT: Final = 120.0
"""Seconds for which a lost connection is tried again: twice the grace that the service gives a run by default, so that
what became of a run is heard also where the line came back too late for it."""

_FATAL: Final = frozenset({ErrorCode.DENIED, ErrorCode.UNSUPPORTED_VERSION, ErrorCode.LOGIN_FAILED})


class Outage(NamedTuple):
    """The connection is lost, by `cause`, and is tried again for `left` seconds at the most."""

    cause: FarhandError
    left: float


LineDown: TypeAlias = Outage
"""The name under which `farhand_client` has exported it."""

OutageCallback: TypeAlias = Callable[[Outage | None], None]
"""Told when the connection is lost and tried again, and with None when it is back."""


class Resumable(Protocol):
    """What goes on over the next connection."""

    def open(self, session: ClientSession) -> None:
        """Open a channel on `session` and go on there. Raises `FarhandError` and ValueError where that cannot be."""

    def fail(self, error: Exception) -> None:
        """There will be no other connection, or this cannot go on over it."""

    def leave(self, error: FarhandError) -> None:
        """The client goes."""


class ReconnectingConnection:
    """Made of a `login` that is done, and of `again`, which makes another one.

    With `patience`, in seconds, a connection that ends is made again within that time, by attempts with a back-off;
    without, or once the time is up, everything fails. So it does at once where another attempt could not end otherwise:
    the service's key is not the one on record, nobody is let in any more, or the service does not speak the protocol.
    """

    def __init__(
        self,
        login: LoginResult,
        again: Callable[[], Awaitable[LoginResult]],
        patience: float | None,
        watch: OutageCallback | None,
    ) -> None:
        self.name: Final = login.session.name
        self.session: ClientSession | None = None
        """The connection; None while it is lost."""
        self.patience = patience or 0.0
        """Seconds for which a connection that ends from now on is made again."""
        self._again = again
        self._watch = watch
        self.on_going_away: Callable[[float], None] | None = None
        """Told when the service says that it stops, with the seconds that it leaves its runs."""
        self._why: FarhandError | None = None
        self._backoff: Backoff | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._live: dict[Resumable, None] = {}
        self._settled = asyncio.Event()
        self._adopt(login.session)

    async def up(self) -> ClientSession:
        """Return the connection once there is one. Raises `ConnectionLost` where there will be none."""
        while self.session is None:
            self._check()
            await self._settled.wait()
        return self.session

    def add(self, one: Resumable) -> None:
        """Open `one` on this connection or the next, and on each after that until it is removed.

        Raises `ConnectionLost`, `RequestRefused`, and ValueError for a request too large, where that is known now.
        """
        self._check()
        if self.session is not None:
            one.open(self.session)
        self._live[one] = None

    def remove(self, one: Resumable) -> None:
        """Forget `one`."""
        self._live.pop(one, None)

    async def ping(self) -> float:
        """Return the seconds that a message takes there and back, asked again where the connection is lost meanwhile.

        Raises `ConnectionLost`.
        """
        while True:
            session = await self.up()
            try:
                return await session.ping()
            except ConnectionLost:
                self._check()

    async def close(self) -> None:
        """Leave every run as its client wants it left, and close the connection. Safe to call again."""
        why = ConnectionLost(f"the connection to {self.name} was closed here")
        for one in list(self._live):
            one.leave(why)
        session = self.session
        self._fail(why)
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.wait([self._reconnecting])
        if session is not None:
            await session.close()

    def _check(self) -> None:
        if self._why is not None:
            raise ConnectionLost(str(self._why)) from self._why.__cause__

    def _adopt(self, session: ClientSession) -> None:
        self.session = session
        session.on_going_away = self._going_away
        session.when_over(lambda why: self._over(session, why))

    def _going_away(self, grace: float) -> None:
        if self.on_going_away is not None:
            self.on_going_away(grace)

    def _over(self, session: ClientSession, why: FarhandError) -> None:
        self.session = None
        if self._why is not None:
            return
        self._settled.clear()
        if not self.patience or session.broken or _fatal(why):
            lost = ConnectionLost(str(why))
            lost.__cause__ = why.__cause__ if isinstance(why, ConnectionLost) else why
            self._fail(lost)
            return

        now = asyncio.get_running_loop().time()
        # A service that lets one in and dies of what it is asked then is one outage, not many short ones.
        if self._backoff is None or session.proved:
            self._backoff = Backoff(now, self.patience)
        self._reconnecting = asyncio.ensure_future(self._reconnect(self._backoff, why))
        self._reconnecting.add_done_callback(self._reconnected)
        if self._watch is not None:
            self._watch(Outage(why, self._backoff.left(now)))

    async def _reconnect(self, backoff: Backoff, first: FarhandError) -> None:
        loop = asyncio.get_running_loop()
        last = None
        while (delay := backoff.delay(loop.time())) is not None:
            await asyncio.sleep(delay)
            try:
                async with asyncio.timeout_at(backoff.deadline):
                    login = await self._again()
            except TimeoutError:
                break
            except FarhandError as error:
                if _fatal(error):
                    lost = ConnectionLost(f"{first}, and cannot be made again: {error}")
                    lost.__cause__ = error
                    self._fail(lost)
                    return
                last = error
            else:
                self._resume(login.session)
                return
        text = f"{first}, and could not be made again within {self.patience:g} seconds"
        self._fail(ConnectionLost(f"{text}: {last}" if last is not None else text))

    def _reconnected(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            # A fault of this package; nobody shall wait for ever because of it.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "farhand: connecting again failed", "exception": fault, "task": task}
            )
            self._fail(ConnectionLost(f"the connection to {self.name} was lost, and making it again failed: {fault!r}"))

    def _resume(self, session: ClientSession) -> None:
        self._adopt(session)
        if self.session is None:
            return  # lost again already
        session.probe()
        for one in list(self._live):
            try:
                one.open(session)
            except (FarhandError, ValueError) as error:
                self.remove(one)
                one.fail(error)
        self._settled.set()
        if self._watch is not None:
            self._watch(None)

    def _fail(self, why: FarhandError) -> None:
        if self._why is None:
            self._why = why
        live, self._live = self._live, {}
        for one in live:
            one.fail(why)
        self._settled.set()


def _fatal(error: FarhandError) -> bool:
    match error:
        case HostKeyError() | AuthenticationError():
            return True
        case RequestRefused():
            return error.code in _FATAL
        case _:
            return False


MAX_FIRST_RETRY_DELAY: Final = 0.1
"""Seconds within which the first attempt is made: most cuts are over at once, and an edge is restarted in as many."""

MAX_RETRY_DELAY: Final = 5.0
"""Seconds between two attempts at the most: a person who waits sees the line come back soon, and a thousand clients
that lost one service are 400 attempts a second on average, as many as it can take."""


class Backoff:
    """The attempts of one outage, which begins `now` and is given up after `patience` seconds.

    Before attempt n (from 0) the client waits a random time, evenly distributed between 0 and
    min(`MAX_RETRY_DELAY`, `MAX_FIRST_RETRY_DELAY` * 2**n) seconds, so that clients that lost a service together do not
    reconnect together ("full jitter": M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
    """

    def __init__(self, now: float, patience: float) -> None:
        self.deadline: Final = now + patience
        self.attempts = 0

    def left(self, now: float) -> float:
        """Return the seconds that are left, 0 or more."""
        return max(0.0, self.deadline - now)

    def delay(self, now: float) -> float | None:
        """Return the seconds to wait before the next attempt; None where the time for attempts is up."""
        from random import uniform  # importing it takes 3 ms, which a client that is never cut off need not pay

        if now >= self.deadline:
            return None
        # Beyond 2**6 the cap holds anyway; an exponent without a bound would become a number without one.
        seconds = uniform(0, min(MAX_RETRY_DELAY, MAX_FIRST_RETRY_DELAY * 2 ** min(self.attempts, 6)))
        self.attempts += 1
        return min(seconds, self.deadline - now)
