"""A run of a fake service on a local terminal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from farhand_client import Client, TerminalRequest
from farhand_client.run import Run
from farhand_client.terminal.interaction import Interaction
from farhand_client.terminal.local import LocalTerminal
from tests.support.fake_service import Behaviour, FakeService, client_of
from tests.support.fake_terminals import echo
from tests.support.ptys import Pty


@contextlib.asynccontextmanager
async def interacting(
    tmp_path: Path, pty: Pty, behave: Behaviour = echo, *, reconnect: float | None = None
) -> AsyncIterator[tuple[Client, FakeService, Run, Interaction, LocalTerminal]]:
    """Start a run on a terminal like `pty`, to be shown on `pty`."""
    async with client_of(tmp_path, behave, reconnect=reconnect) as (client, service):
        with LocalTerminal(pty.slave) as local:
            request = TerminalRequest(name="xterm", size=local.size, modes=local.modes)
            async with client.start(["prog"], terminal=request, on_disconnect="keep", on_gap=lambda _: None) as run:
                yield client, service, run, Interaction(run, local), local
