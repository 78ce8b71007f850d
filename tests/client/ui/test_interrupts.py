"""The effect of SIGINT, SIGTERM and SIGHUP on the run and on the task that waits for it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from farhand_client.ui.interrupts import RunSignalHandler, SignalHandler, TerminalSignalHandler


class Run:
    """The part of a run that signals act on."""

    id = "01890a5d-ac96-774b-bcce-b302099a8057"
    result = None

    def __init__(self, *, connected: bool = True, kept: bool = False) -> None:
        self.connected = connected
        self.kept = kept
        self.calls: list[object] = []

    def send_signal(self, number: int) -> None:
        self.calls.append(number)

    def abandon(self) -> None:
        self.calls.append("abandon")

    def detach(self) -> None:
        self.calls.append("detach")


async def deliver(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)


async def cancelled(handler: Callable[[], Any], inside: Callable[[Any], Awaitable[None]]) -> Any:
    """Run `inside` with the entered handler and then wait; return the handler after a signal has cancelled the task."""
    entered = []

    async def body() -> None:
        with handler() as signals:
            entered.append(signals)
            await inside(signals)
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    return entered[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_sigterm_and_sighup_cancel_the_task(number: int) -> None:
    signals = await cancelled(SignalHandler, lambda _: deliver(number))
    assert signals.ended_by == number


async def test_sigint_is_given_to_the_innermost_target() -> None:
    calls: list[str] = []
    with SignalHandler(lambda: calls.append("outer")) as signals:
        await deliver(signal.SIGINT)
        with signals.interrupts_to(lambda: calls.append("inner")):
            await deliver(signal.SIGINT)
        await deliver(signal.SIGINT)
    assert calls == ["outer", "inner", "outer"]


async def test_after_the_block_the_handlers_are_removed() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with SignalHandler():
        pass
    # The loop restores Python's own handler for SIGINT, and the default for the others.
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before[1:]


async def test_the_first_sigint_interrupts_the_run_and_the_second_abandons_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Run()

    async def inside(signals: Any) -> None:
        signals.run = run
        await deliver(signal.SIGINT)
        assert (run.calls, signals.ended_by) == ([signal.SIGINT], None)
        await deliver(signal.SIGINT)

    signals = await cancelled(RunSignalHandler, inside)
    assert (run.calls, signals.abandoned, signals.ended_by) == ([signal.SIGINT, "abandon"], True, signal.SIGINT)
    assert capsys.readouterr().err == f"farhand: abandoned run {run.id}; the service stops it\n"


async def test_without_a_connection_the_first_sigint_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(connected=False, kept=True)

    async def inside(signals: Any) -> None:
        signals.run = run
        await deliver(signal.SIGINT, signal.SIGINT)

    await cancelled(RunSignalHandler, inside)
    assert capsys.readouterr().err.splitlines() == [
        "farhand: not connected; the interrupt will be sent after reconnecting. Ctrl-C again to leave",
        f"farhand: abandoned run {run.id}; it keeps running",
    ]


async def test_before_the_run_sigint_cancels_the_task() -> None:
    signals = await cancelled(RunSignalHandler, lambda _: deliver(signal.SIGINT))
    assert (signals.ended_by, signals.abandoned) == (signal.SIGINT, False)


@pytest.mark.parametrize(
    ("number", "calls", "left"),
    [(signal.SIGHUP, ["detach"], True), (signal.SIGINT, ["detach"], True), (signal.SIGTERM, [], False)],
)
async def test_at_a_terminal_signals_leave_the_run_running_except_those_that_stop_it(
    number: int, calls: list[str], left: bool
) -> None:
    run = Run()

    async def inside(signals: Any) -> None:
        signals.run = run
        await deliver(number)

    signals = await cancelled(lambda: TerminalSignalHandler(frozenset({signal.SIGTERM})), inside)
    assert (run.calls, signals.left, signals.ended_by) == (calls, left, number)
