"""A run's output can be replayed with its times; a run that must be recorded is recorded completely or does not run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from farhand_client import PIPE, Client, Exited, Killed, RequestRefused, Run, connect
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.client import TIMEOUT
from tests.support.policy_service import ME, PolicyService, policy_service
from tests.support.service import Service, running_service
from tests.support.upgrades import upgraded

SCREEN = m.TerminalRequest(name="xterm", size=m.WindowSize(columns=80, rows=24))
PAUSE = 0.05
"""Seconds between outputs; outputs within a millisecond share a mark."""

POLICY = """
[[rules]]
name = "recorded"
who = {{ keys = ["{recorded}"] }}
commands = [["*", "..."]]
shell = true
record = true

[[rules]]
name = "free"
who = {{ keys = ["{free}"] }}
commands = [["*", "..."]]
shell = true

[[rules]]
name = "watch"
who = {{ keys = ["{watch}"] }}
others = ["see"]
"""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(tmp_path) as running:
        yield running


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with connect(service.host) as connected:
        yield connected


@pytest.fixture
async def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PolicyService]:
    """A service that records the runs of the key `recorded`: at most 256 KiB of each stream."""
    keys = {"recorded": "", "free": "", "watch": ""}
    config = '[runs]\nmax_spool = "256 KiB"\n'
    async with policy_service(tmp_path, monkeypatch, POLICY, config=config, **keys) as running:
        yield running


def output(marks: list[m.OutputMark]) -> list[tuple[int | None, int | None]]:
    """Return the output offsets of the marks, in order."""
    return [(mark.stdout, mark.stderr) for mark in marks if mark.stdout is not None or mark.stderr is not None]


def typed(marks: list[m.OutputMark]) -> bytes:
    return b"".join(mark.stdin or b"" for mark in marks)


async def echoed(run: Run, text: bytes) -> float:
    """Send the run a line, wait for its echo, and return the time of its arrival on the monotonic clock."""
    assert run.stdin is not None
    run.stdin.write(text)
    echoed_at = b""
    while not echoed_at.endswith(text):
        echoed_at += await anext(aiter(run.stdout))
    return time.monotonic()


async def later(client: Client, moment: float) -> None:
    """Wait until `PAUSE` has passed since `moment`."""
    while time.monotonic() - moment < PAUSE:
        await client.ping()


async def test_the_times_of_output_are_reported(client: Client) -> None:
    before = time.monotonic()
    async with client.start(["cat"], stdin=PIPE) as run:
        assert run.stdin is not None
        first = await echoed(run, b"one\n")
        await later(client, first)
        second = await echoed(run, b"three\n")
        assert output(await client.recording(run.id)) == [(4, None), (10, None)], "also of a running run"
        run.stdin.close()
        result = await run.wait()
        one, other = await client.recording(run.id)
    assert (one.stdout, other.stdout) == (4, 10)
    # The output was written before the client received it, and at least a pause lies between the two.
    assert one.at <= (first - before) * 1000 + 1
    assert other.at <= min((second - before) * 1000, result.duration * 1000) + 1
    assert other.at - one.at >= PAUSE * 1000 - 1


async def test_a_recording_has_both_streams(client: Client) -> None:
    done = await client.run("echo a; echo bb >&2; read x; echo ccc", shell=True, input=b"\n")
    marks = await client.recording(done.run_id)
    assert (max(mark.stdout or 0 for mark in marks), max(mark.stderr or 0 for mark in marks)) == (6, 3)
    assert all(one.at <= other.at for one, other in pairwise(marks))


async def test_input_is_recorded_only_on_request(client: Client) -> None:
    for record_input in (True, False):
        async with client.start(["cat"], stdin=PIPE, record_input=record_input) as run:
            assert run.stdin is not None
            run.stdin.write(b"secret\n")
            run.stdin.close()
            await run.wait()
        assert typed(await client.recording(run.id)) == (b"secret\n" if record_input else b"")


async def test_a_recording_continues_through_an_upgrade(service: Service, client: Client) -> None:
    finished = await client.run("echo a; echo b >&2", shell=True)
    reported = await client.recording(finished.run_id)
    async with client.start(["cat"], stdin=PIPE, record_input=True) as run:
        assert run.stdin is not None
        await later(client, await echoed(run, b"before\n"))
        first = await client.recording(run.id)
        await upgraded(service)
        await echoed(run, b"behind\n")
        run.stdin.close()
        assert (await run.wait()).outcome == Exited(code=0)
    marks = await client.recording(run.id)
    assert marks[: len(first)] == first
    assert output(marks) == [(7, None), (14, None)]
    assert typed(marks) == b"before\nbehind\n"
    assert await client.recording(finished.run_id) == reported, "also of an ended run"


async def test_a_recording_is_deleted_with_the_output(tmp_path: Path) -> None:
    async with running_service(tmp_path, config="[runs]\nkept_runs = 0\n") as service, connect(service.host) as client:
        done = await client.run(["echo", "x"])
        with pytest.raises(RequestRefused, match="is no longer kept, and neither are its times") as refused:
            await client.recording(done.run_id)
        assert refused.value.code == ErrorCode.EXPIRED
        run = await client.start(["true"], terminal=SCREEN)
        await run.wait()
        terminals = [seen.terminal for seen in await client.runs(ended=True)]
        assert terminals == [m.WindowSize(columns=0, rows=0), None], (
            "the history knows of the terminal, but not its last size"
        )
        with pytest.raises(RequestRefused) as refused:
            await client.recording("01890a5d-ac96-474b-8cce-b302099a8057")
        assert refused.value.code == ErrorCode.UNKNOWN_RUN


async def test_runs_that_must_be_recorded_are_kept_completely(guard: PolicyService) -> None:
    async with guard.client("recorded") as client:
        # No client reads it, and with the requested spool its beginning would have been dropped.
        run = await client.start("seq 20000; sleep 60", shell=True, spool=65536)
        await client.wait_for(run.id, pattern=rb"\n20000\n", timeout=TIMEOUT)
        assert (await run.stdout.read(2)) == b"1\n"
        await client.stop(run.id)
    (start,) = guard.audited("start")
    assert start["recorded"] == ["output"]
    async with guard.client("free") as client:
        await client.run(["true"])
    assert "recorded" not in guard.audited("start")[1]


@pytest.mark.parametrize("on_terminal", [False, True])
async def test_a_recording_that_is_full_stops_the_run(guard: PolicyService, on_terminal: bool) -> None:
    terminal = SCREEN if on_terminal else None
    async with guard.client("recorded") as client:
        async with client.start(["sh", "-c", "trap '' TERM; exec yes"], terminal=terminal) as run:
            size = 0
            async for chunk in run.stdout:
                size += len(chunk)
            result = await run.wait()
        assert isinstance(result.outcome, Killed)
        assert (result.outcome.reason, result.outcome.message) == ("spool", "its recording is full")
        assert size == result.stdout == 256 << 10
        assert output(await client.recording(run.id))[-1] == (256 << 10, None)
    async with guard.client("free") as client:
        done = await client.run("yes | head -c 600000 | wc -c; seq 100000", shell=True, max_output=1 << 20)
        assert done.outcome == Exited(code=0)


async def test_a_run_that_cannot_be_recorded_does_not_start(guard: PolicyService) -> None:
    spools = guard.state / "spool"
    if spools.exists():
        spools.rmdir()
    spools.write_text("in the way")
    mark = guard.directory / "ran"
    async with guard.client("recorded") as client, guard.client("free") as free:
        for start in (client.start(["touch", str(mark)]), client.start(["touch", str(mark)], terminal=SCREEN)):
            with pytest.raises(RequestRefused, match="cannot be kept on disk") as refused:
                await start
            assert refused.value.code == ErrorCode.UNAVAILABLE
        assert not mark.exists()
        assert (await free.run(["touch", str(mark)])).outcome == Exited(code=0)


async def test_a_run_is_stopped_when_its_removed_recording_is_noticed(guard: PolicyService) -> None:
    async with guard.client("recorded") as client:
        run = await client.start(["sh", "-c", "echo x; sleep 60"], grace=60)
        await client.wait_for(run.id, pattern=b"x", timeout=TIMEOUT)
        for file in (guard.state / "spool").iterdir():
            file.unlink()
        await upgraded(guard.service)
    async with guard.client("recorded") as client:
        outcome = (await client.wait(run.id)).outcome
    assert isinstance(outcome, Killed)
    assert (outcome.reason, outcome.message) == (
        "spool",
        "its recording is lost: somebody has deleted or truncated the file",
    )


async def test_recordings_are_only_for_clients_that_may_attach(guard: PolicyService) -> None:
    async with guard.client("recorded") as client, guard.client("watch") as watch:
        run = await client.start(["cat"], stdin=PIPE)
        with pytest.raises(RequestRefused, match=f"does not let {ME} attach to this run of {ME}") as refused:
            await watch.recording(run.id)
        assert refused.value.code == ErrorCode.DENIED
        await client.recording(run.id)
        denial, attach = guard.audited("attach", "denial")
        assert (denial["run"], attach["run"]) == (run.id, run.id)
        assert attach["detail"] == "recording"
        await client.stop(run.id)


async def test_a_terminals_sizes_and_keys_are_in_its_recording(client: Client) -> None:
    async with client.start(["cat"], terminal=SCREEN, record_input=True) as run:
        await asyncio.wait_for(_until(run, b"ready", b"ready\r"), TIMEOUT)
        run.resize(100, 30)
        await asyncio.wait_for(_until(run, b"again", b"again\r"), TIMEOUT)
        while (await client.runs())[0].terminal != m.WindowSize(columns=100, rows=30):
            await client.ping()
        assert run.stdin is not None
        run.stdin.write(b"\x04")
        await run.wait()
    marks = await client.recording(run.id)
    sizes = [mark.size for mark in marks if mark.size is not None]
    assert (sizes[0], sizes[-1]) == (SCREEN.size, m.WindowSize(columns=100, rows=30))
    assert marks[0] == m.OutputMark(at=0, size=SCREEN.size)
    assert typed(marks) == b"ready\ragain\r\x04"
    echo = next(mark for mark in marks if mark.stdout)
    assert marks.index(echo) > next(number for number, mark in enumerate(marks) if mark.stdin)


async def _until(run: Run, text: bytes, keys: bytes) -> None:
    """Type `keys` and wait until the program has written `text`."""
    assert run.stdin is not None
    run.stdin.write(keys)
    echoed_at = b""
    while echoed_at.count(text) < 2:  # the echo, and the output of cat
        echoed_at += await anext(aiter(run.stdout))
