"""Failures of the machine are reported correctly, leak nothing, and affect only the runs concerned."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import farhand_client
from farhand_client import Client, Gap, RequestRefused, SpawnError
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, Lost, SpawnFailed
from tests.support.client import TIMEOUT, RawClient
from tests.support.command import farhand
from tests.support.processes import children, descriptors, end_of, resident
from tests.support.service import Service, running_service

MiB = 1 << 20


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.long)])
async def test_thousands_of_runs_at_once(tmp_path: Path, count: int) -> None:
    config = f"[runs]\nmax_runs = {count}\nmax_runs_per_connection = {count // 2}\n"
    prefix = ("sh", "-c", 'ulimit -n 20000; exec "$@"', "sh")
    async with running_service(tmp_path, config=config, prefix=prefix) as service, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RawClient.connect(service.socket)) for _ in range(3)]
        await clients[0].run("true")
        before = descriptors(service.process.pid)
        runs = [client.start("cat", stdin=True) for client in clients[:2] for _ in range(count // 2)]
        for run in runs:
            await run.started()
        assert len(children(service.process.pid)) == count
        assert (await clients[2].start("true").error()).code == ErrorCode.TOO_MANY_RUNS
        for number, run in enumerate(runs):
            run.write(b"%d" % number)
            run.send(m.End(stream="stdin"))
        for number, run in enumerate(runs):
            assert (await run.ended()).outcome == Exited(code=0)
            assert run.stdout == b"%d" % number
        async with asyncio.timeout(TIMEOUT):
            while children(service.process.pid) or descriptors(service.process.pid) > before:
                await clients[2].round_trip()


@pytest.mark.parametrize("rounds", [40, pytest.param(200, marks=pytest.mark.long)])
async def test_no_kind_of_failed_start_leaks_anything(
    core: Service, client: RawClient, tmp_path: Path, rounds: int
) -> None:
    (tmp_path / "plain").write_text("no program")
    failures: list[tuple[str, dict[str, object]]] = [
        ("ENOENT", {"argv": (b"/no/such/program",)}),
        ("EACCES", {"argv": (bytes(tmp_path / "plain"),)}),
        ("E2BIG", {"argv": (b"true", *[b"x" * 130_000] * 20)}),
        ("ENOENT", {"argv": (b"true",), "cwd": b"/no/such/directory"}),
        ("ENOTDIR", {"argv": (b"true",), "cwd": b"/etc/passwd"}),
    ]
    pid = core.process.pid
    for name, request in failures:  # once for everything that is loaded only the first time
        assert (await failure(client, request)).error == name
    at_first = descriptors(pid), resident(pid)
    for number in range(rounds):
        for name, request in failures:
            if name != "E2BIG" or number % 10 == 0:  # 3 MB of JSON each
                assert (await failure(client, request)).error == name
    async with asyncio.timeout(TIMEOUT):
        while children(pid) or descriptors(pid) > at_first[0]:
            await client.round_trip()
    assert resident(pid) - at_first[1] < 16 * MiB


async def failure(client: RawClient, request: dict[str, object]) -> SpawnFailed:
    """Return the outcome of a run that cannot start."""
    outcome = (await client.start(**request).ended()).outcome  # type: ignore[arg-type]  # fields of the request
    assert isinstance(outcome, SpawnFailed)
    return outcome


async def test_without_descriptors_runs_fail_and_later_ones_do_not(core: Service) -> None:
    async with farhand_client.connect(core.host) as client:
        await client.run(["true"])
        before = descriptors(core.process.pid)
        soft, hard = resource.prlimit(core.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(core.process.pid, resource.RLIMIT_NOFILE, (before, hard))
        try:
            for _ in range(200):
                with pytest.raises(SpawnError, match="Too many open files"):
                    await client.run(["true"])
        finally:
            resource.prlimit(core.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert (await client.run(["true"])).returncode == 0
        async with asyncio.timeout(TIMEOUT):
            while descriptors(core.process.pid) > before:
                await client.ping()


@contextlib.asynccontextmanager
async def no_new_process(pid: int) -> AsyncIterator[None]:
    """Make the kernel refuse every new process of `pid`, as it does above RLIMIT_NPROC or pids.max."""
    tracer = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-p", str(pid), "-o", os.devnull, "-e", "inject=vfork,fork,clone:error=EAGAIN"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert tracer.stderr is not None
        async with asyncio.timeout(TIMEOUT):
            while b"attached" not in (line := await tracer.stderr.readline()):
                assert line, "strace has ended"
        yield
    finally:
        tracer.terminate()
        await tracer.communicate()


@pytest.mark.needs("root", "strace")
async def test_without_free_processes_runs_fail_and_later_ones_do_not(core: Service) -> None:
    async with farhand_client.connect(core.host) as client:
        assert (await client.run(["true"])).returncode == 0
        before = descriptors(core.process.pid)
        async with no_new_process(core.process.pid):
            for _ in range(200):
                with pytest.raises(SpawnError, match="Resource temporarily unavailable"):
                    await client.run(["true"])
        assert (await client.run(["true"])).returncode == 0
        async with asyncio.timeout(TIMEOUT):
            while descriptors(core.process.pid) > before:
                await client.ping()


async def test_after_a_crash_every_run_is_lost_and_all_of_its_processes_are_ended(tmp_path: Path) -> None:
    pids, ids = list[int](), list[str]()
    # The leader, a child, and a process that has left session, group and environment.
    script = "setsid env -i /bin/sleep 600 & sleep 600 & echo $! ; exec sleep 600"
    async with running_service(tmp_path) as service:
        async with RawClient.connect(service.socket) as client:
            runs = [client.start(shell=script, grace=60, on_disconnect="keep", spool=MiB) for _ in range(50)]
            for run in runs:
                pids.append(await run.started())
                pids.append(int(await run.line()))
                ids.append(run.request.id)
        pids += [pid for leader in pids[::2] for pid in children(leader)]
        service.process.send_signal(signal.SIGKILL)
        await service.process.wait()
    assert len(set(pids)) >= 150
    async with running_service(tmp_path) as service:
        for pid in pids:
            await end_of(pid)
        async with farhand_client.connect(service.host) as again:
            known = {run.id: run.outcome for run in await again.runs(ended=True)}
        assert {known[run_id] for run_id in ids} == {Lost()}
        assert list((tmp_path / "state" / "farhand" / "spool").iterdir()) == []
        listed = await farhand("ps", "-a", service.host, env=service.environment)
        assert listed.stdout.decode().count("lost") == 50, listed
        assert "lost" in service.log or "left" in service.log


# The state directory


@pytest.mark.needs("root", "mount")
async def test_a_full_disk_is_reported_and_recovered_from(tmp_path: Path) -> None:
    state = tmp_path / "state" / "farhand"
    with small_disk(state):
        async with running_service(tmp_path) as service, farhand_client.connect(service.host) as client:
            assert (await client.run(["true"])).returncode == 0
            with contextlib.suppress(OSError), (state / "filler").open("wb", buffering=0) as writing:
                while True:
                    writing.write(bytes(4096))
            error = await refusal(client)
            assert error.code == ErrorCode.UNAVAILABLE
            assert "full" in str(error)
            assert await client.runs() == []
            (state / "filler").unlink()
            assert (await client.run(["true"])).returncode == 0


async def refusal(client: Client) -> RequestRefused:
    """Return the refusal of the first run that cannot be recorded; earlier records may still fit into a page."""
    for _ in range(200):
        try:
            await client.run(["echo", "x" * 2000])
        except RequestRefused as error:
            return error
    raise AssertionError("every run was recorded")


async def test_a_read_only_disk_is_reported_and_running_runs_continue(tmp_path: Path) -> None:
    """As on a read-only disk, every write fails, but with EFBIG instead of EROFS."""
    async with (
        running_service(tmp_path) as service,
        farhand_client.connect(service.host) as client,
        client.start(["cat"], stdin=farhand_client.PIPE) as run,
    ):
        soft, hard = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (0, hard))
        error = await refusal(client)
        assert error.code == ErrorCode.UNAVAILABLE
        assert run.stdin is not None
        run.stdin.write(b"goes on")
        assert await run.stdout.read(7) == b"goes on"
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
        run.stdin.close()
        assert (await run.wait()).outcome == Exited(code=0)
        assert (await client.run(["true"])).returncode == 0


@pytest.mark.needs("root", "mount")
async def test_a_service_on_a_read_only_disk_starts_says_so_and_recovers(tmp_path: Path) -> None:
    state = tmp_path / "state" / "farhand"
    with small_disk(state):
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        async with running_service(tmp_path) as service, farhand_client.connect(service.host) as client:
            error = await refusal(client)
            assert error.code == ErrorCode.UNAVAILABLE
            assert "Read-only file system" in str(error)
            (fault, *_) = (await client.status()).faults
            assert "cannot be used: Read-only file system; no run is started" in fault
            subprocess.run(["mount", "-o", "remount,rw", state], check=True)
            async with asyncio.timeout(TIMEOUT):
                while (await client.status()).faults:
                    await client.status()
            assert (await client.run(["true"])).returncode == 0
            assert "Traceback" not in service.log


@pytest.mark.needs("root", "mount")
async def test_after_a_crash_on_a_disk_full_of_output_the_service_starts_and_deletes_it(tmp_path: Path) -> None:
    state = tmp_path / "state" / "farhand"
    with small_disk(state):
        async with running_service(tmp_path) as service, farhand_client.connect(service.host) as client:
            gaps = list[Gap]()
            big = await client.run(["head", "-c", "16M", "/dev/zero"], spool=16 << 20, on_gap=gaps.append)
            assert big.outcome == Exited(code=0)
            assert len(big.stdout) + sum(gap.bytes for gap in gaps) == 16 << 20
            assert (await client.run(["true"])).returncode == 0, "others can start runs"
            service.process.kill()
            await service.process.wait()
        with (state / "spool" / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        async with running_service(tmp_path) as service, farhand_client.connect(service.host) as client:
            assert (await client.run(["true"])).returncode == 0
            assert "output that a dead service has left behind was deleted" in service.log
            await client.run(["echo", "kept"], spool=4 << 20)
            await service.stop()
        assert not list((state / "spool").iterdir()), "an orderly stop leaves no output of anybody"


@contextlib.contextmanager
def small_disk(state: Path) -> Iterator[None]:
    """Mount a file system of 2 MiB for the state."""
    state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", state], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", state], check=True)  # a process that ends may still use it


async def test_a_damaged_history_is_reported_without_a_traceback(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service, farhand_client.connect(service.host) as client:
        await client.run(["true"])
    database = next((tmp_path / "state").rglob("history.db"))
    database.write_bytes(b"this is no database" * 1000)
    async with contextlib.AsyncExitStack() as stack:
        try:
            service = await stack.enter_async_context(running_service(tmp_path))
        except AssertionError as error:
            output = str(error)
        else:
            output = service.log
            client = await stack.enter_async_context(farhand_client.connect(service.host))
            assert (await client.run(["true"])).returncode == 0
    assert "history.db" in output
    assert "Traceback" not in output


async def test_cancelling_a_client_anywhere_leaves_no_run_and_no_process(core: Service, client: RawClient) -> None:
    await client.run("true")
    before = descriptors(core.process.pid)

    async def everything(far: Client) -> None:
        async with far.start([sys.executable, "-c", "print(1)"], kill_after=0.1) as run:
            await run.stdout.read()
            await run.wait()
        await far.run(["cat"], input=bytes(100_000), kill_after=0.1)
        await far.run(["sleep", "60"], kill_after=0.1)

    async with farhand_client.connect(core.host) as far:
        for turns in range(0, 120, 3):
            task = asyncio.ensure_future(everything(far))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        known = [run for run in await far.runs(ended=True) if run.outcome is None or run.attachments]
        assert known == []
    async with asyncio.timeout(TIMEOUT):
        while children(core.process.pid) or descriptors(core.process.pid) > before:
            await client.round_trip()
