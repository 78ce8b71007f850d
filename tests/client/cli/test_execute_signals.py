"""`farhand run` passes Ctrl-C on to the command, and stops the command on SIGTERM and SIGHUP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from farhand_client import Exited
from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from tests.support.command import running
from tests.support.fake_runs import ready_until_stopped
from tests.support.fake_service import FakeRun, FakeService


async def test_ctrl_c_interrupts_the_command_and_its_outcome_counts(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"ready\n")
        assert await run.until(m.Signal) == m.Signal(number=signal.SIGINT)
        await run.write("stdout", b"cleaning up\n")
        run.ended(Exited(code=9))

    service.behave = behave
    async with running("run", service.host, "prog") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
        assert (process.returncode, stdout, stderr) == (9, b"cleaning up\n", b"")


async def test_a_second_ctrl_c_abandons_the_run_and_prints_its_id(service: FakeService, tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"ready\n")
        await run.until(m.Signal)
        process.send_signal(signal.SIGINT)
        await run.until(m.Close)

    service.behave = behave
    async with running("run", "--status-json", str(tmp_path / "s"), service.host, "prog") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
    run_id = service.runs[0].request.id
    assert (process.returncode, stderr) == (130, f"farhand: abandoned run {run_id}; the service stops it\n".encode())
    status = json.loads((tmp_path / "s").read_text())
    assert (status["status"], status["run_id"], status["may_have_run"]) == ("failed", run_id, True)


async def test_ctrl_c_works_while_the_output_is_not_read(service: FakeService) -> None:
    async def flood(run: FakeRun) -> None:
        run.started()
        writing = asyncio.ensure_future(run.write("stdout", bytes(20 * MiB)))
        await run.until(m.Signal)
        process.send_signal(signal.SIGINT)
        await run.until(m.Close)
        writing.cancel()

    service.behave = flood
    reading, writing = os.pipe()
    async with running("run", service.host, "flood", stdout=writing) as process:
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 1) == b"\0"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    os.close(reading)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_sigterm_and_sighup_stop_the_run_first(service: FakeService, tmp_path: Path, number: int) -> None:
    service.behave = ready_until_stopped
    async with running("run", "--status-json", str(tmp_path / "s"), service.host, "sleep") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(number)
        assert await process.wait() == 128 + number
    assert m.Stop() in service.runs[0].messages
    status = json.loads((tmp_path / "s").read_text())
    assert (status["status"], status["reason"], status["signal"]) == ("killed", "requested", 15)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_before_the_run_exits_at_once(service: FakeService, number: int, code: int) -> None:
    received = asyncio.Event()
    service.greet = lambda *_: received.set()
    async with running("run", service.host, "prog") as process:
        await received.wait()
        process.send_signal(number)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (code, b"")
    assert service.runs == []
