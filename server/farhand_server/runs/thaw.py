"""Puts a run together that the program before this one has taken apart."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path

from .attachments.attachments import Attachment, Attachments
from .attachments.terminal import TerminalAttachments
from .frozen import (
    AttachmentSnapshot,
    FileSpoolSnapshot,
    Get,
    MemorySpoolSnapshot,
    ProcessSnapshot,
    RunSnapshot,
    SpoolSnapshot,
    StdinSnapshot,
    TimelineSnapshot,
)
from .output.filespool import FileSpool, spare
from .output.spool import MemorySpool, Spool, SpoolMemory
from .output.timeline import Timeline
from .plan import Plan, TerminalSize
from .process.cgroup import Cgroups
from .process.process import Process
from .run import LiveRun
from .streams.pipe_input import PipeInput
from .streams.pty import PseudoTerminal
from .streams.readers import PIPE_READ_SIZE
from .streams.streams import PipeStreams, TerminalStreams
from .streams.terminal_input import TerminalInput


def thaw(frozen: RunSnapshot, get: Get, memory: SpoolMemory, cgroups: Cgroups | None) -> LiveRun:
    """Return the run as it was. One that is under way goes on as soon as it is executed.

    Call it in the turn of the loop of `prepare_loop`. Raises OSError where its output cannot be had, and
    ChildProcessError where its process is no child of ours.
    """
    spools = (_spool(frozen.stdout, frozen.plan, get, memory), _spool(frozen.stderr, frozen.plan, get, memory))
    run = LiveRun(frozen.plan, memory, Path(), cgroups=cgroups, spools=spools)
    run.began, run.pid, run.failed, run.result = frozen.began, frozen.pid, frozen.failed, frozen.result
    run.told = frozen.result is not None
    run._start = frozen.start
    assert run.timeline is not None
    run.timeline.start = frozen.start
    if frozen.timeline is not None:
        _timeline(run.timeline, frozen.timeline, get, memory)
    _attachments(run.attachments, frozen)
    if isinstance(run.stdin, TerminalInput):
        _terminal(run, run.stdin, frozen, get)
    else:
        _stdin(run.stdin, frozen.stdin, get)
    if run.stdout.ended and run.stderr.ended:
        run._output_ended.set()
    if frozen.process is None:
        run.attachments.close()
    else:
        _process(run, frozen.process, cgroups)
    return run


def _process(run: LiveRun, frozen: ProcessSnapshot, cgroups: Cgroups | None) -> None:
    plan = run.plan
    process = run._process = Process.adopt(
        frozen.handover.pid,
        run_id=plan.id,
        limits=plan.limits,
        cgroup=cgroups.open(plan.id, plan.limits) if frozen.in_cgroup and cgroups is not None else None,
        handover=frozen.handover,
    )
    run._why, run._message, run._linger_until = frozen.why, frozen.message, frozen.linger_until
    for fd, stream in frozen.outputs:
        spool = run.stdout if stream == "stdout" else run.stderr
        assert isinstance(run._streams, PipeStreams)
        run._streams.resume(fd, spool)
    run._watch_bounds()
    if frozen.kill_at is not None:
        run._kill_at = frozen.kill_at
        run._kill_in_time(process)
    if frozen.times_out is not None:
        run._at("timeout", frozen.times_out, run.stop, "timed_out")
    if plan.record and (run.stdout.start or run.stderr.start):
        run.stop("spool", 0.0, "its recording is lost: somebody has removed the file")


def _spool(frozen: SpoolSnapshot, plan: Plan, get: Get, memory: SpoolMemory) -> Spool:
    spool: Spool
    if isinstance(frozen, FileSpoolSnapshot):
        spool = FileSpool.reopen(
            frozen.path,
            frozen.limit,
            start=frozen.start,
            end=frozen.end,
            ended=frozen.ended,
            failed=frozen.failed,
            whole=frozen.whole,
            spare=spare(plan),
        )
    else:
        spool = _in_memory(frozen, get(frozen.data), memory)
    # Nobody has read while there was no service: that was not the program's silence.
    spool.touched = time.monotonic() - frozen.quiet
    return spool


def _in_memory(frozen: MemorySpoolSnapshot, data: bytes, memory: SpoolMemory) -> MemorySpool:
    spool = MemorySpool(frozen.limit, memory)
    spool.start, spool.held, spool.ended, spool._free = frozen.start, frozen.held, frozen.ended, frozen.free
    spool.end = frozen.start + len(data)
    # In pieces: what nobody needs any more goes in whole ones.
    spool._chunks = [data[at : at + PIPE_READ_SIZE] for at in range(0, len(data), PIPE_READ_SIZE)]
    spool._starts = list(range(frozen.start, spool.end, PIPE_READ_SIZE))
    memory.used += len(data)
    return spool


def _timeline(timeline: Timeline, frozen: TimelineSnapshot, get: Get, memory: SpoolMemory) -> None:
    pairs = (
        (timeline.output, frozen.output),
        (timeline.sizes, frozen.sizes),
        (timeline.typed_at, frozen.typed_at),
    )
    for series, kept in pairs:
        if kept is not None:
            series.resume(kept.step, get(kept.dump))
    timeline.typed += get(frozen.typed)
    timeline.cut = frozen.cut
    memory.used += len(timeline.typed)


def _terminal(run: LiveRun, keyboard: TerminalInput, of: RunSnapshot, get: Get) -> None:
    frozen = of.terminal
    assert frozen is not None
    assert isinstance(run.attachments, TerminalAttachments)
    assert isinstance(run._streams, TerminalStreams)
    run.attachments.screen.size = TerminalSize(*frozen.size)
    keyboard.received, keyboard._closed, keyboard._in_line = of.stdin.received, of.stdin.closed, frozen.in_line
    for each in frozen.typists:
        typist = keyboard._typist(each.key)
        typist.received, typist.taken, typist.ended = each.received, each.taken, each.ended
    for key, blob in frozen.queue:
        data = None if blob is None else memoryview(get(blob))
        keyboard._queue.append((None if key is None else keyboard._typist(key), data))
        keyboard._queued += 0 if key is None or data is None else len(data)
    if frozen.master is not None:
        run._streams.resume(PseudoTerminal(frozen.master, -1 if frozen.slave is None else frozen.slave))


def _stdin(stdin: PipeInput, frozen: StdinSnapshot, get: Get) -> None:
    stdin.received, stdin.taken = frozen.received, frozen.taken
    pipe = stdin.pipe
    pipe._closed, pipe._ending = frozen.closed, frozen.ending
    queued = get(frozen.queue)
    pipe._queue = deque([memoryview(queued)] if queued else ())
    if frozen.pipe is not None:
        pipe.connect(frozen.pipe)


def _attachments(attachments: Attachments, frozen: RunSnapshot) -> None:
    for each in frozen.attachments:
        attachment = _attachment(each)
        attachments._all[each.key] = attachment
        if each.left is not None:
            attachment.wait_for_return(each.left, attachments._gone)
    if frozen.alone is not None:
        attachments._alone = asyncio.get_running_loop().call_later(frozen.alone, attachments._abandoned)


def _attachment(frozen: AttachmentSnapshot) -> Attachment:
    attachment = Attachment(frozen.key, None, hold=frozen.hold, taken=frozen.taken)
    attachment.stdin_at, attachment.stdin_received = frozen.stdin_at, frozen.stdin_received
    attachment.feeds = frozen.feeds
    attachment.size = None if frozen.size is None else TerminalSize(*frozen.size)
    return attachment
