"""Runs the commands of one host, each line in a shell of its own.

Where the state of the shell is carried from line to line (`state_keeper`), every line is the shell's. Where it cannot
be, the interpreter runs `cd`, `export` and `unset` with a report before and after (`shell_state`), and gives the
difference to every later line.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Sequence
from typing import Final, Protocol

from farhand_client.errors import ConnectionLost, FarhandError, SpawnError
from farhand_client.options import Args, RunOptions
from farhand_client.results import Result, describe
from farhand_client.signals import signal_name
from farhand_client.ui.exitcodes import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    error_exit_code,
    outcome_exit_code,
)
from farhand_client.ui.left import OPTION_OF_RUN, stopped_sentence
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut

from .commands import ExitRepl
from .hosts import ReplHost
from .lines import Builtin, background_command, encode, is_blank, parse_builtin
from .output import Output
from .runner import Interrupted, PipeRunner
from .shell_code import EXIT_WITH_TRAP, MAY_CHANGE
from .shell_state import ShellReport, reporting_script
from .state_keeper import KeeperFailed, StateKeeper, StateReport

EXIT_ARGUMENT: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
"""An argument of exit that the shell is not needed for."""

ABSOLUTE_CD: Final = re.compile(r"(--\s+)?(['\"]?/|~)|$")
"""Arguments of a cd that leads to the same directory wherever it is run."""


class RunsOnTerminal(Protocol):
    """Runs lines on the user's terminal, as `TerminalRunner` does."""

    async def run(self, args: Args, text: str, options: RunOptions) -> Result | None:
        """Run the line `text` to its end; return None if the user left it running."""


class Interpreter:
    """Runs complete commands for one host, one after another.

    With `on_terminal` programs have a terminal. With `jobs` a line that ends with `&` becomes a job; otherwise the
    remote shell handles the `&`.
    """

    def __init__(
        self,
        host: ReplHost,
        output: Output,
        runner: PipeRunner,
        on_terminal: RunsOnTerminal | None = None,
        *,
        jobs: bool = False,
    ) -> None:
        self.state: Final = host.state
        self._host = host
        self._output = output
        self._runner = runner
        self._on_terminal = on_terminal
        self._jobs = jobs

    async def execute(self, text: str) -> bool:
        """Run `text`, one or more commands; `state` then has the outcome of the last one.

        Return False if not all of it ran, or if that is unknown; the user has been told why. Raises
        `ExitRepl`.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._execute(text)
        finally:
            self.state.duration = loop.time() - began
            self._host.line_ended(text)

    async def _execute(self, text: str) -> bool:
        try:
            self._leave_at_once(text)
            keeper = None if is_blank(text) else await self._keeper()
            if keeper is not None:
                await self._run_in_state(keeper, text)
                return True
            while not is_blank(text):
                builtin = parse_builtin(text)
                if builtin is None:
                    await self._run_line(text)
                    break
                text = builtin.on_success if await self._run_builtin(builtin) else builtin.on_failure
        except KeeperFailed as error:
            self._output.print_message(f"the state of the shell is gone: {error}")
            return False
        except Interrupted:
            self.state.set_outcome(EXIT_INTERRUPTED, "SIGINT")
            return False
        except (FarhandError, ValueError) as error:
            self._output.print_message(str(error))
            lost = isinstance(error, ConnectionLost)
            if lost:
                await self._host.connection.close()
            code = error_exit_code(error) if isinstance(error, FarhandError) else EXIT_FAILURE
            self.state.set_outcome(code, "lost" if lost else "")
            return isinstance(error, SpawnError)
        except BrokenPipeError:
            raise ExitRepl(EXIT_BROKEN_PIPE) from None
        except OSError as error:
            self._output.print_message(f"cannot write the output: {error.strerror}")
            raise ExitRepl(EXIT_FAILURE) from None
        return True

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came during the last run."""
        return self._runner.interrupted or (self._on_terminal is not None and self.state.code == EXIT_INTERRUPTED)

    async def change_directory(self, path: str) -> bool:
        """Change to the directory `path`, taken literally but for a leading `~`, and `-`. Returns as `execute`."""
        if path == "-":
            return await self.execute("cd -")
        home, slash, rest = path.partition("/")
        word = f"~{slash}{shlex.quote(rest) if rest else ''}" if home == "~" else shlex.quote(path)
        return await self.execute(f"cd -- {word}")

    async def set_variables(self, changes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Export variables, or with None unset them. Raises as `PipeRunner.run` does."""
        keeper = await self._keeper()
        if keeper is not None:
            line = keeper.assignments(changes)
            number, prelude = keeper.prelude(line, self.state.code)
            options = self._options(keeper).changed(prelude=prelude)
            await self._runner.run(line, options)
            await self._adopt(keeper, number)
            return
        if any(value is None for _, value in changes):
            await self.learn_account()  # `env -u` must start the shell by its name
        for name, value in changes:
            self.state.set_variable(name, value)

    async def learn_account(self) -> None:
        """Ask the remote shell for the account's home and shell, once. Raises as `PipeRunner.run` does."""
        await self._keeper()
        if not self.state.account_known:
            script, marker = reporting_script()
            _, printed = await self._capture(script, self.state.directory)
            self.state.learn_account(ShellReport.parse(printed.rpartition(marker)[2]))

    async def _keeper(self) -> StateKeeper | None:
        keeper = await self._runner.request(self._host.shell.keeper())
        for notice in self._host.shell.take_notices():
            self._output.print_message(notice)
        return keeper

    def _leave_at_once(self, text: str) -> None:
        """Raise `ExitRepl` for an exit that needs no shell."""
        builtin = parse_builtin(text)
        if builtin is not None and builtin.name == "exit" and not self.state.exit_trap:
            if EXIT_ARGUMENT.fullmatch(builtin.words):
                raise ExitRepl(int(builtin.words) % 256)
            if not builtin.words:
                raise ExitRepl(self.state.code)

    async def _run_in_state(self, keeper: StateKeeper, text: str) -> None:
        """Run a line in the state that the line before has left."""
        builtin = parse_builtin(text)
        line = encode(text)
        options = self._options(keeper)
        if (command := background_command(text) if self._jobs else None) is not None:
            line = encode(command)
            job_options = options.changed(prelude=keeper.job_prelude(line, self.state.code))
            await self._start_job(line, text, job_options)
            return
        number, prelude = keeper.prelude(line, self.state.code)
        options = options.changed(prelude=prelude)
        try:
            ended = await self._run_shown(line, text, options)
        except SpawnError as error:
            gone = error.outcome.what == "directory"
            if not (gone and builtin is not None and builtin.name == "cd" and ABSOLUTE_CD.match(builtin.words)):
                raise
            ended = await self._run_shown(line, text, options.changed(cwd=None))
        if ended is None:
            self.state.set_outcome(0)
            if MAY_CHANGE.search(line):
                self._output.print_message("what that line changes in its shell does not last")
            return
        self._record_result(ended)
        report = await self._adopt(keeper, number)
        if (notice := self._host.shell.notice_about(line)) is not None:
            self._output.print_message(notice)
        if report is not None and report.how == "exit" and isinstance(ended.outcome, Exited):
            raise ExitRepl(self.state.code)
        if report is None and EXIT_WITH_TRAP.search(line) and isinstance(ended.outcome, Exited):
            raise ExitRepl(self.state.code)  # the user's trap for the exit has replaced the one that reports
        if report is None and not keeper.unchanged and MAY_CHANGE.search(line):
            self._output.print_message("the shell ended without saving its state, which is that before this line")

    def _options(self, keeper: StateKeeper) -> RunOptions:
        return RunOptions.of(shell=True, cwd=self.state.directory, env=keeper.line_environment)

    async def _adopt(self, keeper: StateKeeper, number: int) -> StateReport | None:
        interrupted = self._runner.interrupted
        try:
            report = await self._runner.request(keeper.report(number))
        finally:
            self._runner.interrupted |= interrupted
        if report is not None:
            self.state.adopt(report)
        return report

    async def _run_line(self, text: str) -> None:
        command = background_command(text) if self._jobs else None
        if command is None:
            await self._run_in_shell(text)
            return
        args, options = self._command(encode(command))
        await self._start_job(args, text, options)

    async def _start_job(self, args: Args, text: str, options: RunOptions) -> None:
        job = await self._runner.request(self._host.jobs.start(args, text, options))
        self._output.print_message(f"[{job.name}] started")
        self.state.set_outcome(0)

    async def _run_in_shell(self, text: str) -> None:
        args, options = self._command(encode(text))
        result = await self._run_shown(args, text, options)
        if result is None:
            self.state.set_outcome(0)
        else:
            self._record_result(result)

    async def _run_shown(self, args: Args, text: str, options: RunOptions) -> Result | None:
        """Run a line to its end and show its output; return None if the user left it running."""
        if self._on_terminal is not None:
            return await self._on_terminal.run(args, text, options)
        result, _ = await self._runner.run(args, options)
        return result

    async def _run_builtin(self, builtin: Builtin) -> bool:
        if builtin.name == "exit":
            await self._exit(builtin)
        elif builtin.name != "cd" and not builtin.words:
            await self._run_in_shell(builtin.text)  # prints what is exported
        elif builtin.name == "cd" and builtin.words == "-":
            await self._previous_directory()
        else:
            await self._change_state(builtin)
        return self.state.code == 0

    async def _exit(self, builtin: Builtin) -> None:
        if EXIT_ARGUMENT.fullmatch(builtin.words):
            raise ExitRepl(int(builtin.words) % 256)
        if builtin.words:
            await self._run_in_shell(builtin.text)
        raise ExitRepl(self.state.code)

    async def _change_state(self, builtin: Builtin) -> None:
        script, marker = reporting_script(encode(builtin.text))
        try:
            result, printed = await self._capture(script, self.state.directory)
        except SpawnError as error:
            gone = error.outcome.what == "directory"
            if not (gone and builtin.name == "cd" and ABSOLUTE_CD.match(builtin.words)):
                raise
            result, printed = await self._capture(script, None)
        _, before, *after = printed.split(marker) if marker in printed else (b"", b"")
        if after and after[0]:
            await self._output.write(1, [after[0]])
        self._record_result(result)
        if result.outcome == Exited(code=0):
            if len(after) != 2:
                raise ValueError("the remote shell did not report what changed; it needs printf, pwd and /usr/bin/env")
            self.state.apply_changes(ShellReport.parse(before), ShellReport.parse(after[1]))

    async def _previous_directory(self) -> None:
        """Do `cd -` here: not every shell reads OLDPWD from its environment."""
        previous = self.state.previous
        if previous is None:
            self._output.print_message("cd: there is no previous directory")
            self.state.set_outcome(1)
            return
        script, marker = reporting_script()
        result, printed = await self._capture(script, previous, PWD=previous)
        self._record_result(result)
        if result.outcome == Exited(code=0):
            report = ShellReport.parse(printed.rpartition(marker)[2])
            await self._output.write(1, [report.directory + b"\n"])
            self.state.enter_previous(report)

    async def _capture(self, script: bytes, directory: bytes | None, **variables: bytes) -> tuple[Result, bytes]:
        args, options = self._command(script)
        env = {**options.env, **{name.encode(): value for name, value in variables.items()}}
        return await self._runner.run(args, options.changed(cwd=directory, env=env), capture=True)

    def _command(self, script: bytes) -> tuple[Args, RunOptions]:
        args, shell = self.state.command(script)
        return args, RunOptions.of(shell=shell, cwd=self.state.directory, env=self.state.environment)

    def _record_result(self, result: Result) -> None:
        if (sentence := stopped_sentence(result, None if self._host.private else OPTION_OF_RUN)) is not None:
            self._output.print_message(sentence)
        if isinstance(result.outcome, Killed):
            self._output.print_message(f"the command {describe(result.outcome)}")
        self.state.set_outcome(outcome_exit_code(result.outcome), _outcome_word(result.outcome))
        self._host.connection.report_shutdown()


def _outcome_word(outcome: Outcome) -> str:
    """Return the word that the prompt shows instead of the exit code, or an empty string."""
    match outcome:
        case Signaled():
            return signal_name(outcome.signal)
        case TimedOut():
            return "timeout"
        case Killed():
            return "stopped"
        case _:
            return ""
