"""Runs commands: those that change the REPL here, with the remote shell's help, all others there.

The way out.
"""

from __future__ import annotations

import asyncio
import re
import shlex
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
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut

from .commands import ExitRepl
from .hosts import Host
from .lines import Own, background, blank, encode, own
from .output import Output
from .runner import Interrupted, Runner
from .shell_state import REPORT, Report, reporting

NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
FROM_ANYWHERE: Final = re.compile(r"(--\s+)?(['\"]?/|~)|$")
"""What stands behind a cd that leads to the same place wherever it is said."""


class Screen(Protocol):
    """Runs lines on the user's terminal."""

    async def run(self, args: Args, text: str, options: RunOptions) -> Result | None:
        """Run the line `text` to its end; None where it was left going."""


class Interpreter:
    """Takes whole commands for one host, one after another.

    With `screen` programs have a terminal. A line that ends with `&` is a job where `jobs` is true, else the shell's.
    """

    def __init__(
        self, host: Host, output: Output, runner: Runner, screen: Screen | None = None, *, jobs: bool = False
    ) -> None:
        self.state: Final = host.state
        self._host = host
        self._output = output
        self._runner = runner
        self._screen = screen
        self._jobs = jobs

    async def execute(self, text: str) -> bool:
        """Run `text`, which may be several commands; how the last one ended is in `state`.

        Returns False where it is not known whether all was run, or known that it was not; the user was told why.
        Raises `ExitRepl`.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._execute(text)
        finally:
            self.state.took = loop.time() - began
            self._host.ended(text)

    async def _execute(self, text: str) -> bool:
        try:
            while not blank(text):
                command = own(text)
                if command is None:
                    await self._line(text)
                    break
                text = command.then if await self._own(command) else command.otherwise
        except Interrupted:
            self._ended(EXIT_INTERRUPTED, "SIGINT")
            return False
        except (FarhandError, ValueError) as error:
            self._output.say(str(error))
            lost = isinstance(error, ConnectionLost)
            if lost:
                await self._host.link.drop()
            self._ended(
                error_exit_code(error) if isinstance(error, FarhandError) else EXIT_FAILURE, "lost" if lost else ""
            )
            return isinstance(error, SpawnError)
        except BrokenPipeError:
            raise ExitRepl(EXIT_BROKEN_PIPE) from None
        except OSError as error:
            self._output.say(f"cannot write the output: {error.strerror}")
            raise ExitRepl(EXIT_FAILURE) from None
        return True

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came during the last run."""
        return self._runner.interrupted or (self._screen is not None and self.state.code == EXIT_INTERRUPTED)

    async def directory(self, path: str) -> bool:
        """Go to the directory `path`, of which nothing but a `~` at the beginning is expanded."""
        if path == "-":
            return await self.execute("cd -")
        home, slash, rest = path.partition("/")
        word = f"~{slash}{shlex.quote(rest) if rest else ''}" if home == "~" else shlex.quote(path)
        return await self.execute(f"cd -- {word}")

    async def learn(self) -> None:
        """Ask for what is known only to the remote shell: which one it is, and the home. Raises as a run."""
        if not self.state.known:
            _, printed = await self._report(REPORT.encode(), self.state.directory)
            self.state.learn(Report.parse(printed))

    async def _line(self, text: str) -> None:
        job = background(text) if self._jobs else None
        if job is None:
            await self._shell(text)
            return
        args, options = self._command(encode(job))
        started = await self._runner.asked(self._host.jobs.start(args, text, options))
        self._output.say(f"[{started.name}] started")
        self._ended(0)

    async def _shell(self, text: str) -> None:
        args, options = self._command(encode(text))
        if self._screen is None:
            result, _ = await self._runner.run(args, options)
        else:
            shown = await self._screen.run(args, text, options)
            if shown is None:
                self._ended(0)
                return
            result = shown
        self._result(result)

    async def _own(self, command: Own) -> bool:
        if command.name == "exit":
            await self._exit(command)
        elif command.name != "cd" and not command.words:
            await self._shell(command.text)  # says what is exported
        elif command.name == "cd" and command.words == "-":
            await self._back()
        else:
            await self._change(command)
        return self.state.code == 0

    async def _exit(self, command: Own) -> None:
        if NUMBER.fullmatch(command.words):
            raise ExitRepl(int(command.words) % 256)
        if command.words:
            await self._shell(command.text)
        raise ExitRepl(self.state.code)

    async def _change(self, command: Own) -> None:
        script, marker = reporting(encode(command.text))
        try:
            result, printed = await self._report(script, self.state.directory)
        except SpawnError as error:
            gone = error.outcome.what == "directory"
            if not (gone and command.name == "cd" and FROM_ANYWHERE.match(command.words)):
                raise
            result, printed = await self._report(script, None)
        before, *after = printed.split(marker)
        if after and after[0]:
            await self._output.write(1, [after[0]])
        self._result(result)
        if result.outcome == Exited(code=0):
            if len(after) != 2:
                raise ValueError("the remote shell did not say what changed; it needs printf, pwd and /usr/bin/env")
            self.state.change(Report.parse(before), Report.parse(after[1]))

    async def _back(self) -> None:
        """Do `cd -`: not every shell takes OLDPWD from its environment."""
        if self.state.previous is None:
            self._output.say("cd: there is no directory to go back to")
            self._ended(1)
            return
        result, printed = await self._report(REPORT.encode(), self.state.previous, PWD=self.state.previous)
        self._result(result)
        if result.outcome == Exited(code=0):
            now = Report.parse(printed)
            await self._output.write(1, [now.directory + b"\n"])
            self.state.back(now)

    async def _report(self, script: bytes, directory: bytes | None, **variables: bytes) -> tuple[Result, bytes]:
        args, options = self._command(script)
        env = {**options.env, **{name.encode(): value for name, value in variables.items()}}
        return await self._runner.run(args, options.changed(cwd=directory, env=env), capture=True)

    def _command(self, script: bytes) -> tuple[Args, RunOptions]:
        args, shell = self.state.command(script)
        return args, RunOptions.of(shell=shell, cwd=self.state.directory, env=self.state.environment)

    def _result(self, result: Result) -> None:
        if result.lingered:
            self._output.say("the command left processes behind; what they write from now on is not shown")
        if isinstance(result.outcome, Killed):
            self._output.say(f"the command {describe(result.outcome)}")
        self._ended(outcome_exit_code(result.outcome), _word(result.outcome))
        self._host.link.check()

    def _ended(self, code: int, word: str = "") -> None:
        self.state.code, self.state.ended = code, word


def _word(outcome: Outcome) -> str:
    match outcome:
        case Signaled():
            return signal_name(outcome.signal)
        case TimedOut():
            return "timeout"
        case Killed():
            return "stopped"
        case _:
            return ""
