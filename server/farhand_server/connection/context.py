"""What the sessions of a core share: configuration, policy, runs, audit log, and the list of sessions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Protocol

from farhand_protocol import messages as m

from ..admission.admission import AdmissionContext
from ..auth.accounts import Principal
from ..throttle import LineShares
from .login import LoginContext
from .time_shares import TimeShare, TimeShares


class OpenSession(Protocol):
    """How the core ends a session."""

    @property
    def gone(self) -> asyncio.Event:
        """Set once the connection is closed."""

    def announce_shutdown(self, grace: float) -> None:
        """Tell the client that the service will stop in `grace` seconds."""

    def finish(self) -> None:
        """Close once the client has received all output and outcomes of its runs."""

    def abort(self) -> None:
        """Close at once, without sending anything more."""


class OpenSessions:
    """The sessions of a core. Each adds itself when its connection is up and removes itself when its connection is
    gone."""

    def __init__(self) -> None:
        self.time = TimeShares()
        """How they share the loop's time."""
        self.lines = LineShares()
        """How many lines each user may cause in the log."""
        self._all: set[OpenSession] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[OpenSession]:
        return iter(tuple(self._all))

    def time_of(self, uid: int) -> TimeShare:
        """Return an account's share of the loop's time."""
        return self.time.of(f"uid {uid}")

    def add(self, session: OpenSession) -> None:
        """Add a session whose connection is up."""
        self._all.add(session)

    def discard(self, session: OpenSession) -> None:
        """Remove a session whose connection is gone."""
        self._all.discard(session)

    def announce_shutdown(self, grace: float) -> None:
        """Tell all clients that the service will stop in `grace` seconds."""
        for session in self:
            session.announce_shutdown(grace)

    async def finish(self, grace: float) -> None:
        """Let all clients receive their final messages, then close. Abort connections that need more than `grace`
        seconds.

        All runs must have ended before this is called.
        """
        for session in self:
            session.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(session.gone.wait() for session in self))
        for session in self:
            session.abort()

    async def abort(self) -> None:
        """Close all connections without sending anything more, and wait until they are gone."""
        sessions = tuple(self)
        for session in sessions:
            session.abort()
        for session in sessions:
            await session.gone.wait()


class SessionContext(AdmissionContext, LoginContext, Protocol):
    """What a session needs from the core."""

    @property
    def sessions(self) -> OpenSessions:
        """All sessions of the core."""

    def status(self, who: Principal) -> m.ServiceStatus:
        """Return the state of the service itself, with the shares that `who` may see."""
