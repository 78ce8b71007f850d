"""The connections that the helper keeps: made when a command offers one, closed when nobody has used it for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from farhand_client.errors import FarhandError
from farhand_client.mux.request import ConnectionRequest
from farhand_protocol.limits import Limits

from .dial import dial
from .proof import ConnectionProof
from .upstream import Upstream

MAX_CONNECTIONS: Final = 32
"""Connections kept at once. Each costs this process about 150 KiB, and the service 32. Of those that nobody uses the
one that was used least recently is closed for a new one; if all are in use, no further one is kept."""

MAX_LENT_TIME: Final = 60.0
"""Seconds for which a connection is lent. The service looks at `authorized_keys` when somebody logs in: this is the
most for which a key starts commands after it was removed there, however often they come. One login in a minute is
not noticed."""

DIAL_AGAIN_AFTER: Final = 10.0
"""Seconds after an attempt to connect that failed until the next one for the same request: commands may come a hundred
times a second, and a service bars those whose logins fail."""

MAX_REMEMBERED_FAILURES: Final = 64
"""Failed attempts that are remembered: twice the connections; a forgotten one costs an attempt."""


class KeptConnection(NamedTuple):
    """A connection that is ready."""

    request: ConnectionRequest
    target: str
    user: str
    upstream: Upstream
    proof: ConnectionProof
    introduction: bytes
    """The frames with which a caller's connection begins."""
    since: float
    """Seconds since the epoch."""
    lent_until: float
    """A time of the loop."""


class ConnectionPool:
    """Keeps connections by what was asked for. `idle_time` is in seconds; `changed` is called when one has gone."""

    def __init__(self, idle_time: float, changed: Callable[[], None]) -> None:
        self.idle_time: Final = idle_time
        self._changed = changed
        self._kept: dict[bytes, KeptConnection] = {}
        self._retired: set[Upstream] = set()
        self._dialling: dict[bytes, asyncio.Task[None]] = {}
        self._failed: dict[bytes, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[KeptConnection]:
        return iter(list(self._kept.values()))

    @property
    def dialling(self) -> int:
        """How many connections are being made."""
        return len(self._dialling)

    def find(self, request: ConnectionRequest) -> KeptConnection | None:
        """Return a connection that can be used for `request`, whose agent is still to be asked; None if there is none.

        One that may not be used any more is retired.
        """
        kept = self._kept.get(request.key)
        if kept is None:
            return None
        if not kept.proof.files or asyncio.get_running_loop().time() >= kept.lent_until:
            self.retire(kept)
            return None
        return kept if kept.upstream.usable else None

    def retire(self, kept: KeptConnection) -> None:
        """Let nobody else use a connection. Those who do may finish."""
        if self._kept.get(kept.request.key) is kept:
            del self._kept[kept.request.key]
        if not kept.upstream.lost:
            self._retired.add(kept.upstream)
            kept.upstream.retire()

    def offer(self, request: ConnectionRequest) -> None:
        """Connect as `request` says, in the background, unless there is such a connection or it has just failed."""
        key, now = request.key, asyncio.get_running_loop().time()
        kept = self._kept.get(key)
        if kept is not None and (not kept.proof.files or kept.upstream.retired):
            self.retire(kept)
            kept = None
        if kept is not None or key in self._dialling or self._failed.get(key, now) > now:
            return
        if len(self._kept) + len(self._dialling) >= MAX_CONNECTIONS and not self._make_room():
            return
        task = self._dialling[key] = asyncio.get_running_loop().create_task(self._dial(request))
        task.add_done_callback(lambda _: self._dialled(key))  # also if it is cancelled before it begins

    def close(self) -> None:
        """Close everything; callers connect by themselves."""
        for task in self._dialling.values():
            task.cancel()
        for kept in self:
            kept.upstream.close()
        for upstream in list(self._retired):
            upstream.close()
        if self._timer is not None:
            self._timer.cancel()

    def retire_all(self) -> None:
        """Close what nobody uses, and the rest when its callers leave."""
        for task in self._dialling.values():
            task.cancel()
        for kept in self:
            self.retire(kept)

    async def _dial(self, request: ConnectionRequest) -> None:
        loop = asyncio.get_running_loop()
        try:
            dialled = await dial(request)
            limits = dialled.login.session.connection.peer_limits
            assert limits is not None
            accepted = Limits(message=limits.message, data=limits.data, window=limits.window, channels=limits.channels)
            upstream = Upstream(accepted, self._gone)
            upstream.take(dialled.login.session.hand_over(upstream))
        except (FarhandError, OSError, ValueError):
            if len(self._failed) >= MAX_REMEMBERED_FAILURES:
                del self._failed[next(iter(self._failed))]
            self._failed[request.key] = loop.time() + DIAL_AGAIN_AFTER
            return
        accepted_as = dialled.login.accepted
        self._kept[request.key] = KeptConnection(
            request,
            dialled.login.session.name,
            accepted_as.user,
            upstream,
            dialled.proof,
            dialled.introduction,
            time.time(),
            loop.time() + MAX_LENT_TIME,
        )
        self._failed.pop(request.key, None)
        self._schedule()

    def _dialled(self, key: bytes) -> None:
        self._dialling.pop(key, None)
        self._changed()

    def _make_room(self) -> bool:
        idle = [kept for kept in self if not kept.upstream.callers]
        if not idle:
            return False
        self.retire(min(idle, key=lambda kept: kept.upstream.idle_since))
        return True

    def _gone(self, upstream: Upstream) -> None:
        self._retired.discard(upstream)
        for kept in self:
            if kept.upstream is upstream:
                del self._kept[kept.request.key]
        self._changed()

    def _schedule(self) -> None:
        if self._timer is None and self._kept:
            self._timer = asyncio.get_running_loop().call_later(self.idle_time, self._close_idle)

    def _close_idle(self) -> None:
        # Up to twice the time may pass until one is closed; a timer for each would be moved with every command.
        self._timer = None
        long_ago = asyncio.get_running_loop().time() - self.idle_time
        for kept in self:
            if not kept.upstream.callers and kept.upstream.idle_since <= long_ago:
                self.retire(kept)
        self._schedule()
