"""The resources of a run: each limit is enforced, the outcome names the one that ended it, and usage is reported."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import farhand_client
from farhand_client import Client, Gap
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed, Outcome, TimedOut
from tests.support.client import RawClient
from tests.support.command import farhand
from tests.support.processes import children, resident
from tests.support.service import Service, running_service

MiB = 1 << 20


@pytest.fixture
async def far(core: Service) -> Any:
    """A client of the shared service."""
    async with farhand_client.connect(core.host) as client:
        yield client


async def outcome(core: Service, *command: str, **options: Any) -> m.Ended:
    """Return the outcome of a run with these limits."""
    async with RawClient.connect(core.socket) as client:
        run = client.start(*command, **options)
        return await run.ended()


async def test_a_run_is_stopped_at_its_timeout(core: Service) -> None:
    ended = await outcome(core, "sleep", "60", timeout=0.1)
    assert ended.outcome == TimedOut(timeout=0.1, signal=signal.SIGTERM)
    assert 0.1 <= ended.duration < 30


async def test_a_run_without_output_is_stopped_after_the_idle_time(core: Service) -> None:
    ended = await outcome(core, "sh", "-c", "echo out; sleep 60", idle_timeout=1.0)
    assert ended.outcome == TimedOut(timeout=1.0, idle=True, signal=signal.SIGTERM)
    assert ended.stdout == 4


async def test_output_on_either_stream_resets_the_idle_time(core: Service) -> None:
    # Longer than the idle time, with pauses so short that no busy machine makes as much of one.
    script = "for i in $(seq 40); do sleep 0.05; echo $i >&2; done"
    assert (await outcome(core, "sh", "-c", script, idle_timeout=1.5)).outcome == Exited(code=0)


async def test_time_blocked_by_a_reader_does_not_count_as_idle(core: Service) -> None:
    async with RawClient.connect(core.socket) as client:
        run = client.start("head", "-c", str(12 * MiB), "/dev/zero", credit=False, keep=False, idle_timeout=1.0)
        await run.output(4 * MiB)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await run.ended()
        run.grant()
        assert (await run.ended()).outcome == Exited(code=0)


async def test_output_above_its_limit_ends_the_run(core: Service) -> None:
    ended = await outcome(core, "cat", "/dev/zero", bounds={"output": 100_000}, keep=False)
    assert isinstance(ended.outcome, Killed)
    assert (ended.outcome.reason, ended.outcome.message) == ("output", "it wrote more than 100000 bytes")
    assert ended.stdout > 100_000
    assert ended.applied == m.AppliedBounds(output="service")


async def test_a_reported_exit_remains_the_outcome_despite_later_output(core: Service) -> None:
    script = "{ sleep 0.1; head -c 2000 /dev/zero; sleep 60; } & exit 3"
    async with RawClient.connect(core.socket) as client:
        run = client.start("sh", "-c", script, bounds={"output": 1000})
        ended = await run.ended()
    assert "exit" in run.transcript
    assert ended.outcome == Exited(code=3)


@pytest.mark.parametrize(("count", "status"), [(1000, "exited"), (1001, "killed")])
async def test_both_streams_count_and_so_do_bytes_left_in_the_pipes(core: Service, count: int, status: str) -> None:
    script = f"head -c 500 /dev/zero; head -c {count - 500} /dev/zero >&2"
    ended = await outcome(core, "sh", "-c", script, bounds={"output": 1000})
    assert ended.outcome.status == status
    assert ended.stdout + ended.stderr == count


ENDED: dict[str, tuple[str, dict[str, Any], Outcome]] = {
    "cpu": ("while :; do :; done", {"cpu": 1.0}, Killed(reason="cpu", signal=signal.SIGXCPU)),
    "file_size": (
        "exec dd if=/dev/zero of=$FILE bs=4096", {"file_size": 8192},
        Killed(reason="file_size", signal=signal.SIGXFSZ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("script", "bounds", "expected"), ENDED.values(), ids=ENDED.keys())
async def test_a_limit_that_ends_a_run_is_named(
    core: Service, script: str, bounds: dict[str, Any], expected: Outcome, tmp_path: Path
) -> None:
    ended = await outcome(core, "sh", "-c", script, bounds=bounds, env=((b"FILE", bytes(tmp_path / "file")),))
    assert ended.outcome == expected.model_copy(update={"message": getattr(ended.outcome, "message", None)})
    assert ended.applied is not None
    assert list(ended.applied.model_dump(exclude_none=True)) == list(bounds)


REFUSED = {
    "memory": (f"x = bytearray({256 * MiB})", {"memory": 96 * MiB}, "MemoryError"),
    "files": ("x = [open('/dev/null') for _ in range(100)]", {"files": 32}, "Too many open files"),
}


@pytest.mark.parametrize(("code", "bounds", "message"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_program_may_handle_a_limit_itself(
    core: Service, code: str, bounds: dict[str, Any], message: str
) -> None:
    async with RawClient.connect(core.socket) as client:
        run = client.start(sys.executable, "-S", "-c", code, bounds=bounds)
        ended = await run.ended()
    assert message in run.stderr.decode()
    assert ended.outcome == Exited(code=1)
    applied = ended.applied
    assert applied is not None
    assert applied.model_dump(exclude_none=True) == dict.fromkeys(bounds, "rlimit")


async def test_applied_limits_and_usage_are_in_the_status(service: Service, tmp_path: Path) -> None:
    status = tmp_path / "status.json"
    code = "import time\nx = bytearray(300 << 20)\nwhile time.process_time() < 0.3: pass"
    limits = ("--limit", "memory=1G", "--limit", "cpu=10", "--limit", "files=100", "--limit", "output=1M")
    command = ("run", "--status-json", str(status), *limits, service.host, sys.executable, "-S", "-c", code)
    start_time = time.monotonic()
    finished = await farhand(*command, env=service.environment)
    wall = time.monotonic() - start_time
    assert finished.code == 0, finished
    reported = json.loads(status.read_text())
    assert reported["applied"] == {"memory": "rlimit", "cpu": "rlimit", "files": "rlimit", "output": "service"}
    usage = reported["usage"]
    assert 0.2 <= usage["user"] + usage["system"] <= wall
    # More than the service itself ever used: otherwise the peak would be unknown.
    assert 300 * MiB <= usage["peak_memory"] < 400 * MiB


# Output on disk


async def test_a_spool_on_disk_reports_its_gap_exactly(far: Client) -> None:
    size, gaps = 1 << 20, list[Gap]()
    script = "seq -f %015.0f 0 199999"  # 16 bytes per line, three times the spool
    async with far.start(["sh", "-c", script], spool=size, on_gap=gaps.append) as run:
        await run.wait()
        rest = await run.stdout.read()
    whole = b"".join(b"%015d\n" % number for number in range(200_000))
    received, position = 0, 0
    for gap in gaps:
        received += gap.offset - position
        position = gap.offset + gap.bytes
    assert len(rest) + sum(gap.bytes for gap in gaps) == len(whole)
    assert rest.endswith(whole[position:])
    async with far.attach(run.id, on_gap=gaps.append) as again:
        assert await again.stdout.read() == whole[-size:]


async def test_a_program_with_a_spool_does_not_wait_for_its_reader(core: Service) -> None:
    async with RawClient.connect(core.socket) as client:
        run = client.start("head", "-c", str(64 * MiB), "/dev/zero", spool=1 << 20, credit=False, keep=False)
        await run.output(1)
        async with asyncio.timeout(20), farhand_client.connect(core.host) as other:
            assert (await other.wait(run.request.id)).outcome == Exited(code=0)


@pytest.mark.needs("root", "mount")
async def test_on_a_full_disk_a_run_keeps_less_and_says_exactly_how_much_is_missing(tmp_path: Path) -> None:
    (tmp_path / "state" / "farhand").mkdir(parents=True)
    spool = tmp_path / "state" / "farhand" / "spool"
    spool.mkdir()
    await shell(f"mount -t tmpfs -o size=512k tmpfs {spool}")
    try:
        async with running_service(tmp_path) as service, farhand_client.connect(service.host) as client:
            gaps = list[Gap]()
            completed = await client.run(["head", "-c", str(2 * MiB), "/dev/zero"], spool=4 * MiB, on_gap=gaps.append)
            assert completed.outcome == Exited(code=0)
            assert len(completed.stdout) + sum(gap.bytes for gap in gaps) == 2 * MiB
            assert (await client.run(["echo", "others go on"], spool=4 * MiB)).stdout == b"others go on\n"
            assert any("has little space left" in fault for fault in (await client.status()).faults)
    finally:
        await shell(f"umount {spool}")


async def shell(command: str) -> None:
    """Run a local command, which has to succeed."""
    process = await asyncio.create_subprocess_shell(command)
    assert await process.wait() == 0, command


async def test_a_stalled_client_uses_no_memory_and_delays_no_other(core: Service) -> None:
    async with RawClient.connect(core.socket) as stopped, farhand_client.connect(core.host) as other:
        run = stopped.start("yes", keep=False)
        await run.output(8 * MiB)
        stopped.stop_reading()
        before = resident(core.process.pid)
        for _ in range(50):
            assert (await other.run(["echo", "there"])).stdout == b"there\n"
        assert len((await other.run(["head", "-c", str(32 * MiB), "/dev/zero"])).stdout) == 32 * MiB
        assert resident(core.process.pid) - before < 24 * MiB
        assert len(children(core.process.pid)) >= 1
        stopped.resume_reading()
        await run.output(16 * MiB)
