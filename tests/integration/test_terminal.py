"""A program's terminal is like a local one: its size, its modes, its keys, its signals."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import TERMINAL_WINDOW
from farhand_protocol.outcome import Exited, Killed, Signaled, SpawnFailed
from tests.support.client import TIMEOUT, RawClient
from tests.support.processes import end_of, session_is_gone
from tests.support.shown_sizes import SHOWS_SIZE
from tests.support.terminals import answer, on_terminal, shell, size, terminal

ALL_BYTES = bytes(range(256))


async def said(client: RawClient, script: str, shown: m.TerminalRequest | None = None, **fields: Any) -> list[str]:
    """Return the lines that a shell script prints on a terminal."""
    run = on_terminal(client, "sh", "-c", script, shown=shown, **fields)
    assert (await run.ended()).outcome == Exited(code=0), run.stdout
    return run.stdout.decode().replace("\r\n", "\n").splitlines()


# The terminal that a program gets


async def test_a_program_finds_the_terminal_that_was_requested(client: RawClient) -> None:
    script = "stty size; tty; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo three"
    lines = await said(client, script, terminal(132, 43, name="tmux-256color"))
    assert (lines[0], lines[2:]) == ("43 132", ["tmux-256color", "three"])
    assert re.fullmatch("/dev/pts/[0-9]+", lines[1])


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (500, 300), (0, 0), (65535, 65535)])
async def test_the_initial_size_is_exact_however_odd(client: RawClient, columns: int, rows: int) -> None:
    run = on_terminal(client, "stty", "size", shown=terminal(columns, rows))
    await run.ended()
    assert run.stdout == f"{rows} {columns}\r\n".encode()
    assert run.sizes == [size(columns, rows)]
    assert run.transcript[:2] == ["started", "resize"]


async def test_the_terminal_is_the_controlling_terminal(client: RawClient) -> None:
    script = "echo through the name >/dev/tty; ps -o pid=,sid=,pgid=,tpgid= $$"
    name, numbers = await said(client, f"exec bash -c '{script}'")
    assert name == "through the name"
    assert len(set(numbers.split())) == 1


async def test_the_initial_modes_are_those_requested(client: RawClient) -> None:
    shown = terminal(80, 24, ("VINTR", 1), ("VSUSP", 255), ("ECHO", 0), ("IXON", 0), ("VEOF", 5))
    modes = " ".join(await said(client, "stty -a", shown))
    for part in ("intr = ^A;", "susp = <undef>;", "eof = ^E;", "quit = ^\\;", " -echo ", " -ixon ", " iutf8"):
        assert part in modes, modes


async def test_a_login_shell_is_one_by_its_name(client: RawClient, tmp_path: Path) -> None:
    run = on_terminal(client, login=True, env=((b"HOME", str(tmp_path).encode()),))
    run.write(b'echo "<$0>" $SHLVL $TERM; exit 3\r')
    await run.match(b"<-[a-z]*sh> ")
    assert (await run.ended()).outcome == Exited(code=3)


async def test_a_program_that_cannot_be_started_is_reported(client: RawClient) -> None:
    run = on_terminal(client, "/nowhere/it")
    outcome = (await run.ended()).outcome
    assert isinstance(outcome, SpawnFailed)
    assert (outcome.error, outcome.what) == ("ENOENT", "program")
    assert run.transcript == ["ended"]


async def test_terminal_messages_for_a_run_without_a_terminal_are_refused(client: RawClient) -> None:
    run = client.start("sleep", "60")
    await run.started()
    error = await client.attach(run.request.id, stdout=0, size=size(80, 24)).error()
    assert (error.code, error.message) == (
        ErrorCode.NO_TERMINAL,
        f"run {run.request.id} has no terminal; attach to it without a size",
    )
    run.send(m.Stop())
    await run.ended()


# Data


async def test_all_bytes_are_passed_unchanged_both_ways(client: RawClient) -> None:
    run = on_terminal(client, "sh", "-c", "stty raw -echo -iutf8; echo ready; exec head -c 256")
    begin = (await run.match(b"ready\n")).end()
    run.write(ALL_BYTES)
    assert (await run.ended()).outcome == Exited(code=0)
    assert run.stdout[begin:] == ALL_BYTES


async def test_binary_output_does_no_harm(client: RawClient) -> None:
    write = "import random, sys; sys.stdout.buffer.write(random.Random(7).randbytes(1 << 20))"
    run = on_terminal(client, sys.executable, "-c", write, shown=terminal(80, 24, ("OPOST", 0)))
    assert (await run.ended()).outcome == Exited(code=0)
    assert run.stdout == random.Random(7).randbytes(1 << 20)


async def test_the_last_bytes_of_the_output_are_not_lost(client: RawClient) -> None:
    script = "import os, sys; sys.stdout.write('x' * 1000 * 1000); sys.stdout.flush(); os.write(1, b'THE END')"
    for _ in range(5):
        run = on_terminal(client, sys.executable, "-c", script)
        await run.ended()
        assert (len(run.stdout), run.stdout[-7:]) == (1_000_007, b"THE END")


async def test_the_end_of_stdin_ends_a_program_that_reads_lines(client: RawClient) -> None:
    run = on_terminal(client, "wc", "-c", shown=terminal(80, 24, ("ECHO", 0)))
    run.write(b"a line\nand a rest")
    run.send(m.End(stream="stdin"))
    assert (await run.ended()).outcome == Exited(code=0)
    assert run.stdout == b"17\r\n"


async def test_a_large_paste_arrives_completely(client: RawClient) -> None:
    data = bytes(range(32, 127)) * 11_000
    run = on_terminal(client, "sh", "-c", f"stty raw -echo; echo ready; head -c {len(data)} | sha256sum")
    await run.match(b"ready")
    assert run.write(data) == len(data)
    await run.ended()
    assert hashlib.sha256(data).hexdigest().encode() in run.stdout


# Keys


@pytest.mark.parametrize("pasted", [0, 10_000, 1_000_000])
async def test_ctrl_c_ends_a_program_whatever_was_pasted_before(client: RawClient, pasted: int) -> None:
    run = on_terminal(client, "sh", "-c", "echo ready; exec sleep 60")
    await run.match(b"ready")
    paste = b"a line of a paste\n" * (pasted // 18)
    assert run.write(paste + b"\x03") == len(paste) + 1
    assert (await run.ended()).outcome == Signaled(signal=signal.SIGINT)


async def test_ctrl_c_ends_a_flood_with_little_further_output(client: RawClient) -> None:
    run = await shell(client)
    run.write(b"yes\r")
    await run.output(1_000_000)
    before = len(run.stdout)
    run.write(b"\x03")
    await run.match(rb"2> ", before)
    assert len(run.stdout) - before <= 2 * TERMINAL_WINDOW
    assert await answer(run, "echo $((6*7))", b"42") == b"42"
    run.write(b"exit\r")
    await run.ended()


async def test_a_flood_waits_for_a_client_that_does_not_read_and_can_still_be_ended(client: RawClient) -> None:
    run = on_terminal(client, "yes", credit=False)
    await run.output(TERMINAL_WINDOW)
    listed = client.start("true")
    await listed.ended()
    run.write(b"\x03")
    run.grant()
    ended = await run.ended()
    assert ended.outcome == Signaled(signal=signal.SIGINT)
    assert ended.stdout <= 2 * TERMINAL_WINDOW
    assert "gap" not in run.transcript


def foreground_group(pid: int) -> int:
    """Return the foreground process group of the terminal of a process (tpgid in proc(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[5])


async def test_job_control_works(client: RawClient) -> None:
    run = await shell(client)
    pid = int(await answer(run, "echo up; sh -c 'echo $$; kill -STOP $$; exec sleep 999'", rb"[0-9]+\r"))
    await answer(run, "jobs -l", b"%d Stopped" % pid)
    await answer(run, "bg; jobs -r", b"Running")
    begin = len(run.stdout)
    run.write(b"fg\r")
    await run.match(b"exec sleep 999'\r\n", begin + 4)
    # The shell prints the command before it gives the job the terminal; until then Ctrl-Z is for the shell.
    async with asyncio.timeout(TIMEOUT):
        while foreground_group(pid) != pid:  # noqa: ASYNC110  # no event tells of tcsetpgrp(3)
            await asyncio.sleep(0.01)
    run.write(b"\x1a")
    await run.match(b"Stopped[^>]*> ", begin)
    await answer(run, "kill %1; fg", b"Terminated")
    await end_of(pid)
    run.write(b"exit\r")
    assert isinstance((await run.ended()).outcome, Exited)


async def test_background_jobs_of_a_shell_end_with_it(client: RawClient) -> None:
    run = await shell(client)
    pid = int(await answer(run, "sleep 999 & echo $!", rb"[0-9]+\r"))
    run.write(b"exit\r")
    run.write(b"exit\r")
    ended = await run.ended()
    assert ended.lingered
    await end_of(pid)
    await session_is_gone(await run.started())


# Sizes


async def test_a_program_is_notified_of_each_new_size(client: RawClient) -> None:
    run = on_terminal(client, *SHOWS_SIZE)
    await run.match(b"ready")
    for columns, rows in ((100, 30), (1, 1), (500, 300)):
        run.send(m.Resize(columns=columns, rows=rows))
        await run.match(b": %d %d\r\n" % (rows, columns))
        await run.resized(columns, rows)
    run.write(b"end\r")
    await run.ended()
    (listed,) = await runs_of(client, run.request.id)
    assert listed.terminal == size(500, 300)


async def test_the_last_of_many_resizes_applies_and_the_program_sees_few(client: RawClient) -> None:
    run = on_terminal(client, *SHOWS_SIZE)
    await run.match(b"ready")
    for columns in range(1, 1001):
        client.connection.send(run.channel, m.Resize(columns=columns, rows=24))
    client.flush()
    await run.resized(1000, 24)
    await run.match(b"24 1000\r\n")
    assert len(run.sizes) < 100
    run.write(b"end\r")
    await run.ended()


async def runs_of(client: RawClient, run_id: str) -> tuple[m.RunInfo, ...]:
    """Return a listing's entry for one run."""
    loop = asyncio.get_running_loop()
    listed: asyncio.Future[tuple[m.RunInfo, ...]] = loop.create_future()

    class Listing:
        def received(self, event: Any) -> None:
            if isinstance(event.message, m.Runs):
                listed.set_result(event.message.runs)

        def connection_lost(self) -> None:
            listed.cancel()

    client.runs[client.connection.open(m.List(ended=True, prefix=run_id))] = Listing()  # type: ignore[assignment]
    client.flush()
    return await asyncio.wait_for(listed, 10)


# The end of a run


async def test_a_shell_is_stopped_at_once(client: RawClient) -> None:
    run = await shell(client)
    run.send(m.Stop(kill_after=60.0))
    outcome = (await run.ended()).outcome
    assert outcome == Killed(reason="requested", signal=signal.SIGHUP)


async def test_a_program_may_close_its_terminal_and_open_it_again(client: RawClient) -> None:
    run = on_terminal(client, "sh", "-c", "exec <&- >&- 2>&-; sleep 0.1; echo back >/dev/tty; exit 5")
    assert (await run.ended()).outcome == Exited(code=5)
    assert run.stdout == b"back\r\n"
