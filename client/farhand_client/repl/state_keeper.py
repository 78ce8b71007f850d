"""Keeps the state of one host's shell between lines, in a private directory on the host.

A run of its own, the keeper, makes that directory when the prompt begins and removes it when the prompt ends, however
it ends. It survives outages and upgrades of the service as every run does. When the connection is lost for good, the
state is lost with it, and the next keeper begins with a new shell.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from farhand_client.client import Client
from farhand_client.errors import FarhandError
from farhand_client.options import PIPE, RunOptions
from farhand_client.run import Run
from farhand_protocol.features import PRELUDE
from farhand_protocol.limits import MiB

from . import shell_code

STARTUP_TIMEOUT: Final = 10.0
"""Seconds for the startup files of the shell. Those of large frameworks take one or two."""

KEEPER_CLOSE_TIMEOUT: Final = 2.0
"""Seconds to wait for the jobs to have begun and for the state to be removed."""

FIRST_NUMBER: Final = 2
"""The number of the first line; 0 and 1 are the states of a new shell, with and without its startup files."""

MAX_ANSWER: Final = 4 * MiB
"""Bytes of one answer of the keeper: the environment of a process, at most 2 MiB on Linux, and two directories."""

MAX_DIGITS: Final = 9
"""Digits of a number in an answer, and `MAX_WORD` characters of its word: more are not the keeper's."""

MAX_WORD: Final = 16

KEEPER_ARGV: Final = ("/bin/sh", "-c", 'eval "$(head -c "$1")"', "farhand-repl-state")
"""Runs a script that comes on stdin, so that lists of processes stay readable; its length follows."""


@dataclass(frozen=True, slots=True)
class StateReport:
    """What the shell reports of its state at the end of a line."""

    how: str
    """`end` after the line; `exit` if the line made the shell exit; `error` if the shell could not go on."""
    exit_trap: bool
    """Whether the user has set a trap for the exit of the shell."""
    directory: bytes
    physical: bytes
    environment: Mapping[bytes, bytes] | None
    """The exported variables; None if they have not changed."""

    @classmethod
    def parse(cls, data: bytes) -> StateReport:
        """Parse what a shell has written. Raises ValueError if it is something else."""
        how, trap, directory, physical, kind, *rest = data.split(b"\0")
        environment = None
        if kind == b"env":
            pairs = (entry.partition(b"=") for entry in rest if entry and not entry.startswith(b"__farhand_"))
            environment = {name: value for name, _, value in pairs}
        return cls(how.decode(), trap == b"trap", directory, physical.removesuffix(b"\n"), environment)


class KeeperFailed(Exception):
    """There is no keeper; the text says why, for the user, as a clause."""


@dataclass
class StateKeeper:
    """The keeper on one host. `start` makes it."""

    run: Run
    client: Client
    kind: str = ""
    path: bytes = b""
    """The directory of the states."""
    base: int = 0
    """The state with which the next line begins."""
    number: int = FIRST_NUMBER - 1
    """The number of the last line."""
    unchanged: bool = False
    """Whether the last line was one that changes nothing, so that nothing was saved."""
    ended: bool = False
    """Whether the keeper has ended, and with it the state."""
    _answers: dict[tuple[str, int], bytes] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _loading: set[int] = field(default_factory=set)
    """Jobs that have not read their state yet."""
    _superseded: list[int] = field(default_factory=list)
    """States of which no later line begins."""
    _line: bytes = b""
    """The last line."""
    _previous: list[bytes] = field(default_factory=list)
    """The plain lines since the last state, from the last one that sets `$_` by itself."""
    _reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, client: Client, options: RunOptions, *, interactive: bool) -> tuple[StateKeeper, StateReport]:
        """Start a keeper; return it and the state of the new shell. Raises `KeeperFailed`, `FarhandError`."""
        if PRELUDE not in client.features:
            raise KeeperFailed("its service is older than this program")
        script = shell_code.keeper_script(interactive=interactive)
        run = await client.start([*KEEPER_ARGV, str(len(script))], options, stdin=PIPE)
        keeper = cls(run, client)
        if run.stderr is not None:
            run.stderr.discard()
        keeper._reading = asyncio.ensure_future(keeper._read())
        try:
            assert run.stdin is not None
            run.stdin.write(script)
            return keeper, await keeper._begin()
        except BaseException:
            await keeper.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether the state is still there, as far as is known."""
        return not self.ended and self.run.outcome is None

    def prelude(self, line: bytes, code: int) -> tuple[int, bytes]:
        """Return the number of a new line, and its prelude; `code` is the exit code of the last line."""
        self.number += 1
        self._line = line
        return self.number, shell_code.prelude(
            self.kind, self.path, self.base, self.number, code, line, previous=self._previous
        )

    @property
    def line_environment(self) -> dict[bytes, bytes]:
        """The variables with which the shell of a line starts, before it restores the state."""
        return shell_code.startup_environment(self.kind, self.path)

    def assignments(self, changes: Sequence[tuple[bytes, bytes | None]]) -> bytes:
        """Return a line that exports variables, or with None unsets them."""
        return shell_code.assignments(self.kind, changes)

    def job_prelude(self, line: bytes, code: int) -> bytes:
        """Return the prelude of a job, whose shell begins with the state and writes none."""
        self.number += 1
        self._loading.add(self.number)
        return shell_code.prelude(
            self.kind, self.path, self.base, self.number, code, line, job=True, previous=self._previous
        )

    async def report(self, number: int) -> StateReport | None:
        """Return what the shell of a line that has ended reported; None if it changed nothing or could not report.

        Raises `KeeperFailed` if the state is gone.
        """
        if not self._answered(number):
            self._send(f"sync {number}")
            await self._until(lambda: self._answered(number) or ("sync", number) in self._answers)
        gone = self._answers.pop(("gone", number), None) is not None
        self._answers.pop(("sync", number), None)
        self.unchanged = self._answers.pop(("same", number), None) is not None
        self._previous = shell_code.plain_lines(self._previous, self._line) if self.unchanged else []
        saved = self._answers.pop(("saved", number), None)
        if gone or (saved is None and self.ended):
            self.ended = True
            raise KeeperFailed("the directory with its state was removed")
        if saved is None:
            return None
        report = _parsed(saved)
        self._superseded.append(self.base)
        self.base = number
        self._drop()
        return report

    def _drop(self) -> None:
        if not self._loading:
            for number in self._superseded:
                self._send(f"drop {number}")
            self._superseded.clear()

    async def close(self) -> None:
        """Remove the state, once the jobs that were started have read it."""
        with contextlib.suppress(FarhandError):
            if self.usable and self.client.connected:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KEEPER_CLOSE_TIMEOUT):
                        await self._until(lambda: not self._loading)
        if self.run.stdin is not None:
            with contextlib.suppress(FarhandError, OSError):
                self.run.stdin.close()
        with contextlib.suppress(FarhandError, TimeoutError):
            # A connection that is lost does not delay the end of the prompt; the service then ends the keeper.
            async with asyncio.timeout(KEEPER_CLOSE_TIMEOUT):
                await self.run.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _begin(self) -> StateReport:
        await self._until(lambda: ("shell", 0) in self._answers)
        if self.ended and ("shell", 0) not in self._answers:
            raise KeeperFailed("no program can be run to keep the state of its shell")
        kind, path = self._answers.pop(("shell", 0)).split(b"\0")
        self.kind, self.path = kind.decode(errors="replace"), path
        if self.kind not in shell_code.KINDS:
            raise KeeperFailed("its shell is none of " + ", ".join(shell_code.KINDS))
        if not path:
            raise KeeperFailed("there is no directory to which the account may write")
        hurry = asyncio.get_running_loop().call_later(STARTUP_TIMEOUT, self._hurry)
        try:
            await self._until(lambda: any(word in ("started", "failed") for word, _ in self._answers))
        finally:
            hurry.cancel()
        for number in (0, 1):
            if (data := self._answers.pop(("started", number), None)) is not None:
                self.base = number
                return _parsed(data)
        raise KeeperFailed("its shell could not write its state")

    def _hurry(self) -> None:
        self._send("hurry 0")

    def _answered(self, number: int) -> bool:
        return any((word, number) in self._answers for word in ("saved", "same", "gone"))

    def _send(self, request: str) -> None:
        assert self.run.stdin is not None
        with contextlib.suppress(FarhandError, OSError):
            self.run.stdin.write(request.encode() + b"\n")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self.ended:
            self._changed.clear()
            await self._changed.wait()

    async def _read(self) -> None:
        received = bytearray()
        try:
            async for chunk in self.run.stdout:
                searched = max(0, len(received) - 1)
                received += chunk
                if received.find(b"\0\0", searched) >= 0:
                    *answers, rest = bytes(received).split(b"\0\0")
                    received[:] = rest
                    for answer in answers:
                        self._take(answer)
                if len(received) > MAX_ANSWER:
                    break
        except (FarhandError, ValueError):
            pass  # what the keeper says can no longer be understood, or never could
        finally:
            self.ended = True
            self._changed.set()

    def _take(self, answer: bytes) -> None:
        head, _, data = answer.partition(b"\0")
        word, _, digits = head.partition(b" ")
        number = int(digits[:MAX_DIGITS])
        if word == b"loaded":
            self._loading.discard(number)
            self._drop()
        elif number <= self.number:
            self._answers[word.decode()[:MAX_WORD], number] = data
        self._changed.set()


def _parsed(data: bytes) -> StateReport:
    """Parse a report. Raises `KeeperFailed` for anything else."""
    try:
        return StateReport.parse(data)
    except ValueError:
        raise KeeperFailed("its shell has reported something else than its state") from None
