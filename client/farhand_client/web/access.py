"""Who may use the page: whoever opens a URL that works once, an invitation, gets a cookie, and with it a session.

Has no clock of its own: the time, in seconds, comes in as an argument.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

SECRET_SIZE: Final = 32
"""Random bytes in an invitation and in a cookie: nobody guesses 256 bits, so attempts need not be counted."""

INVITATION_TIME: Final = 600.0
"""Seconds for which an invitation may be opened. What a browser has recorded of it is then worth nothing."""

DEFAULT_IDLE_TIME: Final = 12 * 3600.0
"""Seconds without any use after which a session ends: a working day, and not the night after it."""

MAX_INVITATIONS: Final = 16
"""Invitations that nobody has opened yet; of more the oldest is forgotten. A person makes one for each browser."""

MAX_SESSIONS: Final = 64
"""Sessions at once: browsers and private windows of one user. Of more the one used least recently ends."""


class BrowserSession:
    """What one browser may do until it logs out, or is idle for too long."""

    def __init__(self, used_at: float) -> None:
        self.used_at = used_at
        """When it was used last."""
        self.closers: Final[dict[Callable[[], object], None]] = {}
        """Called when the session ends: they close its connections."""
        self.ended = False

    def used(self) -> None:
        """Note that somebody uses it now."""
        self.used_at = time.monotonic()

    def end(self) -> None:
        """End it at once. Safe to call again."""
        self.ended = True
        for closer in list(self.closers):
            closer()
        self.closers.clear()


class WebAccess:
    """The invitations and sessions of one page. `idle_time` is in seconds."""

    def __init__(self, idle_time: float = DEFAULT_IDLE_TIME) -> None:
        self.idle_time: Final = idle_time
        self._invitations: dict[str, float] = {}
        self._sessions: dict[str, BrowserSession] = {}

    def new_invitation(self, now: float) -> str:
        """Return the secret of another invitation."""
        while len(self._invitations) >= MAX_INVITATIONS:
            del self._invitations[next(iter(self._invitations))]
        secret = secrets.token_urlsafe(SECRET_SIZE)
        self._invitations[secret] = now + INVITATION_TIME
        return secret

    def accept_invitation(self, secret: str, now: float) -> str | None:
        """Return the cookie of a new session; None if there is no such invitation, or no more."""
        # A look-up by a 256-bit secret: how long it takes tells nothing that helps to find one.
        if self._invitations.pop(secret, now) <= now:
            return None
        while len(self._sessions) >= MAX_SESSIONS:
            oldest = min(self._sessions, key=lambda cookie: self._sessions[cookie].used_at)
            self._sessions.pop(oldest).end()
        cookie = secrets.token_urlsafe(SECRET_SIZE)
        self._sessions[cookie] = BrowserSession(now)
        return cookie

    def session(self, cookie: str, now: float) -> BrowserSession | None:
        """Return the session of a cookie, which is used now; None if there is none, or if it was idle for too long."""
        session = self._sessions.get(cookie)
        if session is None or session.ended or now - session.used_at >= self.idle_time:
            if session is not None:
                del self._sessions[cookie]
                session.end()
            return None
        session.used_at = now
        return session

    def end_idle(self, now: float) -> float | None:
        """End the sessions that were idle for too long. Return when to look again; None if there are none."""
        for cookie, session in list(self._sessions.items()):
            if session.ended or now - session.used_at >= self.idle_time:
                del self._sessions[cookie]
                session.end()
        return min((session.used_at + self.idle_time for session in self._sessions.values()), default=None)

    def end_all(self) -> None:
        """End all sessions and forget all invitations."""
        self._invitations.clear()
        for session in self._sessions.values():
            session.end()
        self._sessions.clear()
