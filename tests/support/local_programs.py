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
    """Run the requested program without a terminal, deliver signals to it, and send its output when it has ended.

    A run that is attached to only keeps running.
    """
    request = run.request
    if run.attach is not None:
        run.started()
        await run.lost()
        return
    argv = [b"/bin/sh", b"-c", request.shell] if request.shell is not None else [*(request.argv or ())]
    home = os.fsencode(Path.home())
    env = {b"HOME": home, b"SHELL": b"/bin/sh", b"PATH": b"/usr/bin:/bin", **dict(request.env)}
    directory = request.cwd or home
    if not Path(os.fsdecode(directory)).is_dir():
        outcome = SpawnFailed(errno=2, error="ENOENT", what="directory", message="No such file or directory")
        run.send(m.Ended(outcome=outcome, duration=0.0, stdout=0, stderr=0))
        return
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=directory,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if request.merge_stderr else asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    run.started(process.pid)
    signals = asyncio.ensure_future(_deliver_signal(run, process))
    try:
        stdout, stderr = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
        raise
    finally:
        signals.cancel()
    await run.write("stdout", stdout)
    await run.write("stderr", stderr or b"")
    code = process.returncode or 0
    if code < 0 and any(isinstance(message, m.Stop) for message in run.messages):
        run.ended(Killed(reason="requested", signal=-code))
    else:
        run.ended(Signaled(signal=-code) if code < 0 else Exited(code=code))


async def _deliver_signal(run: FakeRun, process: asyncio.subprocess.Process) -> None:
    while not any(isinstance(message, m.Signal | m.Stop) for message in run.messages):
        run.changed.clear()
        await run.changed.wait()
    for message in run.messages:
        os.killpg(process.pid, message.number if isinstance(message, m.Signal) else signal.SIGKILL)


def connecting_to(service: FakeService) -> Connect:
    """Return what connects the REPL to `service`; a lost connection is lost permanently."""
    return lambda watch: connect(service.host, reconnect=None, watch=watch)
