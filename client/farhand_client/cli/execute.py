"""Starts one run and connects this process's streams, signals and exit code to it: for `run`, `shell` and `local`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from farhand_client.client import Client
from farhand_client.errors import ConnectionLost, FarhandError, OutputIncomplete, RequestRefused, SpawnError
from farhand_client.options import PIPE, Args, RunOptions
from farhand_client.output import Gap, OnGap
from farhand_client.pending import Pending
from farhand_client.results import Result, describe
from farhand_client.run import Run
from farhand_client.ui.exitcodes import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILURE,
    error_exit_code,
    outcome_exit_code,
    ssh_exit_code,
)
from farhand_client.ui.failures import unforeseen
from farhand_client.ui.interrupts import RunSignalHandler
from farhand_client.ui.left import OPTION, stopped_sentence
from farhand_client.ui.limits import limit_notes
from farhand_client.ui.printing import print_message, print_output, require_stdin, require_stdout
from farhand_client.ui.streams import StandardWriters, copy_streams
from farhand_client.ui.unread_stdin import UnreadStdin
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Killed, TimedOut

from .status import StatusFile, detached_report, error_report, result_report

if TYPE_CHECKING:
    from farhand_client.ui.outages import OutageNotice

    from .forwarding import OpenedForwards, RequestedForwards
    from .resume import ResumedRun
    from .terminal_view import TerminalView, ViewResult


@dataclass(frozen=True, slots=True)
class RemoteCommand:
    """What to run, and how to connect it to this process.

    If `args` is None, a login shell is run. With `stdin` this process's stdin is passed on. With `detach` the run's id
    is printed after it has started, and it is left running. With a `view` it is shown on the view's terminal. `advice`
    says what to type instead of a command that did not start; `unread_stdin` says that stdin holds data that is not
    passed on. `leave_option` is the option that keeps the processes which it leaves behind, if there is one. With
    `resumed` the run was requested before, and is resumed. With `as_ssh` the exit codes are those of ssh(1).
    `started` is called once the command has started. `forwards` are made before that, and live as long as the command;
    `opened` are they then. With `as_ssh` the end waits for connections through them.
    """

    args: Args | None
    options: RunOptions
    stdin: bool = False
    detach: bool = False
    view: TerminalView | None = None
    advice: Callable[[SpawnError], str] | None = None
    unread_stdin: str | None = None
    leave_option: str | None = OPTION
    resumed: ResumedRun | None = None
    as_ssh: bool = False
    started: Callable[[], None] | None = None
    forwards: RequestedForwards | None = None
    opened: OpenedForwards | None = None

    def start(self, client: Client, on_gap: OnGap | None = None) -> Pending[Run]:
        """Start the run; the result is awaited or entered, as with `Client.start`."""
        if self.resumed is not None and on_gap is not None:
            return self.resumed.start(on_gap)
        if self.args is None:
            return client.shell(self.options.terminal, self.options, on_gap=on_gap)
        return client.start(self.args, self.options, stdin=PIPE if self.stdin else None, on_gap=on_gap)


async def execute(
    open_client: Callable[[], Pending[Client]],
    command: RemoteCommand,
    status: StatusFile | None = None,
    outage: OutageNotice | None = None,
) -> int:
    """Run `command` on the connection that `open_client` opens, and return the exit code of this process.

    Errors are printed on stderr and written to `status`. `outage` is closed before any other message about the
    connection is printed.
    """
    with RunSignalHandler() if command.view is None else command.view.signal_handler() as signals:
        if command.resumed is not None:
            signals.take_over(command.resumed.handover)
        try:
            report, code = await _run_and_report(open_client, command, signals, outage)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
        finally:
            if outage is not None:
                outage.close()
        if signals.ended_by is not None:
            report = _interrupted_report(signals)
            code = EXIT_FAILURE if command.as_ssh else 128 + signals.ended_by
    if status is not None:
        status.write(report)
    return code


async def _run_and_report(
    open_client: Callable[[], Pending[Client]],
    command: RemoteCommand,
    signals: RunSignalHandler,
    outage: OutageNotice | None,
) -> tuple[dict[str, Any], int]:
    unread = UnreadStdin(None if command.stdin else command.unread_stdin)
    try:
        if command.detach:
            require_stdout("the id of the run would be lost")
        elif command.view is None:
            require_stdout("the output of the command would be lost")
        if command.stdin:
            require_stdin()
        async with open_client() as client, _with_forwards(client, command) as command:
            if command.detach:
                return await _start_detached(client, command, unread), 0
            if command.view is not None:
                return await _run_in_view(client, command, command.view)
            result, broken = await _run_on_streams(client, command, signals, unread)
            assert signals.run is not None
            new = signals.run.new
            await _unused_forwards(command)
    except Exception as error:
        run_id = None if signals.run is None else signals.run.id
        if run_id is None and isinstance(error, ValueError) and not isinstance(error, FarhandError | UnicodeError):
            raise  # a mistake in the request
        failure = unforeseen(error, run_id)
        if outage is not None:
            outage.close()
        if signals.ended_by is None:
            print_message(_text(failure, command))
        code = EXIT_FAILURE if command.as_ssh and not isinstance(failure, SpawnError) else error_exit_code(failure)
        return error_report(failure, run_id), code
    unread.report()
    if isinstance(result.outcome, Killed | TimedOut) and not broken:
        print_message(f"the command {describe(result.outcome)}")
    elif (sentence := stopped_sentence(result, command.leave_option)) is not None:
        print_message(sentence)
    for note in limit_notes(command.options.limits, result):
        print_message(note)
    code = ssh_exit_code(result.outcome) if command.as_ssh else outcome_exit_code(result.outcome)
    return result_report(result, new=new), EXIT_BROKEN_PIPE if broken else code


@contextlib.asynccontextmanager
async def _with_forwards(client: Client, command: RemoteCommand) -> AsyncIterator[RemoteCommand]:
    """Make the forwards of a command, and return the command, which finds a forwarded agent."""
    if not command.forwards:
        yield command
        return
    from .forwarding import print_chosen_port, print_refused

    # A message in the middle of a full-screen program helps nobody; who is refused learns it in any case.
    watch = print_refused if command.view is None else lambda spec, event: None
    listening = command.forwards.listening or print_chosen_port
    async with command.forwards.opened(client, watch, listening) as opened:
        added = {os.fsencode(name): os.fsencode(value) for name, value in opened.variables.items()}
        options = replace(command.options, env={**command.options.env, **added})
        yield replace(command, options=options, opened=opened)


async def _unused_forwards(command: RemoteCommand) -> None:
    """After the end of a command, wait for connections through its forwards as ssh does (ssh(1), DESCRIPTION)."""
    if command.as_ssh and command.opened is not None and command.opened.in_use:
        if command.view is not None:
            print_message("waiting until connections through the forwards have ended; Ctrl-C ends them")
        await command.opened.unused()


def _text(error: FarhandError, command: RemoteCommand) -> str:
    agent = command.opened is not None and bool(command.opened.variables)
    if agent and isinstance(error, RequestRefused) and error.code is ErrorCode.CONFLICT:
        return f"{error}. With -A, each request is a different one: SSH_AUTH_SOCK names a new socket every time"
    if not isinstance(error, SpawnError):
        return str(error)
    advice = "" if command.advice is None else command.advice(error)
    return f"{error.outcome.message}\n{advice}" if advice else error.outcome.message


def _interrupted_report(signals: RunSignalHandler) -> dict[str, Any]:
    """Return the status after a signal to this process has ended it, before or after the run's start."""
    assert signals.ended_by is not None
    run = signals.run
    result = run.result if run is not None else None
    if run is not None and result is not None:
        return result_report(result, new=run.new)
    what = "abandoned" if signals.abandoned else "ended before the outcome was known"
    run_id = None if run is None else run.id
    return error_report(ConnectionLost(f"{what}, by signal {signals.ended_by} to the client", run_id=run_id))


async def _start_detached(client: Client, command: RemoteCommand, unread: UnreadStdin) -> dict[str, Any]:
    async with command.start(client) as run:
        unread.report()
        run.detach()
    print_output(run.id, what=f"the id {run.id}")
    return detached_report(run)


async def _run_in_view(client: Client, command: RemoteCommand, view: TerminalView) -> tuple[dict[str, Any], int]:
    from .terminal_view import lifetime

    try:
        async with command.start(client, view.on_gap) as run:
            if run.new:
                afterwards = lifetime(command.options.on_disconnect, command.options.grace)
                shown = await view.show(client, run, afterwards)
                if shown.result is not None:
                    await _unused_forwards(command)
                return _view_report(shown)
            run.detach()
    except RequestRefused as error:
        # A shell is the same shell whatever terminal it was requested with.
        if command.args is not None or error.code is not ErrorCode.CONFLICT:
            raise
    assert command.options.run_id is not None  # only a request with an id chosen by the user can conflict
    return _view_report(await view.attach(client, await client.info(command.options.run_id)))


def _view_report(shown: ViewResult) -> tuple[dict[str, Any], int]:
    if shown.result is not None:
        return result_report(shown.result, new=shown.run.new), shown.code
    if shown.code:
        return error_report(ConnectionLost("left by the user", run_id=shown.run.id)), shown.code
    return detached_report(shown.run), 0


async def _run_on_streams(
    client: Client, command: RemoteCommand, signals: RunSignalHandler, unread: UnreadStdin
) -> tuple[Result, bool]:
    """Return the result, and whether nobody reads our stdout any more, in which case the run was stopped."""
    lost = 0

    def on_gap(gap: Gap) -> None:
        nonlocal lost
        lost += gap.bytes
        print_message(str(gap))

    writers = StandardWriters()  # before the run starts: if they cannot be made, nothing has run
    async with command.start(client, on_gap) as run:
        signals.run = run
        unread.report()
        if command.started is not None:
            command.started()
        if run.stdin is not None and not command.stdin:
            run.stdin.close()  # the run is on a terminal, but nobody types at it
        try:
            if command.resumed is not None:
                command.resumed.raise_what_failed()
            result = await copy_streams(run, writers)
            if lost:
                text = (
                    f"run {run.id}: the command {describe(result.outcome)}, but {lost} bytes of its output are missing"
                )
                raise OutputIncomplete(text, run_id=run.id, outcome=result.outcome)
            return result, False
        except BrokenPipeError:
            await run.stop()
            return await run.wait(), True
