"""The service starts, reloads, drains and stops as systemd and its clients expect."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed
from tests.support import warm
from tests.support.client import TIMEOUT, RawClient
from tests.support.processes import end_of, session_is_gone
from tests.support.service import Service, environment, running_service

STUBBORN = "trap '' TERM; echo up; while :; do sleep 60; done"


async def exit_code(service: Service) -> int:
    """Wait for a service that is stopping; return its exit code."""
    return await asyncio.wait_for(service.process.wait(), TIMEOUT)


async def start_again(service: Service) -> tuple[int, str]:
    """Start a second service with the same directories; return its exit code and output."""
    process = await warm.start(*warm.FARHANDD, "serve", env=service.environment, stderr=asyncio.subprocess.PIPE)
    _, stderr = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert process.returncode is not None
    return process.returncode, stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_service_stops_at_once_and_removes_its_socket(service: Service, number: int) -> None:
    async with RawClient.connect(service.socket) as client:
        service.process.send_signal(number)
        await client.closed()
    assert await exit_code(service) == 0
    assert not service.socket.exists()


async def test_a_drain_notifies_clients_and_lets_runs_end_by_themselves(tmp_path: Path) -> None:
    async with (
        running_service(tmp_path, config="[drain]\ngrace = 60\n") as service,
        RawClient.connect(service.socket) as client,
        RawClient.connect(service.socket) as other,
    ):
        run = client.start("sh", "-c", "echo up; read -r x; seq 100000; exit 5", stdin=True)
        await run.line()
        service.process.send_signal(signal.SIGTERM)
        for one in (client, other):
            reported = await one.wait_for_message(m.GoingAway)
            assert isinstance(reported, m.GoingAway)
            assert reported.grace == 60
        assert not service.socket.exists()
        assert (await client.start("true").error()).code == "draining"
        assert (await other.start("true").error()).code == "draining"
        run.write(b"\n")
        ended = await run.ended()
        assert ended.outcome == Exited(code=5)
        assert run.stdout == b"up\n" + b"".join(b"%d\n" % number for number in range(1, 100_001))
        assert await exit_code(service) == 0


async def test_a_drain_stops_runs_that_have_not_ended_within_the_grace_period(tmp_path: Path) -> None:
    config = "[drain]\ngrace = 0.2\n[runs]\nkill_after = 0.2\n"
    async with running_service(tmp_path, config=config) as service, RawClient.connect(service.socket) as client:
        polite = client.start("sleep", "60")
        stubborn = client.start("sh", "-c", STUBBORN, kill_after=3600)
        being_stopped = client.start("sh", "-c", STUBBORN)
        pids = [await run.started() for run in (polite, stubborn, being_stopped)]
        await stubborn.line()
        await being_stopped.line()
        being_stopped.send(m.Stop(kill_after=3600))
        await client.round_trip()
        service.process.send_signal(signal.SIGTERM)
        assert (await polite.ended()).outcome == Killed(reason="draining", signal=signal.SIGTERM)
        assert (await stubborn.ended()).outcome == Killed(reason="draining", signal=signal.SIGKILL)
        assert (await being_stopped.ended()).outcome == Killed(reason="requested", signal=signal.SIGKILL)
        assert await exit_code(service) == 0
        for pid in pids:
            await session_is_gone(pid)


async def test_a_drain_delivers_all_output_before_the_outcome(tmp_path: Path) -> None:
    config = '[drain]\ngrace = 0\n[runs]\nspool = "8 MiB"\n'
    async with running_service(tmp_path, config=config) as service, RawClient.connect(service.socket) as client:
        script = "trap 'head -c 3000000 /dev/zero; exit 0' TERM; echo up; while :; do sleep 0.01; done"
        runs = [client.start("sh", "-c", script, keep=False) for _ in range(3)]
        for run in runs:
            await run.output(3)
        service.process.send_signal(signal.SIGTERM)
        for run in runs:
            ended = await run.ended()
            assert ended.outcome == Killed(reason="draining", code=0)
            assert ended.stdout == run.totals["stdout"] == 3_000_003
        assert await exit_code(service) == 0


async def test_a_client_that_does_not_read_does_not_delay_the_stop(tmp_path: Path) -> None:
    config = "[drain]\ngrace = 0\n"
    async with running_service(tmp_path, config=config) as service, RawClient.connect(service.socket) as client:
        run = client.start("yes", keep=False)
        await run.output(1)
        client.stop_reading()
        assert await service.stop() == 0


async def test_a_killed_service_leaves_only_its_socket_which_the_next_one_replaces(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        service.process.kill()
        await service.process.wait()
        assert service.socket.exists()
    async with running_service(tmp_path) as service, RawClient.connect(service.socket) as client:
        assert (await client.run("true"))[0].outcome == Exited(code=0)


async def test_a_second_service_is_refused(service: Service) -> None:
    code, output = await start_again(service)
    assert code == 1
    state = service.directory / "state/farhand"
    assert output == (
        f"farhandd: another farhandd already uses the state directory {state}; stop it, or choose another directory "
        "with --state-dir\n"
    )
    async with RawClient.connect(service.socket) as client:
        assert (await client.run("true"))[0].outcome == Exited(code=0)


async def test_a_draining_service_does_not_remove_the_socket_of_its_successor(tmp_path: Path) -> None:
    async with (
        running_service(tmp_path, "--state-dir", str(tmp_path / "other"), config="[drain]\ngrace = 60\n") as old,
        RawClient.connect(old.socket) as client,
    ):
        run = client.start("sh", "-c", "echo up; read -r x", stdin=True)
        await run.line()
        old.process.send_signal(signal.SIGTERM)
        await client.wait_for_message(m.GoingAway)
        async with running_service(tmp_path) as new:
            run.send(m.End(stream="stdin"))
            await run.ended()
            assert await exit_code(old) == 0
            async with RawClient.connect(new.socket) as another:
                assert (await another.run("true"))[0].outcome == Exited(code=0)


async def test_a_file_that_is_not_a_socket_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "run/farhand/farhandd.sock"
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    process = await warm.start(*warm.FARHANDD, "serve", env=environment(tmp_path), stderr=asyncio.subprocess.PIPE)
    _, stderr = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert process.returncode == 1
    assert stderr.decode().startswith(f"farhandd: cannot listen on {file}: a file that is not a socket")
    assert file.read_text() == "precious"


@pytest.fixture
async def one_run(tmp_path: Path) -> AsyncIterator[tuple[Service, RawClient]]:
    """A service that accepts one run at a time, and a client of it."""
    async with (
        running_service(tmp_path, config="[runs]\nmax_runs = 1\n") as service,
        RawClient.connect(service.socket) as client,
    ):
        yield service, client


async def reload(service: Service, config: str, pattern: str) -> None:
    """Replace the configuration, reload, and wait for the matching line of the log."""
    (service.directory / "config/farhand/farhandd.toml").write_text(config)
    service.process.send_signal(signal.SIGHUP)
    await service.logged(pattern)


async def test_sighup_reloads_the_configuration_for_new_requests(one_run: tuple[Service, RawClient]) -> None:
    service, client = one_run
    run = client.start("cat", stdin=True)
    await run.started()
    assert (await client.start("true").error()).code == "too_many_runs"
    await reload(service, "[runs]\nmax_runs = 2\n", "reloaded")
    assert (await client.run("true"))[0].outcome == Exited(code=0)
    run.send(m.End(stream="stdin"))
    assert (await run.ended()).outcome == Exited(code=0)


async def test_an_invalid_configuration_is_logged_and_the_old_one_kept(one_run: tuple[Service, RawClient]) -> None:
    service, client = one_run
    refused = "reload refused; the old configuration is kept.*max_runz.*max_runs"
    await reload(service, "[runs]\nmax_runz = 2\n", refused)
    run = client.start("cat", stdin=True)
    await run.started()
    assert (await client.start("true").error()).code == "too_many_runs"
    # Once the file is valid again, it applies at the next reload.
    await reload(service, "[runs]\nmax_runs = 2\n", "reloaded")
    assert (await client.run("true"))[0].outcome == Exited(code=0)
    run.send(m.End(stream="stdin"))


async def test_the_service_manager_is_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        loop = asyncio.get_running_loop()

        async def next_state() -> str:
            return (await asyncio.wait_for(loop.sock_recv(manager, 4096), TIMEOUT)).decode()

        async with running_service(tmp_path) as service:
            assert "READY=1" in await next_state()
            service.process.send_signal(signal.SIGHUP)
            assert "RELOADING=1" in await next_state()
            assert "READY=1" in await next_state()
            assert await service.stop() == 0
            assert "STOPPING=1" in await next_state()


async def test_a_runs_environment_and_input_are_not_in_the_log(tmp_path: Path) -> None:
    async with (
        running_service(tmp_path, config='[log]\nlevel = "debug"\n') as service,
        RawClient.connect(service.socket) as client,
    ):
        run = client.start("sh", "-c", "read -r x; kill -9 $$", stdin=True, env=((b"TOKEN", b"s3cret"),))
        run.write(b"passw0rd\n")
        await run.ended()
        assert await service.stop() == 0
        assert run.request.id in service.log
        assert "s3cret" not in service.log
        assert "passw0rd" not in service.log


async def test_a_second_signal_ends_the_grace_period_of_a_drain(tmp_path: Path) -> None:
    async with (
        running_service(tmp_path, config="[drain]\ngrace = 3600\n") as service,
        RawClient.connect(service.socket) as client,
    ):
        run = client.start("sleep", "60")
        pid = await run.started()
        service.process.send_signal(signal.SIGINT)
        await client.wait_for_message(m.GoingAway)
        service.process.send_signal(signal.SIGINT)
        assert (await run.ended()).outcome == Killed(reason="draining", signal=signal.SIGTERM)
        await end_of(pid)
        assert await exit_code(service) == 0
