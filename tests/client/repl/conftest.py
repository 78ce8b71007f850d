"""Hosts and sessions of the REPL that are connected to a fake service."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client.cli.colon_transfer import parse_colon_transfer
from farhand_client.repl.host_connection import HostConnection
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.runner import InterruptGroup
from farhand_client.repl.session import ReplSession
from farhand_client.terminal import local
from farhand_client.terminal.local import LocalTerminal
from farhand_client.ui.printing import print_message
from tests.support.fake_service import FakeService
from tests.support.local_programs import connecting_to, run_locally
from tests.support.ptys import Pty, terminal


@pytest.fixture
async def service(home: Path) -> AsyncIterator[FakeService]:
    """A fake service that runs programs on this machine."""
    async with FakeService(run_locally).on_socket(home) as fake:
        yield fake


@pytest.fixture
async def host(service: FakeService) -> AsyncIterator[ReplHost]:
    """A host named web, not connected yet."""
    made = ReplHost("web", HostConnection("web", connecting_to(service), print_message))
    yield made
    await made.close()


@pytest.fixture
async def pty(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pty]:
    """The user's terminal."""
    async with terminal() as made:
        monkeypatch.setattr(local, "LocalTerminal", lambda: LocalTerminal(made.slave))
        monkeypatch.setattr(os, "get_terminal_size", lambda fd=1: os.terminal_size((80, 24)))
        monkeypatch.setenv("TERM", "xterm-256color")
        yield made


@pytest.fixture
def interrupts() -> InterruptGroup:
    """Delivers Ctrl-C to the session when it is called."""
    return InterruptGroup()


@pytest.fixture
async def session(service: FakeService, pty: Pty, interrupts: InterruptGroup) -> AsyncIterator[ReplSession]:
    """A session with ~ as escape character. All its hosts are connected to `service`; web is active."""
    made = ReplSession(
        "web",
        lambda name: connecting_to(service),
        interrupts,
        escape=ord("~"),
        carrying="no",
        parse_transfer=parse_colon_transfer,
    )
    await made.hosts.switch("web")
    yield made
    await made.close()
