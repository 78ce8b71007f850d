"""A connection that reconnects: one session after the other to the same service, so that an outage is only a pause.

`ReconnectingConnection` starts from a completed login. When its session ends it logs in again, after delays that
`Backoff` chooses, and reopens on the new session whatever is registered with it as `Resumable`. When the time for that
is up, or when no further attempt could succeed, everything registered fails with `ConnectionLost`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from farhand_client.errors import AuthenticationError, ConnectionLost, FarhandError, HostKeyError, RequestRefused
from farhand_client.home_loop import HomeLoop, call_back
from farhand_protocol.errors import ErrorCode

from .session import ClientSession

if TYPE_CHECKING:
    from .login import LoginResult

RECONNECT_TIMEOUT: Final = 120.0
"""Seconds for which the client tries to reconnect: twice the default grace period of a run, so that the client learns
what became of a run even if it reconnects too late to save it."""

BORROWED_RECONNECT: Final = 30.0
"""Seconds to connect by itself after a borrowed connection is lost, even for a client that does not reconnect: without
the helper it would have had a connection of its own. As long as a first connection may take."""

MAX_FIRST_RETRY_DELAY: Final = 0.1
"""Seconds within which the first attempt is made: most outages are over at once, and restarting an edge takes about as
long."""

MAX_RETRY_DELAY: Final = 5.0
"""Seconds between two attempts at most: a person who waits sees the connection return soon, and a thousand clients
that lost one service make 400 attempts a second on average, which is as many as it can handle."""

_FATAL: Final = frozenset({ErrorCode.DENIED, ErrorCode.UNSUPPORTED_VERSION, ErrorCode.LOGIN_FAILED})


class Outage(NamedTuple):
    """The connection was lost because of `cause`; the client tries to reconnect for `left` more seconds."""

    cause: FarhandError
    left: float


OutageCallback: TypeAlias = Callable[[Outage | None], None]
"""Called with an `Outage` when the connection is lost and reconnecting begins, and with None when it is back."""


class Resumable(Protocol):
    """Something that continues on the next session after an outage."""

    def open(self, session: ClientSession) -> None:
        """Open a channel on `session` and continue there.

        Raises `FarhandError` or ValueError if that is impossible; `fail` is called then.
        """

    def fail(self, error: Exception) -> None:
        """Give up: there will be no further session, or this cannot continue on it."""

    def client_closed(self, error: FarhandError) -> None:
        """Leave in an orderly way: the user has closed the client."""


class ReconnectingConnection:
    """One session after the other to the same service.

    Starts with the session of `login`; `log_in_again` makes each later one. After a session has ended, it is called for
    up to `reconnect_timeout` seconds (None or 0: not at all), and then everything registered fails. It fails at once if
    no further attempt could succeed: the service's host key is not the recorded one, the login is refused, or the
    service does not use the protocol.
    """

    def __init__(
        self,
        login: LoginResult,
        log_in_again: Callable[[], Awaitable[LoginResult]],
        reconnect_timeout: float | None,
        watch: OutageCallback | None,
    ) -> None:
        self.name: Final = login.session.name
        """The service's name in errors."""
        self.home: Final = HomeLoop()
        """Where this connection, and everything that uses it, may be used."""
        self.session: ClientSession | None = None
        """The current session; None during an outage and after the end."""
        self.reconnect_timeout = reconnect_timeout or 0.0
        """Seconds for which the client tries to reconnect after the next loss."""
        self.on_going_away: Callable[[float], None] | None = None
        """Called with the seconds that the service leaves its runs when it announces its shutdown."""
        self.after_close: Callable[[], Awaitable[None]] | None = None
        """Called once the connection is closed: to close what it went through."""
        self._log_in_again = log_in_again
        self._watch = watch
        self._failure: FarhandError | None = None
        self._backoff: Backoff | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._registered: dict[Resumable, None] = {}
        self._settled = asyncio.Event()
        self._adopt(login.session)

    @property
    def state(self) -> str:
        """What the connection is doing, in words for people."""
        if self.home.in_child:
            return "of the parent process"
        if self.session is not None:
            return "connected"
        return "reconnecting" if self._failure is None else "closed"

    @property
    def closed(self) -> bool:
        """Whether there will be no further session."""
        return self._failure is not None

    async def connected_session(self) -> ClientSession:
        """Wait until there is a session and return it. Raises `ConnectionLost` if there will be none."""
        self.check_home()
        while self.session is None:
            self._raise_if_failed()
            await self._settled.wait()
        return self.session

    def register(self, resumable: Resumable) -> None:
        """Open `resumable` on the current session, if there is one, and on every later one until it is unregistered.

        Raises `ConnectionLost`, `RequestRefused`, and ValueError for a request too large, if that is known already.
        """
        self.check_home()
        self._raise_if_failed()
        if self.session is not None:
            resumable.open(self.session)
        self._registered[resumable] = None

    def unregister(self, resumable: Resumable) -> None:
        """Do not open `resumable` on later sessions. Safe to call again."""
        self._registered.pop(resumable, None)

    async def ping(self) -> float:
        """Return the round-trip time in seconds; after an outage the ping is sent again. Raises `ConnectionLost`."""
        while True:
            session = await self.connected_session()
            try:
                return await session.ping()
            except ConnectionLost:
                self._raise_if_failed()

    async def close(self) -> None:
        """Let everything registered leave in an orderly way and close the connection. Safe to call again.

        In a forked child it does nothing: the connection is the parent's.
        """
        if self.home.in_child:
            return
        self.check_home()
        why = ConnectionLost(f"the connection to {self.name} was closed by this client")
        for resumable in list(self._registered):
            resumable.client_closed(why)
        session = self.session
        self._fail(why)
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.wait([self._reconnecting])
        if session is not None:
            await session.close()
        after, self.after_close = self.after_close, None
        if after is not None:
            await after()

    def check_home(self) -> None:
        """Raise `NotUsableHere` unless the caller is in the process and the event loop of this connection."""
        self.home.check(f"the client of {self.name}")

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise ConnectionLost(str(self._failure)) from self._failure.__cause__

    def _adopt(self, session: ClientSession) -> None:
        self.session = session
        session.on_going_away = self._going_away
        session.on_end(lambda why: self._session_ended(session, why))

    def _going_away(self, grace: float) -> None:
        if self.on_going_away is not None:
            call_back(self.on_going_away, grace)

    def _session_ended(self, session: ClientSession, why: FarhandError) -> None:
        self.session = None
        if self._failure is not None:
            return
        if self.home.in_child:
            self._fail(ConnectionLost(f"the connection to {self.name} is the parent's"))
            return
        self._settled.clear()
        timeout = max(self.reconnect_timeout, BORROWED_RECONNECT if session.borrowed else 0.0)
        if not timeout or (session.protocol_broken and not session.borrowed) or _is_fatal(why):
            lost = ConnectionLost(str(why))
            lost.__cause__ = why.__cause__ if isinstance(why, ConnectionLost) else why
            self._fail(lost)
            return
        now = asyncio.get_running_loop().time()
        # A service that accepts logins and then crashes on the client's requests has one outage, not many short ones.
        if self._backoff is None or session.received_since_login:
            self._backoff = Backoff(now, timeout, at_once=session.borrowed)
        self._reconnecting = asyncio.ensure_future(self._reconnect(self._backoff, why))
        self._reconnecting.add_done_callback(self._reconnecting_done)
        if self._watch is not None:
            call_back(self._watch, Outage(why, self._backoff.left(now)))

    async def _reconnect(self, backoff: Backoff, first: FarhandError) -> None:
        loop = asyncio.get_running_loop()
        last = None
        while (delay := backoff.delay(loop.time())) is not None:
            await asyncio.sleep(delay)
            try:
                async with asyncio.timeout_at(backoff.deadline):
                    if self.home.in_child:
                        return  # reopening the runs here would take them away from the parent
                    login = await self._log_in_again()
            except TimeoutError:
                break
            except FarhandError as error:
                if _is_fatal(error):
                    lost = ConnectionLost(f"{first}; cannot reconnect: {error}")
                    lost.__cause__ = error
                    self._fail(lost)
                    return
                last = error
            else:
                self._resume(login.session)
                return
        text = f"{first}; could not reconnect within {backoff.timeout:g} seconds"
        self._fail(ConnectionLost(f"{text}: {last}" if last is not None else text))

    def _reconnecting_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (bug := task.exception()) is not None:
            # A bug in this package must not leave callers waiting forever.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "farhand: reconnecting failed", "exception": bug, "task": task}
            )
            self._fail(ConnectionLost(f"the connection to {self.name} was lost, and reconnecting failed: {bug!r}"))

    def _resume(self, session: ClientSession) -> None:
        self._adopt(session)
        if self.session is None:
            return  # already lost again
        session.send_ping()  # the answer proves that the service has survived the reopened requests
        for resumable in list(self._registered):
            try:
                resumable.open(session)
            except (FarhandError, ValueError) as error:
                self.unregister(resumable)
                resumable.fail(error)
        self._settled.set()
        if self._watch is not None:
            call_back(self._watch, None)

    def _fail(self, why: FarhandError) -> None:
        if self._failure is None:
            self._failure = why
        registered, self._registered = self._registered, {}
        for resumable in registered:
            resumable.fail(why)
        self._settled.set()


def _is_fatal(error: FarhandError) -> bool:
    """Return whether another attempt would certainly fail in the same way."""
    match error:
        case HostKeyError() | AuthenticationError():
            return True
        case RequestRefused():
            return error.code in _FATAL
        case _:
            return False


class Backoff:
    """When to try again during one outage, which began at `now` and is given up after `reconnect_timeout` seconds.

    Has no clock of its own: the time, in seconds, comes in as an argument. Before attempt n (from 0) the client waits
    a random time, evenly distributed between 0 and min(`MAX_RETRY_DELAY`, `MAX_FIRST_RETRY_DELAY` * 2**n) seconds, so
    that clients that lost a service together do not reconnect together ("full jitter": M. Brooker, Exponential Backoff
    And Jitter, AWS Architecture Blog, 2015). With `at_once` there is no wait before the first: not the service was
    lost, only what led there.
    """

    def __init__(self, now: float, reconnect_timeout: float, *, at_once: bool = False) -> None:
        self.timeout: Final = reconnect_timeout
        self.deadline: Final = now + reconnect_timeout
        self.attempts = 0
        self._at_once = at_once

    def left(self, now: float) -> float:
        """Return the seconds until the deadline, 0 or more."""
        return max(0.0, self.deadline - now)

    def delay(self, now: float) -> float | None:
        """Return the seconds to wait before the next attempt, and count it; None once the deadline has passed."""
        from random import uniform  # takes 3 ms to import, and most clients never lose their connection

        if now >= self.deadline:
            return None
        if self._at_once:
            self._at_once = False
            return 0.0
        # From 2**6 on `MAX_RETRY_DELAY` is the smaller one anyway; without a bound the power would grow forever.
        longest = min(MAX_RETRY_DELAY, MAX_FIRST_RETRY_DELAY * 2 ** min(self.attempts, 6))
        seconds = uniform(0, longest)  # nosec B311  # clients must not return at once; nobody gains by guessing
        self.attempts += 1
        return min(seconds, self.deadline - now)
