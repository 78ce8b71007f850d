"""Commands at which somebody types have the loop that answers sooner."""

from __future__ import annotations

import asyncio

import uvloop

from farhand_client.cli.connection import run_attended


def test_a_command_at_a_terminal_runs_on_uvloop_and_has_its_exit_code() -> None:
    async def command() -> int:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        return 7

    assert run_attended(command()) == 7
