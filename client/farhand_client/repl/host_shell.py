"""The shell of one host: whether its state is carried from line to line, by which keeper, and what the user is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final, Literal, TypeAlias

from farhand_client.client import Client
from farhand_client.errors import ConnectionLost, FarhandError, RequestRefused, SpawnError
from farhand_client.options import RunOptions

from .host_connection import HostConnection
from .shell_code import EXEC_OPENS_FILES, SOURCES_FILE
from .shell_state import ShellState
from .state_keeper import KeeperFailed, StateKeeper

Carrying: TypeAlias = Literal["no", "script", "prompt"]
"""Whether the state is carried; at a prompt the shell first reads the startup files of an interactive shell."""

NO_STARTUP_FILES: Final = "FARHAND_REPL_NORC"
"""An environment variable; if it is set, the startup files of interactive shells are not read."""

SMALL_SHELL: Final = "functions that the file defines end with this line: the shell here cannot print functions"

STATE_LOST: Final = (
    "the state of the shell is lost with its service or its directory; directory and exported variables are kept, the"
    " rest is that of a new shell"
)

SCRIPT_STATE_LOST: Final = (
    "the state of the shell is lost with its service or its directory; the script ends, since it may rely on that state"
)

EXEC_ENDS: Final = "files that exec opens or redirects are those of this line only"

FALLBACK: Final = "between lines only directory and exported variables are kept, as cd, export and unset change them"


class HostShell:
    """The shell of one host, whose lines run in the state `state`."""

    def __init__(self, connection: HostConnection, state: ShellState, carrying: Carrying) -> None:
        self._connection = connection
        self._state = state
        self._carrying: Carrying = carrying
        self._keeper: StateKeeper | None = None
        self._refused_by: Client | None = None
        self._notices: list[str] = []
        self._told: set[str] = set()
        self._starting = asyncio.Lock()
        self._preparing: asyncio.Task[None] | None = None

    async def keeper(self) -> StateKeeper | None:
        """Return the keeper of the state; start one if there is none. None if the state cannot be carried here.

        Raises what connecting raises, and `ConnectionLost`, also if a script has lost the state.
        """
        if self._carrying == "no":
            return None
        async with self._starting:
            if self._carrying == "prompt" and self._keeper is not None and not self._keeper.usable:
                await self._connection.close_if_lost()
            client = await self._connection.connect()
            if self._refused_by is client:
                return None
            keeper = self._keeper
            if keeper is not None and keeper.usable and keeper.client is client:
                return keeper
            if keeper is not None:
                if self._carrying == "script":
                    raise ConnectionLost(SCRIPT_STATE_LOST)
                self._keeper = None
                await keeper.close()
                self._notices.append(STATE_LOST)
            try:
                self._keeper = await self._start(client)
            except (KeeperFailed, RequestRefused, SpawnError) as error:
                self._refused_by = client
                self._notices.append(f"{FALLBACK}: {error}")
            return self._keeper

    def prepare(self) -> None:
        """Start a keeper in the background, so that the first line need not wait for it."""
        if self._carrying == "prompt" and self._preparing is None:
            self._preparing = asyncio.ensure_future(self._prepare())

    async def _prepare(self) -> None:
        with contextlib.suppress(FarhandError):  # the first line tries again, and reports it
            await self.keeper()

    def take_notices(self) -> list[str]:
        """Return what the user has not been told yet."""
        notices, self._notices = self._notices, []
        return notices

    def notice_about(self, line: bytes) -> str | None:
        """Return what the user should know about the state after `line`, once."""
        if self._keeper is None:
            return None
        notice = None
        if EXEC_OPENS_FILES.search(line):
            notice = EXEC_ENDS
        elif self._keeper.kind == "sh" and SOURCES_FILE.search(line):
            notice = SMALL_SHELL
        if notice is None or notice in self._told:
            return None
        self._told.add(notice)
        return notice

    async def close(self) -> None:
        """Remove the state from the host."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait([self._preparing])
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.close()

    async def _start(self, client: Client) -> StateKeeper:
        interactive = self._carrying == "prompt" and not os.environ.get(NO_STARTUP_FILES)
        env = {**(_terminal_variables() if interactive else {}), **self._state.environment}
        options = RunOptions.of(cwd=self._state.directory, env=env, kill_after=1, internal=True)
        try:
            keeper, report = await StateKeeper.start(client, options, interactive=interactive)
        except SpawnError as error:
            if error.outcome.what != "directory":
                raise
            keeper, report = await StateKeeper.start(client, options.changed(cwd=None), interactive=interactive)
        if interactive and keeper.base != 0:
            self._notices.append(
                "the shell did not get through its startup files; their aliases and functions are missing"
            )
        self._state.adopt(report)
        return keeper


def _terminal_variables() -> dict[bytes, bytes]:
    """Return what startup files ask about the terminal on which the lines will run."""
    from farhand_client.ui.terminal_request import UNKNOWN_TERMINAL, locale_variables

    return {b"TERM": os.environb.get(b"TERM") or UNKNOWN_TERMINAL.encode(), **locale_variables()}
