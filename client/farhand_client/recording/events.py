"""Recorded events: output, input, sizes and gaps in order, each with its time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from farhand_client.client import Client
from farhand_client.errors import RunGoesOn
from farhand_client.output import Gap, Output
from farhand_protocol.limits import KiB
from farhand_protocol.messages import RunInfo
from farhand_protocol.messages.terminal import OutputMark

MAX_EVENT_SIZE: Final = 64 * KiB
"""The maximum number of bytes in one event."""


class OutputEvent(NamedTuple):
    """The program wrote `data`. As in all events, `at` is in seconds and never less than in the event before."""

    at: float
    stream: Output
    data: bytes


class InputEvent(NamedTuple):
    """`data` was sent to the program; `cut` says that more was sent, which is not recorded."""

    at: float
    data: bytes
    cut: bool


class ResizeEvent(NamedTuple):
    """The terminal has this size from now on."""

    at: float
    columns: int
    rows: int


class GapEvent(NamedTuple):
    """Output that was here is no longer available."""

    at: float
    gap: Gap


RecordedEvent: TypeAlias = OutputEvent | InputEvent | ResizeEvent | GapEvent


class OutputNeeded(NamedTuple):
    """Not an event: up to `size` bytes of `stream` are needed to continue. Pass them to `RecordedEvents.feed`."""

    stream: Output
    size: int


class RecordedEvents:
    """The events of a run, without I/O: iterate, and after an `OutputNeeded` call `feed` before continuing.

    `marks` are those of the run, requested before its output. Each of `streams` has to be fed from its first byte on.
    Output without a mark came after everything that has one. Output that is no longer available takes no time: if it
    includes the run's first bytes, the recording starts at the first available ones, `origin` seconds into the run.
    """

    def __init__(self, marks: Iterable[OutputMark], streams: Iterable[Output]) -> None:
        self.origin = 0.0
        self._marks = marks
        self._streams = {stream: _StreamProgress() for stream in streams}
        self._start_lost = False
        self._started = False

    def feed(self, stream: Output, data: bytes) -> None:
        """Supply the next bytes of a stream, after the gaps reported so far; b"" at its end."""
        state = self._streams[stream]
        state.fed = data
        state.ended = not data

    def add_gap(self, gap: Gap) -> None:
        """Report that bytes are missing before those fed next."""
        self._streams[gap.stream].gaps.append(gap)

    def __iter__(self) -> Iterator[RecordedEvent | OutputNeeded]:
        at = 0.0
        for mark in self._marks:
            at = max(at, mark.at / 1000)
            if mark.size is not None:
                yield ResizeEvent(self._time(at), mark.size.columns, mark.size.rows)
            if mark.stdin is not None:
                yield InputEvent(self._time(at), mark.stdin, bool(mark.cut))
            yield from self._output_until("stdout", mark.stdout or 0, at)
            yield from self._output_until("stderr", mark.stderr or 0, at)
        for stream in self._streams:
            yield from self._output_until(stream, math.inf, at)

    def _output_until(self, stream: Output, end: float, at: float) -> Iterator[RecordedEvent | OutputNeeded]:
        state = self._streams.get(stream)
        while state is not None and state.offset < end:
            if state.gaps:
                gap = state.gaps.popleft()
                state.offset = gap.offset + gap.bytes
                self._start_lost = self._start_lost or not self._started
                yield GapEvent(self._time(at), gap)
            elif state.fed:
                data = state.take(min(MAX_EVENT_SIZE, end - state.offset))
                if not self._started:
                    self._started = True
                    self.origin = at if self._start_lost else 0.0
                yield OutputEvent(self._time(at), stream, data)
            elif state.ended:
                return
            else:
                yield OutputNeeded(stream, int(min(MAX_EVENT_SIZE, end - state.offset)))

    def _time(self, at: float) -> float:
        if self._start_lost and not self._started:
            return 0.0
        return at - self.origin


class _StreamProgress:
    """How far one stream has been read, and what was fed of it."""

    def __init__(self) -> None:
        self.offset = 0
        self.fed = b""
        self.gaps: deque[Gap] = deque()
        self.ended = False

    def take(self, size: float) -> bytes:
        """Return up to `size` of the bytes fed, and advance."""
        data, self.fed = self.fed[: int(size)], self.fed[int(size) :]
        self.offset += len(data)
        return data


class RecordingReader:
    """Reads the recording of the run `info` from the service, up to now. It can be read once."""

    def __init__(self, client: Client, info: RunInfo) -> None:
        self.info = info
        self.still_running = False
        """Whether the run continues after the end of the recording; known once `events` has ended."""
        self._client = client
        self._events: RecordedEvents | None = None

    @property
    def origin(self) -> float:
        """Seconds from the run's start to the start of the recording; known after the first output."""
        return self._events.origin if self._events is not None else 0.0

    async def events(self) -> AsyncGenerator[RecordedEvent, None]:
        """Yield all events in order, requesting output as needed.

        Use `contextlib.aclosing` if the generator may not be exhausted. Raises `RequestRefused` (`code` is `expired`,
        `unknown_run` or `denied`), `SpawnError` if the run could not be started, and `ConnectionLost`.
        """
        marks = await self._client.recording(self.info.id)
        separate = self.info.terminal is None
        streams: tuple[Output, ...] = ("stdout", "stderr") if separate else ("stdout",)
        self._events = events = RecordedEvents(marks, streams)
        offset = (0, 0 if separate else None)
        attaching = self._client.attach(
            self.info.id, offset=offset, follow=False, read_only=True, on_gap=events.add_gap
        )
        async with attaching as run:
            sources = {"stdout": run.stdout, "stderr": run.stderr}
            for event in events:
                if not isinstance(event, OutputNeeded):
                    yield event
                    continue
                source = sources[event.stream]
                events.feed(event.stream, b"" if source is None else await source.read(event.size))
            self.still_running = True
            with suppress(RunGoesOn):
                await run.wait()
                self.still_running = False


class NewlineTranslator:
    """Converts output made without a terminal for one: LF becomes CR LF, as a terminal driver does (termios(3), ONLCR),
    unless it already follows a CR."""

    def __init__(self) -> None:
        self._after_return = False

    def translate(self, data: bytes) -> bytes:
        """Return the next bytes of output, converted."""
        if not data:
            return data
        begin = 1 if self._after_return and data.startswith(b"\n") else 0
        self._after_return = data.endswith(b"\r")
        return data[:begin] + data[begin:].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
