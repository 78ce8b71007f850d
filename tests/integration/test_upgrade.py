"""The program of the service is replaced while it runs: no run ends, no byte is lost, no exit code is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from farhand_client import PIPE, Client, Exited, Killed, RequestRefused, Run, TimedOut, connect
from tests.support.client import TIMEOUT
from tests.support.openssh import make_key
from tests.support.processes import children, descriptors, end_of
from tests.support.service import Service, running_service
from tests.support.upgrades import WRITER, exchangeable, kill_edge, upgrade, upgraded


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A separate service for each test, without an edge."""
    async with running_service(tmp_path, config="[runs]\nlinger = 60\n[drain]\ngrace = 0.2\n") as running:
        yield running


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    """A client that reconnects."""
    async with connect(service.host) as connected:
        yield connected


async def line(run: Run) -> str:
    """Return the next line of stdout."""
    async with asyncio.timeout(TIMEOUT):
        async for found in run.stdout.lines():
            return found.decode().strip()
    raise AssertionError("stdout has ended")


async def hashed(run: Run) -> str:
    """Return the SHA-256 of all of stdout."""
    sha256 = hashlib.sha256()
    async for chunk in run.stdout:
        sha256.update(chunk)
    return sha256.hexdigest()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("count", "steps"),
    [(6, ((1, 1), (1, 1))), pytest.param(20, ((3, 1), (3, 1), (2, 1), (2, 0)), marks=pytest.mark.long)],
)
async def test_runs_stream_on_through_upgrades_and_killed_edges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, steps: tuple[tuple[int, int], ...]
) -> None:
    """`steps` are the numbers of killed edges and of upgrades."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "client"))
    make_key(tmp_path / "key")
    authorized = tmp_path / "config/farhand/authorized_keys"
    authorized.parent.mkdir(parents=True)
    authorized.write_bytes((tmp_path / "key.pub").read_bytes())
    async with running_service(tmp_path, listen=True) as service, AsyncExitStack() as clients:
        assert service.address is not None
        host, port = service.address
        core = service.process.pid
        connected = [
            await clients.enter_async_context(
                connect(
                    host,
                    port=port,
                    identities=[tmp_path / "key"],
                    known_hosts=tmp_path / "known_hosts",
                    accept_new=True,
                )
            )
            for _ in range(4)
        ]
        runs = [
            await connected[number % 4].start([sys.executable, "-I", "-S", "-c", WRITER, str(tmp_path), str(number)])
            for number in range(count)
        ]
        pids = [run.pid for run in runs]
        hashes = [asyncio.create_task(hashed(run)) for run in runs]
        for kills, upgrades in steps:
            for _ in range(kills):
                await kill_edge(service)
                async with asyncio.timeout(TIMEOUT):
                    await connected[0].ping()
            for _ in range(upgrades):
                await upgraded(service)
        (tmp_path / "enough").touch()
        async with asyncio.timeout(TIMEOUT):
            results = [await run.wait() for run in runs]
            received = [await each for each in hashes]
        written = [(tmp_path / f"written-{number}").read_text().split() for number in range(count)]
        assert received == [sha256 for _, sha256 in written]
        assert pids == [int(pid) for pid, _ in written]
        assert [result.outcome for result in results] == [Exited(code=number) for number in range(count)]
        assert service.process.pid == core
        assert service.log.count("msg=upgraded") == sum(upgrades for _, upgrades in steps)


async def test_stdin_continues_where_the_upgrade_interrupted_it(service: Service, client: Client) -> None:
    go = service.directory / "go"
    os.mkfifo(go)
    data = os.urandom(3 << 20)
    async with client.start(["sh", "-c", f"read -r x <{go}; exec sha256sum"], stdin=PIPE) as run:
        assert run.stdin is not None
        # The kernel buffers as much as fits into a pipe; the service has the rest.
        run.stdin.write(data[: 1 << 20])
        await client.ping()
        await upgraded(service)
        run.stdin.write(data[1 << 20 :])
        await client.ping()
        await upgraded(service)
        with go.open("w") as file:
            file.write("\n")
        run.stdin.write(b"the end")
        run.stdin.close()
        assert await line(run) == f"{hashlib.sha256(data + b'the end').hexdigest()}  -"
        assert (await run.wait()).outcome == Exited(code=0)


@pytest.mark.timeout(400)
async def test_a_stop_keeps_its_grace_period_through_an_upgrade(service: Service, client: Client) -> None:
    deaf = "trap 'echo asked' TERM; echo up; while :; do sleep 60 & wait $!; done"
    start_time = time.monotonic()
    await upgraded(service)
    kill_after = 3 * (time.monotonic() - start_time)  # longer than the next upgrade, on any machine
    async with connect(service.host) as other, client.start(["sh", "-c", deaf], grace=0) as run:
        assert await line(run) == "up"
        stopping = asyncio.create_task(other.stop(run.id, kill_after))
        assert await line(run) == "asked"
        await upgraded(service)
        assert not stopping.done()
        result = await run.wait()
        await stopping
        assert await run.stdout.read() == b""
    assert result.outcome == Killed(reason="requested", signal=signal.SIGKILL)
    assert kill_after <= result.duration < kill_after + 30


@pytest.mark.timeout(400)
async def test_a_timeout_applies_through_an_upgrade(service: Service, client: Client) -> None:
    for timeout in (2, 8, 32, 128):  # until one is longer than an upgrade on this machine
        start_time = time.monotonic()
        async with client.start(["sh", "-c", "echo up; exec sleep 60"], timeout=timeout) as run:
            await line(run)
            await upgraded(service)
            in_time = time.monotonic() - start_time < timeout
            result = await run.wait()
        assert result.outcome == TimedOut(timeout=timeout, signal=signal.SIGTERM)
        if in_time:
            assert result.duration < timeout + 30
            return
    pytest.fail("an upgrade takes longer than any timeout")


async def test_a_program_that_exits_during_the_upgrade_keeps_its_exit_code(service: Service, client: Client) -> None:
    # It ends as soon as its parent is another program, which is still starting.
    script = "echo up; until tr '\\0' ' ' </proc/$PPID/cmdline | grep -q -e --resume; do :; done; echo seen; exit 9"
    async with client.start(["sh", "-c", script]) as run:
        await line(run)
        await upgraded(service)
        assert await line(run) == "seen"
        assert (await run.wait()).outcome == Exited(code=9)


async def test_output_after_the_leaders_exit_continues_through_an_upgrade(service: Service, client: Client) -> None:
    go = service.directory / "go"
    os.mkfifo(go)
    script = f"(read -r x <{go}; echo late) & echo $!; exit 4"
    async with client.start(["sh", "-c", script]) as run:
        grandchild = int(await line(run))
        await end_of(run.pid or 0)
        await upgraded(service)
        with go.open("w") as file:
            file.write("\n")
        assert await line(run) == "late"
        await end_of(grandchild)
        result = await run.wait()
    assert result.outcome == Exited(code=4)
    assert not result.lingered
    assert result.usage is not None


async def test_an_ended_run_keeps_its_output_through_an_upgrade(service: Service, client: Client) -> None:
    done = await client.run(["sh", "-c", "echo out; echo err >&2; exit 6"])
    await upgraded(service)
    async with client.attach(done.run_id) as run:
        assert run.stderr is not None
        assert (await run.stdout.read(), await run.stderr.read()) == (b"out\n", b"err\n")
        assert (await run.wait()).outcome == Exited(code=6)


async def test_a_spool_on_disk_continues_through_an_upgrade(service: Service, client: Client) -> None:
    go = service.directory / "go"
    os.mkfifo(go)
    script = f"seq 20000; read -r x <{go}; seq 20001 40000"
    async with client.start(["sh", "-c", script], spool=8 << 20) as run:
        await upgraded(service)
        with go.open("w") as file:
            file.write("\n")
        assert await run.stdout.read() == b"".join(b"%d\n" % number for number in range(1, 40001))
        assert (await run.wait()).outcome == Exited(code=0)


async def test_the_grace_period_of_a_lost_client_is_not_extended_by_an_upgrade(service: Service) -> None:
    async with connect(service.host, reconnect=0) as client:
        run = await client.start(["sh", "-c", "echo up; exec sleep 600"], grace=3)
        await line(run)
        pid, run_id = run.pid, run.id
        assert pid is not None
        run.abandon()
    await upgraded(service)
    await end_of(pid)
    await service.logged(f"run ended.*{run_id}")


async def test_a_run_without_any_grace_outlives_an_upgrade(service: Service, client: Client) -> None:
    async with client.start(["sh", "-c", "echo up; read -r x; exit 3"], stdin=PIPE, grace=0) as run:
        await line(run)
        await upgraded(service)
        assert run.stdin is not None
        run.stdin.write(b"\n")
        assert (await run.wait()).outcome == Exited(code=3)


async def test_children_of_the_next_program_inherit_nothing(service: Service, client: Client) -> None:
    async with client.start(["cat"], stdin=PIPE):
        await upgraded(service)
        open_before = descriptors(service.process.pid)
        listed = await client.run(["sh", "-c", "ls /proc/$$/fd"])
        assert listed.stdout is not None
        assert set(listed.stdout.split()) <= {b"0", b"1", b"2", b"3"}  # 3 is the descriptor of ls itself
        await upgraded(service)
        await client.ping()
        assert descriptors(service.process.pid) <= open_before + 3


async def test_an_invalid_configuration_is_found_before_anything_changes(service: Service, client: Client) -> None:
    async with client.start(["cat"], stdin=PIPE) as run:
        (service.directory / "config/farhand/farhandd.toml").write_text("[runs]\nmax_runz = 1\n")
        service.process.send_signal(signal.SIGUSR2)
        await service.logged("upgrade refused; the old program keeps running.*max_runz")
        assert run.connected
        assert run.stdin is not None
        run.stdin.write(b"on\n")
        assert await line(run) == "on"


async def test_a_program_that_fails_the_trial_is_not_executed(tmp_path: Path) -> None:
    async with exchangeable(tmp_path) as exchanged, connect(exchanged.service.host) as client:
        service = exchanged.service
        async with client.start(["cat"], stdin=PIPE) as run:
            exchanged.exchange("sys.exit('I do not work')")
            done = await upgrade(service)
            assert (done.code, done.stdout) == (1, b"")
            assert done.stderr == (
                b"farhandd: not upgraded, the service continues unchanged: "
                b"the new program cannot continue this service: I do not work\n"
            )
            assert run.connected
            exchanged.exchange("")
            await upgraded(service)
            assert run.stdin is not None
            run.stdin.write(b"on\n")
            assert await line(run) == "on"


async def test_the_old_program_continues_if_the_new_one_cannot_be_executed(tmp_path: Path) -> None:
    async with exchangeable(tmp_path) as exchanged, connect(exchanged.service.host) as client:
        service = exchanged.service
        async with client.start(["cat"], stdin=PIPE) as run:
            # The trial succeeds and removes the interpreter.
            exchanged.exchange(
                f"import os; os.path.lexists({str(exchanged.python)!r}) and os.unlink({str(exchanged.python)!r})"
            )
            done = await upgrade(service)
            assert done.code == 1
            assert b"the new program cannot be executed: No such file or directory" in done.stderr
            assert run.stdin is not None
            run.stdin.write(b"on\n")
            assert await line(run) == "on"
            assert (await client.run(["true"])).returncode == 0
            exchanged.python.symlink_to(sys.executable)
            exchanged.exchange("")
            await upgraded(service)
            run.stdin.write(b"and on\n")
            assert await line(run) == "and on"
        assert await service.stop() == 0


async def test_a_state_directory_that_fails_during_the_upgrade_ends_no_run(tmp_path: Path) -> None:
    history = tmp_path / "state/farhand/history.db"
    async with (
        exchangeable(tmp_path) as exchanged,
        connect(exchanged.service.host) as client,
        client.start(["cat"], stdin=PIPE) as run,
    ):
        exchanged.exchange(
            f"import os; history = {str(history)!r}\n"
            "if '--resume' in sys.argv: os.rename(history, history + '-aside'); os.mkdir(history)"
        )
        await upgraded(exchanged.service)
        assert run.stdin is not None
        run.stdin.write(b"on\n")
        assert await line(run) == "on"
        with pytest.raises(RequestRefused, match=r"history\.db cannot be used: Is a directory; a run whose") as none:
            await client.run(["true"])
        assert none.value.code == "unavailable"
        run.stdin.close()
        assert (await run.wait()).outcome == Exited(code=0)
        history.rmdir()
        history.with_name("history.db-aside").rename(history)
        async with asyncio.timeout(TIMEOUT):
            while (await client.status()).faults:
                with contextlib.suppress(RequestRefused):
                    await client.run(["true"])
        assert "history can be used again" in exchanged.service.log


async def test_two_requests_at_once_are_both_answered(service: Service, client: Client) -> None:
    async with client.start(["cat"], stdin=PIPE) as run:
        one, other = await asyncio.gather(upgrade(service), upgrade(service))
        assert (one.code, other.code) == (0, 0), (one.stderr, other.stderr)
        assert run.stdin is not None
        run.stdin.write(b"on\n")
        assert await line(run) == "on"


async def test_repeated_upgrade_signals_are_harmless(service: Service, client: Client) -> None:
    async with client.start(["cat"], stdin=PIPE) as run:
        for _ in range(5):
            service.process.send_signal(signal.SIGUSR2)
        await service.logged("msg=upgraded")
        assert run.stdin is not None
        run.stdin.write(b"on\n")
        assert await line(run) == "on"


@pytest.mark.parametrize("log_line", [None, "msg=upgrading"])
async def test_a_service_stopped_during_an_upgrade_drains(
    service: Service, client: Client, log_line: str | None
) -> None:
    others = set(children(os.getpid()))
    run = await client.start(["sh", "-c", "echo up; exec sleep 600"])
    await line(run)
    service.process.send_signal(signal.SIGUSR2)
    if log_line is not None:
        await service.logged(log_line)
    service.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(TIMEOUT):
        assert await service.process.wait() == 0, service.log
    assert run.pid is not None
    await end_of(run.pid)
    assert set(children(os.getpid())) <= others


async def test_without_a_service_there_is_nothing_to_upgrade(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        assert await service.stop() == 0
        done = await upgrade(service)
    assert done.code == 1
    assert done.stderr.startswith(f"farhandd: cannot connect to a service on {service.socket}".encode())
