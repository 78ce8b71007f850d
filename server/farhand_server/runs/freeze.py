"""Takes a run apart for the program that replaces this one. Nothing changes by that: it can go on here as well."""

from __future__ import annotations

import asyncio
import math
import time

from .attachments.attachments import Attachment
from .attachments.terminal import TerminalAttachments
from .frozen import (
    AttachmentSnapshot,
    FileSpoolSnapshot,
    MemorySpoolSnapshot,
    ProcessSnapshot,
    Put,
    RunSnapshot,
    SeriesSnapshot,
    SpoolSnapshot,
    StdinSnapshot,
    TerminalSnapshot,
    TimelineSnapshot,
    TypistSnapshot,
)
from .output.filespool import FileSpool
from .output.spool import MemorySpool, Spool
from .output.timeline import MarkSeries, Timeline
from .run import LiveRun
from .streams.pipe_input import PipeInput, PipeWriter
from .streams.streams import PipeStreams, TerminalStreams
from .streams.terminal_input import TerminalInput


def steady(run: LiveRun) -> bool:
    """Whether the run can be taken apart: its program runs, or has ended and waits for its output or its processes."""
    return run._process is not None and run.result is None


def freeze(run: LiveRun, put: Put, *, kept_until: float | None = None) -> RunSnapshot:
    """Return what goes along of a run that is `steady`, or over and kept until then."""
    attachments = run.attachments
    return RunSnapshot(
        plan=run.plan,
        began=run.began,
        start=run._start,
        pid=run.pid,
        failed=run.failed,
        stdout=_spool(run.stdout, put),
        stderr=_spool(run.stderr, put),
        stdin=_stdin(run.stdin, put),
        terminal=_terminal(run, put),
        attachments=tuple(_attachment(each) for each in attachments._all.values()),
        alone=_left(attachments._alone),
        process=_process(run),
        result=run.result,
        kept_until=kept_until,
        timeline=None if run.timeline is None else _timeline(run.timeline, put),
    )


def _process(run: LiveRun) -> ProcessSnapshot | None:
    process = run._process
    if process is None:
        return None
    readers = run._streams.readers if isinstance(run._streams, PipeStreams) else []
    outputs = [(reader.fileno(), reader._spool) for reader in readers if reader.fileno() >= 0]
    timeout = run._timers.get("timeout")
    return ProcessSnapshot(
        handover=process.handover,
        in_cgroup=process.cgroup_path is not None,
        outputs=tuple((fd, "stdout" if spool is run.stdout else "stderr") for fd, spool in outputs),
        why=run._why,
        message=run._message,
        kill_at=None if math.isinf(run._kill_at) else run._kill_at,
        times_out=None if timeout is None else timeout.when(),
        linger_until=run._linger_until,
    )


def _spool(spool: Spool, put: Put) -> SpoolSnapshot:
    quiet = time.monotonic() - spool.touched
    if isinstance(spool, FileSpool):
        return FileSpoolSnapshot(
            path=spool.path,
            limit=spool.limit,
            start=spool.start,
            end=spool.end,
            ended=spool.ended,
            quiet=quiet,
            failed=spool._failed,
            whole=spool.whole,
        )
    assert isinstance(spool, MemorySpool)
    return MemorySpoolSnapshot(
        limit=spool._limit,
        start=spool.start,
        held=spool.held,
        ended=spool.ended,
        quiet=quiet,
        free=spool._free,
        data=put(spool._chunks),
    )


def _stdin(stdin: PipeInput | TerminalInput, put: Put) -> StdinSnapshot:
    if isinstance(stdin, TerminalInput):
        return StdinSnapshot(
            received=stdin.received, taken=0, pipe=None, queue=put([]), ending=False, closed=stdin._closed
        )
    pipe: PipeWriter = stdin.pipe
    return StdinSnapshot(
        received=stdin.received,
        taken=stdin.taken,
        pipe=pipe._fd if pipe._fd >= 0 else None,
        queue=put([bytes(piece) for piece in pipe._queue]),
        ending=pipe._ending,
        closed=pipe._closed,
    )


def _terminal(run: LiveRun, put: Put) -> TerminalSnapshot | None:
    keyboard, attachments = run.stdin, run.attachments
    if not isinstance(keyboard, TerminalInput) or not isinstance(attachments, TerminalAttachments):
        return None
    terminal = run._streams.terminal if isinstance(run._streams, TerminalStreams) else None
    return TerminalSnapshot(
        master=None if terminal is None or terminal.master < 0 else terminal.master,
        slave=None if terminal is None or terminal.slave < 0 else terminal.slave,
        size=attachments.screen.size,
        typists=tuple(
            TypistSnapshot(key=each.key, received=each.received, taken=each.taken, ended=each.ended)
            for each in keyboard._typists.values()
        ),
        queue=tuple(
            (None if typist is None else typist.key, None if data is None else put([bytes(data)]))
            for typist, data in keyboard._queue
        ),
        in_line=keyboard._in_line,
    )


def _timeline(timeline: Timeline, put: Put) -> TimelineSnapshot:
    def frozen(series: MarkSeries) -> SeriesSnapshot | None:
        return SeriesSnapshot(step=series.step, dump=put(series.dump())) if series else None

    return TimelineSnapshot(
        output=SeriesSnapshot(step=timeline.output.step, dump=put(timeline.output.dump())),
        sizes=frozen(timeline.sizes),
        typed_at=frozen(timeline.typed_at),
        typed=put([bytes(timeline.typed)]),
        cut=timeline.cut,
    )


def _attachment(attachment: Attachment) -> AttachmentSnapshot:
    return AttachmentSnapshot(
        key=attachment.key,
        hold=attachment.hold,
        taken=attachment.taken,
        stdin_at=attachment.stdin_at,
        stdin_received=attachment.stdin_received,
        feeds=attachment.feeds,
        size=attachment.size,
        left=_left(attachment._expiry),
    )


def _left(timer: asyncio.TimerHandle | None) -> float | None:
    return None if timer is None else max(0.0, timer.when() - time.monotonic())
