"""Between a run's streams and the files of this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

from farhand_client.errors import FarhandError
from farhand_client.output import Gap, OutputStream
from farhand_client.results import Result
from farhand_client.run import Run
from farhand_client.stdin import feed_until, read_chunks

from .main import say
from .show import LocalError, show
from .writer import Writer, writer


async def carried(run: Run, lines: JsonLines | None = None) -> Result:
    """Return once the run is over and all its output is written; where this client feeds it, it gets our stdin.

    With `lines` the output is told as JSON. Raises BrokenPipeError where nobody reads our stdout, `LocalError`, and
    what `Run.wait` does.
    """
    ending = _delivered(run) if lines is None else lines.of(run)
    if run.stdin is not None and not run.stdin.over and not run.stdin.is_closing():
        return await feed_until(run.stdin, _stdin(), ending)
    return await ending


async def _delivered(run: Run) -> Result:
    async with _together() as jobs:
        jobs.create_task(_deliver(run.stdout, writer(1), "stdout"))
        if run.stderr is not None:
            jobs.create_task(_deliver_stderr(run.stderr, writer(2)))
    return await run.wait()


class JsonLines:
    """Output as JSON: an object for each piece, with its offset, and for each gap. It begins at the arguments."""

    def __init__(self, stdout: int, stderr: int) -> None:
        self._at = {"stdout": stdout, "stderr": stderr}

    def gap(self, gap: Gap) -> None:
        """Tell what is missing."""
        tell({"stream": gap.stream, "offset": gap.offset, "gap": gap.bytes})
        self._at[gap.stream] = gap.offset + gap.bytes

    async def of(self, run: Run) -> Result:
        """Return once the run is over and all is told."""
        async with _together() as jobs:
            jobs.create_task(self._tell("stdout", run.stdout))
            if run.stderr is not None:
                jobs.create_task(self._tell("stderr", run.stderr))
        return await run.wait()

    async def _tell(self, name: str, stream: OutputStream) -> None:
        out = writer(1)
        with contextlib.suppress(FarhandError):  # as in `_deliver`
            async for chunk in stream:
                try:
                    data: object = chunk.decode()
                except UnicodeDecodeError:
                    data = {"base64": b64encode(chunk).decode()}
                line = json.dumps({"stream": name, "offset": self._at[name], "data": data})
                self._at[name] += len(chunk)
                await out.write([line.encode() + b"\n"])


def say_gap(gap: Gap) -> None:
    """Tell the user what is missing, on stderr."""
    say(str(gap))


def tell(values: dict[str, Any]) -> None:
    """Print one line of JSON."""
    show(json.dumps(values))


@contextlib.asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup that raises the first error by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _stdin() -> AsyncIterator[bytes]:
    try:
        async for chunk in read_chunks(0):
            yield chunk
    except OSError as error:
        raise LocalError(f"cannot read stdin: {error.strerror}") from None


async def _deliver(stream: OutputStream, out: Writer, name: str) -> None:
    while True:
        try:
            chunks = await stream.read_ready()
        except FarhandError:
            return  # `wait` raises it as well, once all that came is written
        if not chunks:
            return
        try:
            await out.write(chunks)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise LocalError(f"cannot write to {name}: {error.strerror}") from None


async def _deliver_stderr(stream: OutputStream, out: Writer) -> None:
    try:
        await _deliver(stream, out, "stderr")
    except BrokenPipeError:
        stream.discard()
