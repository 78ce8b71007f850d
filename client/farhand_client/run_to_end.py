"""One run from its request to its end, with what `Client.run` does about its streams meanwhile.

Output that is returned is collected up to a limit; output that goes to a file is written there as it arrives, as fast
as the file takes it. The run is over when all of its output is delivered.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from farhand_protocol import messages as m
from farhand_protocol.outcome import TimedOut

from .attach_request import attach_request
from .attachment import ClientAttachment
from .calls import stop_left_processes
from .descriptors import descriptor_writer
from .errors import FarhandError
from .output import Gap, OnGap, OutputCollector, OutputStream
from .results import CommandTimeout, Completed, Result
from .stdin import feed_until

if TYPE_CHECKING:
    from .connection.reconnecting import ReconnectingConnection
    from .options import Args
    from .redirection import Delivery, Redirections
    from .text_codec import TextCodec


async def run_to_end(
    connection: ReconnectingConnection,
    args: Args,
    request: m.RunRequest,
    redirections: Redirections,
    codec: TextCodec | None,
    max_output: int,
    on_gap: OnGap | None,
) -> Completed[Any]:
    """Request a run, wait for its end and return its output. A cancellation stops it first. Raises as `Client.run`."""
    attachment = ClientAttachment(connection, request, tolerant=on_gap is not None)
    gaps = None if on_gap is None else _GapCallback(on_gap)
    both: list[_Delivered] = []
    try:
        both.append(stdout := _Delivered(attachment, "stdout", redirections.stdout, max_output, gaps))
        if not request.merge_stderr:
            both.append(_Delivered(attachment, "stderr", redirections.stderr, max_output, gaps))
        stderr = None if request.merge_stderr else both[1]
        attachment.begin()
        try:
            ending = _deliver(attachment, [copying for each in both if (copying := each.copying()) is not None])
            result = await _communicate(attachment, redirections, ending)
        except BaseException:
            await attachment.stop_or_detach()
            if gaps is not None:
                gaps.raise_error()
            raise
    finally:
        for each in both:
            each.close()
    truncated = any(each.truncated for each in both)
    out, err = stdout.value(), None if stderr is None else stderr.value()
    completed: Completed[Any] = Completed(args, result, out, err, truncated=truncated)
    if isinstance(result.outcome, TimedOut):
        raise CommandTimeout(completed, result.outcome.timeout)
    if codec is not None:
        completed.stdout = None if out is None else codec.decode(out, truncated=stdout.truncated)
        completed.stderr = None if err is None or stderr is None else codec.decode(err, truncated=stderr.truncated)
    return completed


class _GapCallback:
    """The caller's `on_gap`. If it raises, the call that waits for the run is interrupted, and raises its error.

    The connection calls it; if the error went there, it would end the connection, and all other runs with it.
    """

    def __init__(self, on_gap: OnGap) -> None:
        self._on_gap = on_gap
        self._error: Exception | None = None
        self._caller = asyncio.current_task()

    def __call__(self, gap: Gap) -> None:
        if self._error is not None:
            return
        try:
            self._on_gap(gap)
        except Exception as error:  # noqa: BLE001  # raised in the caller
            self._error = error
            assert self._caller is not None
            self._caller.cancel()

    def raise_error(self) -> None:
        """Raise the error of the callback, if there was one and nobody else has cancelled the caller."""
        if self._error is not None and self._caller is not None and not self._caller.uncancel():
            raise self._error


class _Delivered:
    """One output stream, and where it goes."""

    def __init__(
        self, attachment: ClientAttachment, name: m.Output, delivery: Delivery, max_output: int, on_gap: OnGap | None
    ) -> None:
        consumed = partial(attachment.consumed, name)
        self._delivery = delivery
        self._name = name
        if isinstance(delivery, int):
            self._stream: OutputStream | None = OutputStream(consumed, attachment.id, on_gap)
            # A descriptor of our own: after a cancellation, a writer may still use it when the caller has closed its.
            own = os.dup(delivery)
            try:
                self._writer = descriptor_writer(own)
            except BaseException:
                os.close(own)
                raise
            attachment.deliver_to(name, self._stream)
        else:
            self._stream = None
            self._collector = OutputCollector(consumed, max_output if delivery == "capture" else 0, on_gap)
            attachment.deliver_to(name, self._collector)

    @property
    def truncated(self) -> bool:
        """Whether output that was to be returned was thrown away."""
        return self._delivery == "capture" and self._collector.truncated

    def value(self) -> bytes | None:
        """Return what was collected; None if the output went elsewhere."""
        return self._collector.value() if self._delivery == "capture" else None

    def copying(self) -> Coroutine[Any, Any, None] | None:
        """Return what writes the output to its file, until its end; None if it is collected."""
        return None if self._stream is None else self._copy(self._stream)

    async def _copy(self, stream: OutputStream) -> None:
        while True:
            try:
                chunks = await stream.read_ready()
            except FarhandError:
                return  # the attachment fails with it too
            if not chunks:
                return
            await self._writer.write(chunks)

    def close(self) -> None:
        """Close our descriptor of the file."""
        if self._stream is not None:
            self._writer.close()


async def _deliver(attachment: ClientAttachment, copying: list[Coroutine[Any, Any, None]]) -> Result:
    """Wait until all output is delivered, and for the result. Raises OSError if a file cannot be written."""
    if copying:
        try:
            async with asyncio.TaskGroup() as tasks:
                for each in copying:
                    tasks.create_task(each)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
    return await attachment.result()


async def _communicate(
    attachment: ClientAttachment, redirections: Redirections, ending: Coroutine[Any, Any, Result]
) -> Result:
    """Feed the run's stdin and wait for its end."""
    if attachment.stdin is not None:
        if redirections.source is not None:
            return await feed_until(attachment.stdin, redirections.source, ending)
        if redirections.input:
            attachment.stdin.write(redirections.input)
        attachment.stdin.close()
    return await ending


async def wait_for_end(connection: ReconnectingConnection, run_id: str) -> Result:
    """Attach to a run without reading output, and return the result at its end."""
    return await _result(ClientAttachment(connection, attach_request(run_id, (None, None), read_only=True)))


async def stop_run(connection: ReconnectingConnection, run_id: str, kill_after: float | None) -> Result:
    """Stop a run, or the processes that it has left behind, and return the result. Raises as `Client.stop`."""
    attachment = ClientAttachment(connection, attach_request(run_id, (None, None)))
    attachment.request_stop(kill_after)
    return await stop_left_processes(connection, await _result(attachment), kill_after)


async def _result(attachment: ClientAttachment) -> Result:
    attachment.begin()
    try:
        return await attachment.result()
    finally:
        attachment.detach()
