"""A fake service's runs as real programs of this machine, and connections of the REPL to such a service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from farhand_client import connect
from farhand_client.repl.host_connection import Connect
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed, Signaled, SpawnFailed
from tests.support.fake_service import FakeRun, FakeService


async def run_locally(run: FakeRun) -> None:
    """Run the requested program without a terminal, and pass on its input, its output and signals.

    A run that is attached to only keeps running. The account's shell is the variable SHELL of the run, or /bin/sh.
    """
    request = run.request
    if run.attach is not None:
        run.started()
        await run.lost()
        return
    home = os.fsencode(Path.home())
    shell = run.client.service.shell
    env = {b"HOME": home, b"SHELL": shell, b"PATH": b"/usr/bin:/bin", b"LANG": b"C.UTF-8", **dict(request.env)}
    argv = [*(request.argv or ())]
    if request.shell is not None:
        name = shell.rpartition(b"/")[2]
        text = [request.shell] if request.prelude is None else [request.prelude, name, request.shell]
        argv = [shell, b"-c", *text]
    directory = request.cwd or home
    if not Path(os.fsdecode(directory)).is_dir():
        outcome = SpawnFailed(errno=2, error="ENOENT", what="directory", message="No such file or directory")
        run.send(m.Ended(outcome=outcome, duration=0.0, stdout=0, stderr=0))
        return
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=directory,
        env=env,
        stdin=asyncio.subprocess.PIPE if request.stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if request.merge_stderr else asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    run.started(process.pid)
    helping = [asyncio.ensure_future(_deliver_signal(run, process)), asyncio.ensure_future(_feed(run, process))]
    try:
        await asyncio.gather(_show(run, process.stdout, "stdout"), _show(run, process.stderr, "stderr"))
        await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    finally:
        for task in helping:
            task.cancel()
    code = process.returncode or 0
    if code < 0 and any(isinstance(message, m.Stop) for message in run.messages):
        run.ended(Killed(reason="requested", signal=-code))
    else:
        run.ended(Signaled(signal=-code) if code < 0 else Exited(code=code))


async def _show(run: FakeRun, output: asyncio.StreamReader | None, stream: m.Output) -> None:
    while output is not None and (data := await output.read(65536)):
        await run.write(stream, data)


async def _feed(run: FakeRun, process: asyncio.subprocess.Process) -> None:
    fed = 0
    while process.stdin is not None:
        process.stdin.write(run.stdin[fed:])
        fed = len(run.stdin)
        if any(isinstance(message, m.End) for message in run.messages):
            process.stdin.close()
            return
        run.changed.clear()
        await run.changed.wait()


async def _deliver_signal(run: FakeRun, process: asyncio.subprocess.Process) -> None:
    while not any(isinstance(message, m.Signal | m.Stop) for message in run.messages):
        run.changed.clear()
        await run.changed.wait()
    for message in run.messages:
        os.killpg(process.pid, message.number if isinstance(message, m.Signal) else signal.SIGKILL)


def connecting_to(service: FakeService) -> Connect:
    """Return what connects the REPL to `service`; a lost connection is lost permanently."""
    return lambda watch: connect(service.host, reconnect=None, watch=watch)
