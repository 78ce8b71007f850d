"""The same id is the same run, however many connections request it and whatever has happened to the service."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

import farhand_client
from farhand_client import ConnectionLost, Exited, RequestRefused
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.client import RawClient, new_id
from tests.support.command import farhand
from tests.support.processes import end_of
from tests.support.service import Service, running_service


def mark(directory: Path) -> str:
    """Return a command that adds a line to a file at each start, prints, and then runs for a while."""
    return f"echo started >> {directory}/marks; echo out; sleep 0.2; exit 3"


def starts(directory: Path) -> int:
    """Return how often the command was started."""
    return len((directory / "marks").read_text().splitlines())


async def test_ten_connections_that_start_the_same_run_at_once_share_it(core: Service, tmp_path: Path) -> None:
    run_id = new_id()

    async def one() -> tuple[bytes, int | None, str]:
        async with farhand_client.connect(core.host) as client:
            await ready.wait()
            completed = await client.run(mark(tmp_path), shell=True, run_id=run_id)
            return completed.stdout, completed.returncode, completed.run_id

    ready = asyncio.Barrier(10)
    results = await asyncio.gather(*(one() for _ in range(10)))
    assert set(results) == {(b"out\n", 3, run_id)}
    assert starts(tmp_path) == 1


async def test_ten_shells_with_the_same_id_share_one_run(core: Service, tmp_path: Path) -> None:
    run_id = new_id()
    command = ("run", "--id", run_id, "--shell", core.host, mark(tmp_path))
    finished = await asyncio.gather(*(farhand(*command, env=core.environment) for _ in range(10)))
    assert {(one.code, one.stdout) for one in finished} == {(3, b"out\n")}, finished
    assert starts(tmp_path) == 1


async def test_a_request_cut_off_before_the_answer_can_be_repeated(core: Service, tmp_path: Path) -> None:
    run_id, key = new_id(), os.urandom(16)
    for _ in range(5):
        async with RawClient.connect(core.socket) as client:
            client.start(shell=mark(tmp_path), id=run_id, attachment=key, grace=60)
    async with RawClient.connect(core.socket) as client:
        run = client.start(shell=mark(tmp_path), id=run_id, attachment=key, grace=60)
        assert (await run.ended()).outcome == Exited(code=3)
        assert run.stdout == b"out\n"
    assert starts(tmp_path) == 1


async def test_the_older_connection_of_a_client_is_notified_that_it_was_replaced(core: Service) -> None:
    run_id, key = new_id(), os.urandom(16)
    async with RawClient.connect(core.socket) as old, RawClient.connect(core.socket) as new:
        before = old.start("sleep", "60", id=run_id, attachment=key)
        await before.started()
        now = new.start("sleep", "60", id=run_id, attachment=key)
        assert (await before.error()).code == ErrorCode.REPLACED
        now.send(m.Stop())
        assert (await now.ended()).outcome.status == "killed"


@pytest.mark.parametrize("ended", [False, True])
async def test_another_request_with_that_id_is_a_conflict(core: Service, ended: bool) -> None:
    run_id = new_id()
    command = ["sh", "-c", "true" if ended else "sleep 60"]
    async with farhand_client.connect(core.host) as client, client.start(command, run_id=run_id) as run:
        if ended:
            await run.wait()
        for other, cwd in ((["sh", "-c", "false"], None), (command, "/")):
            with pytest.raises(RequestRefused) as refused:
                await client.run(other, cwd=cwd, run_id=run_id)
            assert refused.value.code == ErrorCode.CONFLICT


async def test_an_ended_run_is_reported_again_and_not_started_again(core: Service, tmp_path: Path) -> None:
    run_id = new_id()
    async with farhand_client.connect(core.host) as client:
        results = [await client.run(mark(tmp_path), shell=True, run_id=run_id) for _ in range(3)]
    assert {(result.stdout, result.returncode) for result in results} == {(b"out\n", 3)}
    assert starts(tmp_path) == 1


async def test_a_forgotten_id_is_expired_and_never_starts_a_new_run(tmp_path: Path) -> None:
    config = "[runs]\nkept_runs = 0\n[history]\nmax_runs = 1\n"
    async with running_service(tmp_path, config=config) as service, farhand_client.connect(service.host) as client:
        first = await client.run(mark(tmp_path), shell=True)
        for _ in range(200):
            await client.run(["true"])
        with pytest.raises(RequestRefused) as refused:
            await client.run(mark(tmp_path), shell=True, run_id=first.run_id)
        assert refused.value.code == ErrorCode.EXPIRED
        assert starts(tmp_path) == 1


async def test_after_a_crash_of_the_service_a_run_is_lost_and_never_started_again(tmp_path: Path) -> None:
    script = f"echo started >> {tmp_path}/marks; echo out; exec sleep 600"
    async with running_service(tmp_path) as service, farhand_client.connect(service.host, reconnect=None) as client:
        run = await client.start(script, shell=True)
        assert await run.stdout.read(4) == b"out\n"
        service.process.send_signal(signal.SIGKILL)
        await service.process.wait()
    async with running_service(tmp_path) as service, farhand_client.connect(service.host) as client:
        assert run.pid is not None
        await end_of(run.pid)
        for _ in range(3):
            # The service only knows that it has lost the run; the connection is intact.
            with pytest.raises(ConnectionLost, match=run.id):
                await client.run(script, shell=True, run_id=run.id)
            # Nor is the amount of output known: a client that has received some gets the same answer.
            with pytest.raises(ConnectionLost, match="unknown outcome"):
                async with client.attach(run.id, offset=4, stdin=4) as attached:
                    await attached.wait()
        assert (await client.run(["true"])).returncode == 0
        assert [one.outcome.status for one in await client.runs(ended=True, prefix=run.id) if one.outcome] == ["lost"]
    assert starts(tmp_path) == 1
