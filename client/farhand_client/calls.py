"""Requests that are answered and then over: what runs, a signal by id, a wait for something in a run's output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode

from .errors import AmbiguousId, ConnectionLost, FarhandError, RequestRefused
from .ids import checked_id, checked_prefix, is_run_id

if TYPE_CHECKING:
    from .connection.reconnecting import ReconnectingConnection
    from .connection.session import ClientSession

MAX_CANDIDATES: Final = 10
"""Ids that are named where a short one fits several: as many as fit on a screen beside what was typed."""


class _Call:
    """The endpoint of one request on one connection. `answers` are what came before the last message."""

    def __init__(self, session: ClientSession, opening: m.Message, run_id: str | None) -> None:
        self.number = 0
        self.answered: Final[asyncio.Future[list[m.AnyMessage]]] = asyncio.get_running_loop().create_future()
        self._answers: list[m.AnyMessage] = []
        self._run_id = run_id
        session.open(self, opening)

    def received(self, message: m.AnyMessage) -> None:
        """Endpoint."""
        if self.answered.done():
            return
        if isinstance(message, m.Error):
            self.answered.set_exception(RequestRefused(message.code, message.message, run_id=self._run_id))
            return
        self._answers.append(message)
        if isinstance(message, m.Done | m.Matched):
            self.answered.set_result(self._answers)

    def received_data(self, stream: m.Stream, data: bytes) -> None:
        """Endpoint. No data belong to such a channel, and the connection lets none through."""

    def pump(self) -> None:
        """Endpoint. Nothing but the request is sent."""

    def lost(self, why: FarhandError) -> None:
        """Endpoint."""
        if not self.answered.done():
            self.answered.set_exception(ConnectionLost(str(why)))


async def _ask(
    line: ReconnectingConnection, request: Callable[[], m.Message], run_id: str | None = None
) -> list[m.AnyMessage]:
    """Return the answers to what `request` makes, asked again where the connection is lost meanwhile."""
    while True:
        try:
            return await _ask_once(line, request(), run_id)
        except ConnectionLost:
            await line.up()


async def _ask_once(line: ReconnectingConnection, request: m.Message, run_id: str | None) -> list[m.AnyMessage]:
    session = await line.up()
    call = _Call(session, request, run_id)
    try:
        return await call.answered
    finally:
        session.close_channel(call)


async def list_runs(
    line: ReconnectingConnection, *, ended: bool, prefix: str, most: int | None = None
) -> list[m.RunInfo]:
    """Return the runs whose id begins with `prefix`, the newest first, `most` at the most."""
    if prefix:
        checked_prefix(prefix)
    found: list[m.RunInfo] = []
    while True:
        limit = m.MAX_LISTED if most is None else min(most - len(found), m.MAX_LISTED)
        before = found[-1].id if found else None
        answers = await _ask(line, partial(m.List, ended=ended, prefix=prefix, before=before, limit=limit))
        page = [run for answer in answers if isinstance(answer, m.Runs) for run in answer.runs]
        found += page
        if len(page) < limit or len(found) == most:
            return found


async def full_id(line: ReconnectingConnection, text: str) -> str:
    """Return the id of the one run whose id begins with `text`. Raises what `run_info` does."""
    return text if is_run_id(text) else (await run_info(line, text)).id


async def run_info(line: ReconnectingConnection, text: str) -> m.RunInfo:
    """Return what is known of the one run whose id begins with `text`.

    Raises `AmbiguousId`, `RequestRefused` with the code `unknown_run`, and ValueError for what no id begins with.
    """
    found = await list_runs(line, ended=True, prefix=checked_prefix(text), most=MAX_CANDIDATES)
    if not found:
        raise RequestRefused(ErrorCode.UNKNOWN_RUN, f"{line.name} knows no run of yours whose id begins with {text}")
    if len(found) > 1:
        named = "\n".join(f"  {run.id}  {run.command}" for run in found)
        more = "\n  …" if len(found) == MAX_CANDIDATES else ""
        text = f"the ids of several runs begin with {text}; give more of the one that is meant:\n{named}{more}"
        raise AmbiguousId(text, candidates=tuple(run.id for run in found))
    return found[0]


async def recording(line: ReconnectingConnection, run_id: str) -> list[m.OutputMark]:
    """Return all marks of a run."""
    answers = await _ask(line, partial(m.RecordingRequest, id=checked_id(run_id)), run_id)
    return [mark for answer in answers if isinstance(answer, m.OutputMarks) for mark in answer.marks]


async def deliver_signal(line: ReconnectingConnection, run_id: str, number: int) -> None:
    """Send a signal to the process group of a run, once."""
    await line.up()
    try:
        await _ask_once(line, m.Deliver(id=checked_id(run_id), number=number), run_id)
    except ConnectionLost as error:
        text = f"{error}; it is not known whether signal {number} reached run {run_id}, so it was not sent again"
        raise ConnectionLost(text, run_id=run_id) from error.__cause__


async def wait_for(
    line: ReconnectingConnection,
    run_id: str,
    *,
    pattern: bytes | str | None,
    stream: m.Output,
    offset: int,
    idle: float | None,
    timeout: float | None,
) -> m.Matched:
    """Have the service wait; a connection that is lost meanwhile counts towards `timeout`."""
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout

    def request() -> m.WaitFor:
        left = None if deadline is None else max(deadline - loop.time(), 0.001)
        text = pattern.encode() if isinstance(pattern, str) else pattern
        return m.WaitFor(id=checked_id(run_id), stream=stream, offset=offset, pattern=text, idle=idle, timeout=left)

    request()  # what is wrong with it is said before anything is waited for
    (matched,) = await _ask(line, request, run_id)
    assert isinstance(matched, m.Matched)
    return matched
