"""Runs commands: those that change the REPL here, with the remote shell's help, all others there."""

from __future__ import annotations

import re
from typing import Final

from farhand_client.cli.exitcode import error_code, exit_code
from farhand_client.cli.main import BROKEN_PIPE, INTERRUPTED, OURS
from farhand_client.completed import Result, describe
from farhand_client.errors import ConnectionLost, FarhandError, SpawnError
from farhand_client.signals import linux_name
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut

from .lines import Own, blank, encode, own
from .link import Link
from .output import Output, say
from .runner import Interrupted, Runner
from .state import REPORT, Report, State, reporting

NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
FROM_ANYWHERE: Final = re.compile(r"(--\s+)?[/~]|$")
"""What stands behind a cd that leads to the same place wherever it is said."""


class Leave(Exception):
    """The REPL is to end, with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code: Final = code


class Interpreter:
    """Takes whole commands, one after another."""

    def __init__(self, link: Link, output: Output, runner: Runner, state: State) -> None:
        self.state: Final = state
        self._link = link
        self._output = output
        self._runner = runner

    async def execute(self, text: str) -> bool:
        """Run `text`, which may be several commands; how the last one ended is in `state`.

        Returns False where it is not known whether all was run, or known that it was not; the user was told why.
        Raises `Leave`.
        """
        try:
            while not blank(text):
                command = own(text)
                if command is None:
                    await self._shell(text)
                    break
                text = command.then if await self._own(command) else command.otherwise
        except Interrupted:
            self._ended(INTERRUPTED, "SIGINT")
            return False
        except (FarhandError, ValueError) as error:
            say(str(error))
            if isinstance(error, ConnectionLost):
                await self._link.drop()
            self._ended(error_code(error) if isinstance(error, FarhandError) else OURS)
            return isinstance(error, SpawnError)
        except BrokenPipeError:
            raise Leave(BROKEN_PIPE) from None
        except OSError as error:
            say(f"cannot write the output: {error.strerror}")
            raise Leave(OURS) from None
        return True

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came during the last run."""
        return self._runner.interrupted

    async def _shell(self, text: str) -> None:
        args, shell = self.state.command(encode(text))
        result, _ = await self._runner.run(args, shell=shell, cwd=self.state.directory, env=self.state.environment)
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
            raise Leave(int(command.words) % 256)
        if command.words:
            await self._shell(command.text)
        raise Leave(self.state.code)

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
            say("cd: there is no directory to go back to")
            self._ended(1)
            return
        result, printed = await self._report(REPORT.encode(), self.state.previous, PWD=self.state.previous)
        self._result(result)
        if result.outcome == Exited(code=0):
            now = Report.parse(printed)
            await self._output.write(1, [now.directory + b"\n"])
            self.state.back(now)

    async def _report(self, script: bytes, directory: bytes | None, **variables: bytes) -> tuple[Result, bytes]:
        args, shell = self.state.command(script)
        env = self.state.environment | {name.encode(): value for name, value in variables.items()}
        return await self._runner.run(args, capture=True, shell=shell, cwd=directory, env=env)

    def _result(self, result: Result) -> None:
        if result.lingered:
            say("the command left processes behind; what they write from now on is not shown")
        if isinstance(result.outcome, Killed):
            say(f"the command {describe(result.outcome)}")
        self._ended(exit_code(result.outcome), _word(result.outcome))
        self._link.check()

    def _ended(self, code: int, word: str = "") -> None:
        self.state.code, self.state.ended = code, word


def _word(outcome: Outcome) -> str:
    match outcome:
        case Signaled():
            return linux_name(outcome.signal)
        case TimedOut():
            return "timeout"
        case Killed():
            return "stopped"
        case _:
            return ""
