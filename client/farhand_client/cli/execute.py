"""Carries one run between this process's own files and signals and the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farhand_client.client import Client
from farhand_client.errors import ConnectionLost, FarhandError, OutputIncomplete, RequestRefused
from farhand_client.options import PIPE, Args
from farhand_client.output import Gap, OnGap
from farhand_client.pending import Pending
from farhand_client.results import Result, describe
from farhand_client.run import Run
from farhand_client.ui.exitcodes import EXIT_BROKEN_PIPE, error_exit_code, outcome_exit_code
from farhand_client.ui.interrupts import RunSignalHandler
from farhand_client.ui.printing import print_message, print_output
from farhand_client.ui.streams import copy_streams
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Killed, TimedOut

from .status import Status, detached_report, error_report, result_report

if TYPE_CHECKING:
    from .interactive import Left, View


@dataclass(frozen=True, slots=True)
class RemoteCommand:
    """What to run. `options` are keyword arguments of `Client.start`, or without `args` of `Client.shell`; with `stdin`
    this process's own is passed on.

    With `detach` its id is printed once it has started, and it is left. With a `view` it is shown there.
    """

    args: Args | None
    options: Mapping[str, Any]
    stdin: bool = False
    detach: bool = False
    view: View | None = None

    def start(self, client: Client, on_gap: OnGap | None = None) -> Pending[Run]:
        """Start it."""
        if self.args is None:
            return client.shell(on_gap=on_gap, **self.options)
        return client.start(self.args, stdin=PIPE if self.stdin else None, on_gap=on_gap, **self.options)


async def execute(
    opening: Callable[[], Pending[Client]],
    command: RemoteCommand,
    status: Status | None,
    over: Callable[[], None] = lambda: None,
) -> int:
    """Run `command` and return the exit code of this process. What is wrong was said on stderr, and to `status`.

    `over` is called before that, once nothing more is to be said of the connection.
    """
    with RunSignalHandler() if command.view is None else command.view.signals() as signals:
        try:
            report, code = await _reported(opening, command, signals, over)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
        finally:
            over()
        if signals.ended_by is not None:
            report, code = _ended(signals), 128 + signals.ended_by
    if status is not None:
        status.write(report)
    return code


async def _reported(
    opening: Callable[[], Pending[Client]], command: RemoteCommand, signals: RunSignalHandler, over: Callable[[], None]
) -> tuple[dict[str, Any], int]:
    try:
        async with opening() as client:
            if command.detach:
                return await _detached(client, command), 0
            if command.view is not None:
                return await _shown(client, command, command.view)
            result, broken = await _run(client, command, signals)
            assert signals.run is not None
            new = signals.run.new
    except FarhandError as error:
        over()
        if signals.ended_by is None:
            print_message(str(error))
        return error_report(error), error_exit_code(error)
    if isinstance(result.outcome, Killed | TimedOut) and not broken:
        print_message(f"the command {describe(result.outcome)}")
    return result_report(result, new=new), EXIT_BROKEN_PIPE if broken else outcome_exit_code(result.outcome)


def _ended(signals: RunSignalHandler) -> dict[str, Any]:
    """Return the status of a run that a signal to this process has ended, before or after its start."""
    assert signals.ended_by is not None
    run = signals.run
    result = run.result if run is not None else None
    if run is not None and result is not None:
        return result_report(result, new=run.new)
    what = "abandoned" if signals.abandoned else "ended before the outcome was known"
    run_id = None if run is None else run.id
    return error_report(ConnectionLost(f"{what}, by signal {signals.ended_by} to the client", run_id=run_id))


async def _detached(client: Client, command: RemoteCommand) -> dict[str, Any]:
    async with command.start(client) as run:
        run.detach()
    print_output(run.id, what=f"the id {run.id}")
    return detached_report(run)


async def _shown(client: Client, command: RemoteCommand, view: View) -> tuple[dict[str, Any], int]:
    from .interactive import lasting

    try:
        async with command.start(client, view.gap) as run:
            if run.new:
                until = lasting(command.options["on_disconnect"], command.options.get("grace"))
                return _of_left(await view.show(client, run, until))
            run.detach()
    except RequestRefused as error:
        # A shell is the same one whatever the terminal it was asked for with.
        if command.args is not None or error.code is not ErrorCode.CONFLICT:
            raise
    return _of_left(await view.attach(client, await client.info(command.options["run_id"])))


def _of_left(left: Left) -> tuple[dict[str, Any], int]:
    if left.result is not None:
        return result_report(left.result, new=left.run.new), left.code
    if left.code:
        return error_report(ConnectionLost("left by the user", run_id=left.run.id)), left.code
    return detached_report(left.run), 0


async def _run(client: Client, command: RemoteCommand, signals: RunSignalHandler) -> tuple[Result, bool]:
    gaps: list[Gap] = []

    def on_gap(gap: Gap) -> None:
        gaps.append(gap)
        print_message(str(gap))

    async with command.start(client, on_gap) as run:
        signals.run = run
        if run.stdin is not None and not command.stdin:
            run.stdin.close()  # a terminal's: nobody types there
        try:
            result = await copy_streams(run)
            if gaps:
                lost = sum(gap.bytes for gap in gaps)
                text = (
                    f"run {run.id}: the command {describe(result.outcome)}, but {lost} bytes of its output are missing"
                )
                raise OutputIncomplete(text, run_id=run.id, outcome=result.outcome)
            return result, False
        except BrokenPipeError:
            await run.stop()
            return await run.wait(), True
