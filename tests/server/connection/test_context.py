"""All sessions of a core are closed together: finished ones at once, the others after a grace period."""

from __future__ import annotations

import asyncio

from farhand_server.connection.context import OpenSessions
from tests.support.clock import virtual_time


class Session:
    """A session that needs `seconds` to send its last messages; None means forever."""

    def __init__(self, sessions: OpenSessions, seconds: float | None = 0.0) -> None:
        self.gone = asyncio.Event()
        self.calls: list[str] = []
        self._sessions = sessions
        self._seconds = seconds
        sessions.add(self)

    def announce_shutdown(self, grace: float) -> None:
        self.calls.append(f"shutdown in {grace:g} s")

    def finish(self) -> None:
        self.calls.append("finish")
        if self._seconds is not None:
            asyncio.get_running_loop().call_later(self._seconds, self._close)

    def abort(self) -> None:
        self.calls.append("abort")
        asyncio.get_running_loop().call_soon(self._close)

    def _close(self) -> None:
        self._sessions.discard(self)
        self.gone.set()


@virtual_time
async def test_a_shutdown_is_announced_to_every_client() -> None:
    sessions = OpenSessions()
    both = [Session(sessions), Session(sessions)]
    sessions.announce_shutdown(10)
    assert [session.calls for session in both] == [["shutdown in 10 s"]] * 2


@virtual_time
async def test_clients_are_given_exactly_the_grace_period_for_their_last_messages() -> None:
    sessions = OpenSessions()
    quick, slow, stuck = Session(sessions), Session(sessions, 1.9), Session(sessions, None)
    start_time = asyncio.get_running_loop().time()
    await sessions.finish(2)
    assert asyncio.get_running_loop().time() - start_time == 2
    assert (quick.calls, slow.calls, stuck.calls) == (["finish"], ["finish"], ["finish", "abort"])


@virtual_time
async def test_the_grace_period_ends_early_once_all_clients_have_disconnected() -> None:
    sessions = OpenSessions()
    Session(sessions, 0.5)
    start_time = asyncio.get_running_loop().time()
    await sessions.finish(2)
    assert asyncio.get_running_loop().time() - start_time == 0.5
    assert len(sessions) == 0


@virtual_time
async def test_aborting_waits_until_all_connections_are_closed() -> None:
    sessions = OpenSessions()
    both = [Session(sessions, None), Session(sessions, None)]
    await sessions.abort()
    assert all(session.gone.is_set() for session in both)
    assert list(sessions) == []
