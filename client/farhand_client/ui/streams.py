"""Copies a run's stdout and stderr to this process's own, and its stdin to the run.

Writing never blocks the event loop: a pipe's reader may stop reading, and a terminal may be stopped by Ctrl-S.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import stat
import threading
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from farhand_client.errors import FarhandError

from .printing import LocalError, print_json

if TYPE_CHECKING:
    from farhand_client.output import Gap, OutputStream
    from farhand_client.results import Result
    from farhand_client.run import Run

WRITEV_BUFFERS: Final = 512
"""Buffers passed to one writev(2), which accepts 1024 (IOV_MAX)."""


class DescriptorWriter(Protocol):
    """Writes to one file descriptor."""

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Write all of `chunks`. Raises OSError. After a cancellation they may still be written."""


def descriptor_writer(fd: int) -> DescriptorWriter:
    """Return a writer for `fd`. Only writes to a regular file or /dev/null, which never block, happen in the loop."""
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) or (
        stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev  # noqa: PTH116  # as fstat
    ):
        return _DirectWriter(fd)
    return _ThreadedWriter(fd)


async def copy_streams(run: Run, json: JsonOutput | None = None) -> Result:
    """Copy output until the run is over and everything is written; copy stdin to the run if this client feeds it.

    With `json` the output is printed as JSON. Raises BrokenPipeError if nobody reads stdout, `LocalError`, and what
    `Run.wait` raises.
    """
    result = _copy_output(run) if json is None else json.copy(run)
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


class _DirectWriter:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, chunks: Sequence[bytes]) -> None:
        _write_all(self._fd, chunks)


class _ThreadedWriter:
    """Writes in a thread of its own, so that only that thread waits for a slow reader.

    The thread is a daemon: it may be stuck for ever, and the process can still exit.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[Sequence[bytes], asyncio.Future[None]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def write(self, chunks: Sequence[bytes]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"writer of {self._fd}", daemon=True)
            self._thread.start()
        written: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((chunks, written))
        await written

    def _work(self) -> None:
        while True:
            chunks, written = self._queue.get()
            error: OSError | None = None
            try:
                _write_all(self._fd, chunks)
            except OSError as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_settle, written, error)


def _settle(written: asyncio.Future[None], error: OSError | None) -> None:
    if not written.done():
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)


def _write_all(fd: int, chunks: Sequence[bytes]) -> None:
    left: list[bytes | memoryview] = list(chunks)
    while left:
        try:
            count = os.writev(fd, left[:WRITEV_BUFFERS])
        except BlockingIOError:  # another process that shares the file has made it non-blocking
            select.select([], [fd], [])
            continue
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if count:
            left[0] = memoryview(left[0])[count:]


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
        raise LocalError(f"cannot read stdin: {error.strerror}") from None


async def _copy_output(run: Run) -> Result:
    async with _task_group() as tasks:
        tasks.create_task(_copy_stream(run.stdout, descriptor_writer(1), "stdout"))
        if run.stderr is not None:
            tasks.create_task(_copy_stderr(run.stderr, descriptor_writer(2)))
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
            raise LocalError(f"cannot write to {name}: {error.strerror}") from None


async def _copy_stderr(stream: OutputStream, out: DescriptorWriter) -> None:
    try:
        await _copy_stream(stream, out, "stderr")
    except BrokenPipeError:
        stream.discard()
