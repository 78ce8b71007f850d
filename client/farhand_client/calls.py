"""Requests with one answer: lists of runs, a signal by id, a recording, a wait for something in a run's output.

Each opens a channel of its own and is sent again after an outage, except a signal, which must not be delivered twice.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Container
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import SERVICE_STATUS
from farhand_protocol.sentences import printable

from .arguments import as_choice, as_count, as_id_prefix, as_pattern, as_seconds
from .errors import AmbiguousId, ConnectionLost, FarhandError, RequestRefused
from .ids import checked_id, is_run_id
from .options import DEFAULT_KILL_AFTER
from .results import Result

if TYPE_CHECKING:
    from .connection.reconnecting import ReconnectingConnection
    from .connection.session import ClientSession

MAX_CANDIDATES: Final = 10
"""The most ids that an `AmbiguousId` lists: few enough to fit on a screen below what was typed."""


MAX_ALL_RUNS: Final = 110_000
"""Runs in all pages of a listing, about 300 MB: a tenth more than a service remembers by default. A hostile one could
go on for ever."""

MAX_RECORDED_MARKS: Final = 200_000
"""Marks of one recording. A service stores 65,536 of the output and as many of what was typed, and 4,096 of sizes."""

MAX_RECORDED_TYPING: Final = 4 << 20
"""Bytes typed in one recording. A service stores 1 MiB."""


class _Call:
    """The endpoint of one request on one session. `answered` resolves to all messages of the answer."""

    def __init__(self, session: ClientSession, opening: m.Message, run_id: str | None) -> None:
        self.number = 0
        self.answered: Final[asyncio.Future[list[m.AnyMessage]]] = asyncio.get_running_loop().create_future()
        self._answers: list[m.AnyMessage] = []
        self._run_id = run_id
        self._room = opening.limit if isinstance(opening, m.List) else MAX_RECORDED_MARKS
        self._typed_room = MAX_RECORDED_TYPING
        session.open_channel(self, opening)

    # Implements ChannelEndpoint.

    def received(self, message: m.AnyMessage) -> None:
        """Collect the answer."""
        if self.answered.done():
            return
        if isinstance(message, m.Error):
            self.answered.set_exception(RequestRefused(message.code, message.message, run_id=self._run_id))
            return
        if isinstance(message, m.Runs):
            self._room -= len(message.runs)
            if self._room < 0 or not message.runs:  # it could go on for ever
                self.answered.set_exception(FarhandError("the service sends more runs than it was asked for"))
                return
        if isinstance(message, m.OutputMarks):
            self._room -= max(1, len(message.marks))  # without any it could go on for ever, too
            self._typed_room -= sum(len(mark.stdin or b"") for mark in message.marks)
            if self._room < 0 or self._typed_room < 0:
                self.answered.set_exception(FarhandError("the service sends a longer recording than any service makes"))
                return
        self._answers.append(message)
        if isinstance(message, m.Done | m.Matched | m.ServiceStatus):
            self.answered.set_result(self._answers)

    def received_data(self, stream: m.Stream, data: bytes) -> None:
        """Do nothing: the protocol allows no data on such a channel."""

    def pump(self) -> None:
        """Do nothing: only the request is sent."""

    def lost(self, why: FarhandError) -> None:
        """Fail the request."""
        if not self.answered.done():
            self.answered.set_exception(ConnectionLost(str(why)))


async def _ask(
    connection: ReconnectingConnection, request: Callable[[], m.Message], run_id: str | None = None
) -> list[m.AnyMessage]:
    """Send the message that `request` returns, and return the answer. After an outage, do both again."""
    while True:
        try:
            return await _ask_once(connection, request(), run_id)
        except ConnectionLost:
            await connection.connected_session()


async def _ask_once(connection: ReconnectingConnection, request: m.Message, run_id: str | None) -> list[m.AnyMessage]:
    session = await connection.connected_session()
    call = _Call(session, request, run_id)
    try:
        return await call.answered
    finally:
        session.close_channel(call)


async def list_runs(
    connection: ReconnectingConnection, *, ended: bool, prefix: str, limit: int | None = None
) -> list[m.RunInfo]:
    """Return the runs whose id begins with `prefix`, newest first, at most `limit` of them. Raises as `Client.runs`."""
    if prefix != "":
        prefix = as_id_prefix(prefix, "prefix")
    ended = bool(ended)
    found: dict[str, m.RunInfo] = {}
    while True:
        page_size = m.MAX_LISTED if limit is None else min(limit - len(found), m.MAX_LISTED)
        before = next(reversed(found), None)
        answers = await _ask(connection, partial(m.List, ended=ended, prefix=prefix, before=before, limit=page_size))
        page = [run for answer in answers if isinstance(answer, m.Runs) for run in answer.runs]
        known = len(found)
        found |= {run.id: run for run in page}
        # Without anything new the service would never come to an end.
        if len(page) < page_size or len(found) in (known, limit):
            return list(found.values())
        if len(found) > MAX_ALL_RUNS:
            raise FarhandError(
                f"the service lists more than {MAX_ALL_RUNS} runs; ask for ids that begin with something"
            )


async def full_id(connection: ReconnectingConnection, text: str) -> str:
    """Return the id of the only run whose id begins with `text`. Raises as `run_info`."""
    text = as_id_prefix(text)
    return text if is_run_id(text) else (await run_info(connection, text)).id


async def run_info(connection: ReconnectingConnection, text: str) -> m.RunInfo:
    """Return what is known of the only run whose id begins with `text`.

    Raises `AmbiguousId`, `RequestRefused` with the code `unknown_run`, and ValueError if no id can begin with `text`.
    """
    found = await list_runs(connection, ended=True, prefix=as_id_prefix(text), limit=MAX_CANDIDATES)
    if not found:
        raise RequestRefused(
            ErrorCode.UNKNOWN_RUN, f"{connection.name} has no run of yours whose id begins with {text}"
        )
    if len(found) > 1:
        candidates = "\n".join(f"  {run.id}  {printable(run.command)}" for run in found)
        more = "\n  …" if len(found) == MAX_CANDIDATES else ""
        text = f"several run ids begin with {text}; write more of it:\n{candidates}{more}"
        raise AmbiguousId(text, candidates=tuple(run.id for run in found))
    return found[0]


async def recording(connection: ReconnectingConnection, run_id: str) -> list[m.OutputMark]:
    """Return all marks of a run's recording. Raises as `Client.recording`."""
    answers = await _ask(connection, partial(m.RecordingRequest, id=checked_id(run_id)), run_id)
    return [mark for answer in answers if isinstance(answer, m.OutputMarks) for mark in answer.marks]


async def deliver_signal(connection: ReconnectingConnection, run_id: str, number: int) -> None:
    """Send a signal to the process group of a run, once. Raises as `Client.signal`."""
    await connection.connected_session()
    try:
        await _ask_once(connection, m.Deliver(id=checked_id(run_id), number=number), run_id)
    except ConnectionLost as error:
        text = f"{error}; whether signal {number} reached run {run_id} is unknown, so it was not sent again"
        raise ConnectionLost(text, run_id=run_id) from error.__cause__


async def stop_left_processes(connection: ReconnectingConnection, result: Result, kill_after: float | None) -> Result:
    """Stop the processes that a run has left running, if any of them is alive, and return the result with them stopped.

    Raises `ConnectionLost` and `RequestRefused`.
    """
    left = result.left_processes
    if left is None or left.stopped:
        return result
    grace = DEFAULT_KILL_AFTER if kill_after is None else kill_after
    stop = m.Deliver(id=checked_id(result.run_id), number=signal.SIGTERM, kill_after=grace)
    try:
        await _ask(connection, lambda: stop, result.run_id)
    except RequestRefused as error:
        if error.code is not ErrorCode.RUN_ENDED:
            raise
        return result  # they have ended already, or the service that knew them
    return replace(result, left_processes=left.model_copy(update={"stopped": True, "pids": ()}))


async def wait_for(
    connection: ReconnectingConnection,
    run_id: str,
    *,
    pattern: bytes | str | None,
    stream: m.Output,
    offset: int,
    idle: float | None,
    timeout: float | None,
) -> m.Matched:
    """Have the service wait; an outage counts towards `timeout`. Raises as `Client.wait_for`."""
    connection.check_home()
    loop = asyncio.get_running_loop()
    timeout = as_seconds(timeout, "timeout", positive=False)
    deadline = None if timeout is None else loop.time() + timeout
    first = m.WaitFor(
        id=checked_id(run_id),
        stream=as_choice(stream, "stream", ("stdout", "stderr")),
        offset=as_count(offset, "offset"),
        pattern=as_pattern(pattern),
        idle=as_seconds(idle, "idle", positive=True),
    )

    def request() -> m.WaitFor:
        return first.model_copy(update={"timeout": None if deadline is None else max(deadline - loop.time(), 0.001)})

    (matched,) = await _ask(connection, request, run_id)
    assert isinstance(matched, m.Matched)
    return matched


async def service_status(
    connection: ReconnectingConnection, features: Container[str], software: str
) -> m.ServiceStatus:
    """Return the state of the service itself, if it is among its `features`. Raises as `Client.status`."""
    connection.check_home()
    if SERVICE_STATUS not in features:
        text = f"{connection.name} runs {software}, which is too old to be asked for its status"
        raise RequestRefused(ErrorCode.UNKNOWN_MESSAGE, text)
    (status,) = await _ask(connection, m.StatusRequest)
    assert isinstance(status, m.ServiceStatus)
    return status
