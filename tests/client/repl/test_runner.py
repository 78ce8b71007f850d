"""Runs without a terminal, and what Ctrl-C does to one run and to several."""

from __future__ import annotations

import asyncio
import signal

import pytest

from farhand_client.options import RunOptions
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.output import StandardOutput
from farhand_client.repl.runner import Interrupted, InterruptGroup, InterruptLadder, PipeRunner, run_interruptibly
from farhand_client.ui.printing import print_message
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from tests.support.fake_runs import printing
from tests.support.fake_service import FakeRun, FakeService


async def test_ctrl_c_cancels_a_request() -> None:
    interrupts = InterruptGroup()
    begun = asyncio.Event()

    async def request() -> None:
        begun.set()
        await asyncio.Event().wait()

    waiting = asyncio.ensure_future(run_interruptibly(interrupts, InterruptLadder(print_message), request()))
    await begun.wait()
    interrupts()
    with pytest.raises(Interrupted):
        await waiting


async def test_ctrl_c_reaches_all_targets_that_are_still_running() -> None:
    interrupts = InterruptGroup()
    pressed: list[str] = []
    with interrupts.interrupts_to(lambda: pressed.append("one")):
        with interrupts.interrupts_to(lambda: pressed.append("other")):
            interrupts()
        interrupts()
    interrupts()
    assert pressed == ["one", "other", "one"]


async def test_the_result_is_returned_and_an_error_raised() -> None:
    async def fails() -> None:
        raise ValueError("wrong")

    async def works() -> int:
        return 3

    assert await run_interruptibly(InterruptGroup(), InterruptLadder(print_message), works()) == 3
    with pytest.raises(ValueError, match="wrong"):
        await run_interruptibly(InterruptGroup(), InterruptLadder(print_message), fails())


async def test_a_cancellation_cancels_the_job_and_waits_for_it() -> None:
    ended = asyncio.Event()

    async def request() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(run_interruptibly(InterruptGroup(), InterruptLadder(print_message), request()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


class TestPipeRunner:
    @pytest.fixture
    def interrupts(self) -> InterruptGroup:
        return InterruptGroup()

    @pytest.fixture
    def runner(self, host: ReplHost, interrupts: InterruptGroup, capfd: pytest.CaptureFixture[str]) -> PipeRunner:
        return PipeRunner(host.connection, StandardOutput(), interrupts)

    async def test_output_is_written_or_captured(
        self, runner: PipeRunner, service: FakeService, capfd: pytest.CaptureFixture[str]
    ) -> None:
        service.behave = printing(b"out\n", b"err\n", Exited(code=3))
        result, captured = await runner.run(["prog"], RunOptions())
        assert (result.outcome, captured, runner.interrupted) == (Exited(code=3), b"", False)
        assert capfd.readouterr() == ("out\n", "err\n")
        _, captured = await runner.run(["prog"], RunOptions(), capture=True)
        assert captured == b"out\n"
        assert capfd.readouterr() == ("", "err\n")

    async def test_captured_output_is_limited(
        self, runner: PipeRunner, service: FakeService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("farhand_client.repl.runner.MAX_CAPTURED", 3)
        service.behave = printing(b"long")
        assert (await runner.run(["prog"], RunOptions(), capture=True))[1] == b""

    async def test_ctrl_c_interrupts_then_kills_then_abandons_a_run(
        self,
        runner: PipeRunner,
        interrupts: InterruptGroup,
        service: FakeService,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        async def write(*_: object) -> None:
            interrupts()

        async def stubborn(run: FakeRun) -> None:
            run.started()
            await run.write("stdout", b"x")
            await run.until(m.Signal)
            interrupts()
            while sum(isinstance(message, m.Signal) for message in run.messages) < 2:
                run.changed.clear()
                await run.changed.wait()
            interrupts()
            await run.lost()

        monkeypatch.setattr(StandardOutput, "write", write)
        service.behave = stubborn
        with pytest.raises(Interrupted):
            await runner.run(["prog"], RunOptions())
        (run,) = service.runs
        numbers = [message.number for message in run.messages if isinstance(message, m.Signal)]
        assert numbers == [signal.SIGINT, signal.SIGKILL]
        assert capfd.readouterr().err == f"farhand: abandoned run {run.request.id}; the service stops it\n"
        assert runner.interrupted

    async def test_ctrl_c_cancels_a_request_for_a_run(
        self, runner: PipeRunner, interrupts: InterruptGroup, service: FakeService
    ) -> None:
        async def unanswered(run: FakeRun) -> None:
            interrupts()
            await run.lost()

        service.behave = unanswered
        with pytest.raises(Interrupted):
            await runner.run(["prog"], RunOptions())

    async def test_output_that_cannot_be_written_stops_the_delivery(
        self, runner: PipeRunner, service: FakeService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def write(*_: object) -> None:
            raise OSError(28, "No space left")

        async def endless(run: FakeRun) -> None:
            run.started()
            await run.write("stdout", b"x")
            await run.until(m.Stop)
            run.ended()

        monkeypatch.setattr(StandardOutput, "write", write)
        service.behave = endless
        with pytest.raises(OSError, match="No space left"):
            await runner.run(["prog"], RunOptions())

    async def test_the_result_of_a_request_is_returned(self, runner: PipeRunner, host: ReplHost) -> None:
        client = await runner.request(host.connection.connect())
        assert client is host.connection.client
