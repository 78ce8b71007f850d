"""A program's stdin behaves like a pipe: data arrives, ends, waits for the reader, and is dropped after it closes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal

from farhand_protocol import messages as m
from farhand_protocol.limits import Limits
from farhand_protocol.outcome import Exited, Killed
from tests.support.client import TIMEOUT, RawClient, RemoteRun
from tests.support.processes import stopped

WINDOW = Limits().window
END = m.End(stream="stdin")


async def write_all(run: RemoteRun, data: bytes) -> None:
    """Send all of `data` as credit is granted."""
    async with asyncio.timeout(TIMEOUT):
        while data := data[run.write(data) :]:
            before = run.stdin_credit
            while run.stdin_credit == before:
                await asyncio.sleep(0)
                await run.client.round_trip()


async def test_stdin_and_its_end_arrive(client: RawClient) -> None:
    run = client.start("cat", stdin=True)
    run.write(b"one\xff\0two")
    assert await run.output(8) == b"one\xff\0two"
    run.send(END)
    assert (await run.ended()).outcome == Exited(code=0)


async def test_stdin_may_be_sent_before_the_program_has_started(client: RawClient) -> None:
    runs = [client.start("cat", stdin=True) for _ in range(20)]
    for number, run in enumerate(runs):
        run.write(b"early %d" % number)
        run.send(END)
    for number, run in enumerate(runs):
        await run.ended()
        assert run.stdout == b"early %d" % number


async def test_stdin_may_end_without_a_byte(client: RawClient) -> None:
    run = client.start("wc", "-c", stdin=True)
    run.send(END)
    await run.ended()
    assert run.stdout == b"0\n"


async def test_large_stdin_arrives_completely(client: RawClient) -> None:
    data = os.urandom(1 << 20) * 16
    run = client.start("sha256sum", stdin=True)
    await write_all(run, data)
    run.send(END)
    await run.ended()
    assert run.stdout.decode().split()[0] == hashlib.sha256(data).hexdigest()


async def test_a_program_that_does_not_read_blocks_only_its_own_client(client: RawClient) -> None:
    run = client.start("sh", "-c", "read -r go </dev/stdin; wc -c", stdin=True)
    await run.started()
    sent = run.write(b"x" * (2 * WINDOW))
    assert sent == WINDOW
    ended, other = await client.run("echo", "others go on")
    assert (ended.outcome, other.stdout) == (Exited(code=0), b"others go on\n")
    run.send(m.Stop())
    assert (await run.ended()).outcome == Killed(reason="requested", signal=15)


async def test_no_credit_is_granted_for_stdin_that_the_program_has_not_read(client: RawClient) -> None:
    run = client.start("sleep", "60", stdin=True)
    await run.started()
    assert run.write(b"x" * WINDOW) == WINDOW
    await client.run("true")
    assert run.stdin_credit == 0
    run.send(m.Stop())
    await run.ended()


async def test_stdin_for_a_program_that_closes_it_early_is_dropped_and_the_program_continues(client: RawClient) -> None:
    run = client.start("sh", "-c", "head -c 3; exec <&-; echo; kill -STOP $$; echo done", stdin=True)
    await write_all(run, b"abc" + b"x" * (3 * WINDOW))
    run.send(END)
    await stopped(await run.started())
    run.send(m.Signal(number=signal.SIGCONT))
    assert (await run.ended()).outcome == Exited(code=0)
    assert run.stdout == b"abc\ndone\n"


async def test_stdin_for_a_program_that_has_ended_is_dropped_and_acknowledged(client: RawClient) -> None:
    # A grandchild keeps the output open, so that the run does not end with its leader.
    run = client.start(
        "sh", "-c", "echo $$; (exec <&-; read -r x </dev/stderr; sleep 60) 2>/dev/null & exit 3", stdin=True
    )
    await run.line()
    await write_all(run, b"x" * (2 * WINDOW))
    ended = await run.ended()
    assert (ended.outcome, ended.lingered) == (Exited(code=3), True)


async def test_stdin_left_open_does_not_keep_a_run_from_ending(client: RawClient) -> None:
    ended, _ = await client.run("true", stdin=True)
    assert ended.outcome == Exited(code=0)
