"""Reads a recording from the service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress

from farhand_client.client import Client
from farhand_client.errors import RunGoesOn
from farhand_client.output import Output
from farhand_protocol.messages import RunInfo

from .events import Event, Events, Wanted


class Recording:
    """What the run `info` tells of has written until now, and when. It is read once."""

    def __init__(self, client: Client, info: RunInfo) -> None:
        self.info = info
        self.goes_on = False
        """Whether there was more to come where it ended; known at its end."""
        self._client = client
        self._events: Events | None = None

    @property
    def origin(self) -> float:
        """Seconds after the run's start at which it begins; known once output has come."""
        return self._events.origin if self._events is not None else 0.0

    async def events(self) -> AsyncGenerator[Event, None]:
        """Give everything in order, as it is asked for. Close the generator (`contextlib.aclosing`) where it is left.

        Raises `RequestRefused` (`code` is `expired`, `unknown_run`, `denied`), `SpawnError` where the run never began,
        `ConnectionLost`.
        """
        marks = await self._client.recording(self.info.id)
        separate = self.info.terminal is None
        streams: tuple[Output, ...] = ("stdout", "stderr") if separate else ("stdout",)
        self._events = events = Events(marks, streams)
        offset = (0, 0 if separate else None)
        attaching = self._client.attach(self.info.id, offset=offset, follow=False, read_only=True, on_gap=events.gap)
        async with attaching as run:
            sources = {"stdout": run.stdout, "stderr": run.stderr}
            for event in events:
                if not isinstance(event, Wanted):
                    yield event
                    continue
                source = sources[event.stream]
                events.fed(event.stream, b"" if source is None else await source.read(event.size))
            self.goes_on = True
            with suppress(RunGoesOn):
                await run.wait()
                self.goes_on = False
