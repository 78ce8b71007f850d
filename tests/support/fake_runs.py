"""How runs of a fake service behave, and `Client.run` of one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from farhand_client import Completed, Exited, Killed
from farhand_protocol import messages as m
from farhand_protocol.outcome import Outcome
from tests.support.fake_service import Behaviour, FakeRun, client_of

STOPPED = Killed(reason="requested", signal=signal.SIGTERM)


def printing(out: bytes = b"", err: bytes = b"", outcome: Outcome | None = None) -> Behaviour:
    """Return the behaviour of a program that prints and ends, with code 0 unless `outcome` says otherwise."""

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", out)
        await run.write("stderr", err)
        run.ended(outcome)

    return behave


async def in_pieces(run: FakeRun) -> None:
    """Print lines that are cut anywhere, one of them empty and the last without a newline; end with code 2."""
    run.started()
    await run.write("stdout", b"one\ntw")
    await run.write("stderr", b"err")
    await run.write("stdout", b"o\n\nlast")
    run.ended(Exited(code=2))


async def echo(run: FakeRun) -> None:
    """As cat(1)."""
    run.started()
    await run.until(m.End)
    await run.write("stdout", run.stdin)
    run.ended()


async def stoppable(run: FakeRun) -> None:
    """Run until the client wants it stopped."""
    run.started()
    await run.until(m.Stop)
    run.ended(STOPPED)


async def run(directory: Path, behave: Behaviour, *args: Any, **options: Any) -> Completed:
    """Return what `Client.run` does, called with `args` and `options` on a service of its own."""
    async with client_of(directory, behave) as (client, _):
        return await client.run(*args or (["true"],), **options)
