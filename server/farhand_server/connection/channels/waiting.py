"""Waits for a match in a run's output, for silence, or for the run's end, without attaching to the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_server.runs.attachments.attachments import BadOffset
from farhand_server.runs.output.spool import ReadableSpool
from farhand_server.runs.plan import RunResult
from farhand_server.runs.run import AnyRun, LiveRun

from .handler import ChannelOutlet, QueryChannel
from .pattern import SEARCH_OVERLAP, Pattern
from .searches import searches

MAX_WAITS: Final = 64
"""Waits on one connection: enough for a script that watches many runs. `searches` bounds what all patterns of one
account use."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A part of a stream from offset `first` on. The other fields are the arguments of `Pattern.search`."""

    first: int
    before: bytes | None
    text: bytes
    last: bool


class WaitChannel(QueryChannel):
    """Answers a `wait_for` of the account `user`. `count` is called when the wait begins, and what it returns when the
    wait is over.

    The constructor raises `BadPattern`, `BadOffset` and `TooManyPatterns`.
    """

    def __init__(
        self,
        outlet: ChannelOutlet,
        number: int,
        run: AnyRun,
        request: m.WaitFor,
        *,
        user: str,
        count: Callable[[], Callable[[], None]] = lambda: lambda: None,
    ) -> None:
        super().__init__(outlet, number)
        self._user = user
        self._count = count
        self._uncount: Callable[[], None] | None = None
        self._run = run
        self._request = request
        self._spool: ReadableSpool = run.spool(request.stream)
        if request.offset > self._spool.end:
            raise BadOffset(
                f"{request.stream} of run {request.id} has {self._spool.end} bytes, so waiting cannot start at offset "
                f"{request.offset}"
            )
        self._pattern: Pattern | None = None
        if request.pattern is not None:
            pattern = Pattern(request.pattern)
            searches().add_pattern(user, pattern.memory)
            self._pattern = pattern
        self._from = request.offset
        self._searched = -1
        self._to_the_end = False
        self._run_over = run.result is not None
        self._new_output = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._uncount = self._count()
        self._spool.listeners.append(self._new_output.set)
        if isinstance(self._run, LiveRun):
            self._run.attachments.bystanders.append(self)
        self._task = asyncio.create_task(self._wait(), name=f"wait for run {self._request.id}")

    def finish(self) -> None:
        super().finish()
        if self._pattern is not None:
            searches().remove_pattern(self._user, self._pattern.memory)
            self._pattern = None
        if self._uncount is not None:
            self._uncount()
        if self._new_output.set in self._spool.listeners:
            self._spool.listeners.remove(self._new_output.set)
        if isinstance(self._run, LiveRun) and self in self._run.attachments.bystanders:
            self._run.attachments.bystanders.remove(self)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _wait(self) -> None:
        try:
            self.answer(await self._first())
        except OSError as error:
            sentence = f"the output cannot be read from disk: {error.strerror}"
            self.answer(m.Error(code=ErrorCode.UNAVAILABLE, message=sentence))
        except Exception:
            self.answer(m.Error(code=ErrorCode.INTERNAL, message="the service failed to wait; its log says why"))
            raise

    async def _first(self) -> m.Matched:
        try:
            async with asyncio.timeout(self._request.timeout):
                return await self._match_or_end()
        except TimeoutError:
            return self._without_match("timeout")

    async def _match_or_end(self) -> m.Matched:
        idle = self._request.idle
        began = time.monotonic()
        while True:
            self._new_output.clear()
            if self._pattern is not None and self._unsearched:
                found = await self._search(self._pattern)
                if found is not None:
                    return m.Matched(reason="pattern", start=found[0], end=found[1])
            elif self._run_over:
                return self._without_match("ended")
            elif idle is None:
                await self._new_output.wait()
            else:
                silent = time.monotonic() - max(began, self._spool.touched)
                if silent >= idle:
                    return self._without_match("idle")
                try:
                    async with asyncio.timeout(idle - silent):
                        await self._new_output.wait()
                except TimeoutError:
                    continue

    @property
    def _unsearched(self) -> bool:
        return self._searched < self._spool.end or (self._spool.ended and not self._to_the_end)

    async def _search(self, pattern: Pattern) -> tuple[int, int] | None:
        """Search the next chunk, together with the end of the previous chunk, where a match may have begun."""
        chunk, found = await searches().search(
            self._user, partial(self._next_chunk, pattern), partial(_search_chunk, pattern)
        )
        if found is not None:
            return chunk.first + found[0], chunk.first + found[1]
        end = chunk.first + len(chunk.text)
        self._searched, self._to_the_end = end, chunk.last
        self._from = max(chunk.first, end - SEARCH_OVERLAP)
        return None

    def _next_chunk(self, pattern: Pattern) -> _Chunk:
        spool = self._spool
        first = max(self._from, spool.start)
        end = min(spool.end, max(self._searched, first) + pattern.chunk)
        before = b"" if first == 0 else _read(spool, first - 1, first) if first > spool.start else None
        return _Chunk(first, before, _read(spool, first, end), last=spool.ended and end == spool.end)

    def _without_match(self, reason: Literal["idle", "ended", "timeout"]) -> m.Matched:
        return m.Matched(reason=reason, start=self._spool.end, end=self._spool.end)

    # Watcher

    def ended(self, result: RunResult) -> None:
        self._run_over = True
        self._new_output.set()


def _search_chunk(pattern: Pattern, chunk: _Chunk) -> tuple[_Chunk, tuple[int, int] | None]:
    return chunk, pattern.search(chunk.before, chunk.text, last=chunk.last)


def _read(spool: ReadableSpool, first: int, end: int) -> bytes:
    """Return all bytes between two offsets. It takes several reads, because one read stops where a ring wraps
    around."""
    chunks = []
    while first < end:
        chunks.append(spool.read(first, end - first))
        first += len(chunks[-1])
    return b"".join(chunks)
