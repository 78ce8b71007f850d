"""Copies a run's stdout and stderr to this process's own, and its stdin to the run.

Writing never blocks the event loop: a pipe's reader may stop reading, and a terminal may be stopped by Ctrl-S.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from farhand_client.descriptors import DescriptorWriter, descriptor_writer
from farhand_client.errors import FarhandError

from .printing import LocalError, print_json, reason

if TYPE_CHECKING:
    from farhand_client.output import Gap, OutputStream
    from farhand_client.results import Result
    from farhand_client.run import Run


class StandardWriters:
    """Writers for this process's stdout and stderr. Making them raises `LocalError` if one cannot be written."""

    def __init__(self) -> None:
        self.stdout: Final = _writer(1, "stdout")
        self.stderr: Final = _writer(2, "stderr")


async def copy_streams(run: Run, output: StandardWriters | JsonOutput) -> Result:
    """Copy output until the run is over and everything is written; copy stdin to the run if this client feeds it.

    With `JsonOutput` it is printed as JSON. Raises BrokenPipeError if nobody reads stdout, `LocalError`, and what
    `Run.wait` raises.
    """
    result = output.copy(run) if isinstance(output, JsonOutput) else _copy_output(run, output)
    if run.stdin is not None and not run.stdin.over and not run.stdin.is_closing():
        from farhand_client.stdin import feed_until

        return await feed_until(run.stdin, _stdin(), result)
    return await result


class JsonOutput:
    """Prints output as JSON lines: one object for each chunk, with its offset, and one for each gap.

    `stdout` and `stderr` are the offsets, in bytes, at which the streams begin.
    """

    def __init__(self, stdout: int, stderr: int) -> None:
        self._offsets = {"stdout": stdout, "stderr": stderr}

    def gap(self, gap: Gap) -> None:
        """Print which bytes are missing; for `on_gap`."""
        print_json({"stream": gap.stream, "offset": gap.offset, "gap": gap.bytes})
        self._offsets[gap.stream] = gap.offset + gap.bytes

    async def copy(self, run: Run) -> Result:
        """Print output until the run is over. Raises as `copy_streams` does."""
        async with _task_group() as tasks:
            tasks.create_task(self._copy("stdout", run.stdout))
            if run.stderr is not None:
                tasks.create_task(self._copy("stderr", run.stderr))
        return await run.wait()

    async def _copy(self, name: str, stream: OutputStream) -> None:
        import json
        from base64 import b64encode

        out = descriptor_writer(1)
        with contextlib.suppress(FarhandError):  # `Run.wait` raises it as well
            async for chunk in stream:
                try:
                    data: object = chunk.decode()
                except UnicodeDecodeError:
                    data = {"base64": b64encode(chunk).decode()}
                line = json.dumps({"stream": name, "offset": self._offsets[name], "data": data})
                self._offsets[name] += len(chunk)
                await out.write([line.encode() + b"\n"])


def _writer(fd: int, name: str) -> DescriptorWriter:
    try:
        return descriptor_writer(fd)
    except OSError as error:
        raise LocalError(f"cannot write to {name}: {reason(error)}") from None


@contextlib.asynccontextmanager
async def _task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup that raises its first error by itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _stdin() -> AsyncIterator[bytes]:
    from farhand_client.stdin import read_chunks

    try:
        async for chunk in read_chunks(0):
            yield chunk
    except OSError as error:
        raise LocalError(f"cannot read stdin: {reason(error)}") from None


async def _copy_output(run: Run, writers: StandardWriters) -> Result:
    async with _task_group() as tasks:
        tasks.create_task(_copy_stream(run.stdout, writers.stdout, "stdout"))
        if run.stderr is not None:
            tasks.create_task(_copy_stderr(run.stderr, writers.stderr))
    return await run.wait()


async def _copy_stream(stream: OutputStream, out: DescriptorWriter, name: str) -> None:
    while True:
        try:
            chunks = await stream.read_ready()
        except FarhandError:
            return  # `Run.wait` raises it as well, after everything that arrived is written
        if not chunks:
            return
        try:
            await out.write(chunks)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise LocalError(f"cannot write to {name}: {reason(error)}") from None


async def _copy_stderr(stream: OutputStream, out: DescriptorWriter) -> None:
    try:
        await _copy_stream(stream, out, "stderr")
    except BrokenPipeError:
        stream.discard()
