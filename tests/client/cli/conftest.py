"""The service that the commands in these tests talk to, and the terminal at which they run."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from farhand_client.cli.loop import run_loop
from tests.support.fake_listing import info, listing
from tests.support.fake_service import FakeService
from tests.support.fake_transfers import FakeTransferClient
from tests.support.ptys import Pty, terminal
from tests.support.service import environment


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[FakeService]:
    """A fake service that accepts anything, and knows one run unless a test says otherwise."""
    async with FakeService().on_socket(tmp_path) as fake:
        fake.answer = listing(info())
        yield fake


@pytest.fixture
def transfers(home: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTransferClient:
    """A client that does not connect, and does what the test says."""
    fake = FakeTransferClient()

    def run(options: argparse.Namespace, act: Callable[[Any], Coroutine[Any, Any, int]], **_: Any) -> int:
        fake.hosts.append(options.host)
        return run_loop(act(fake))

    monkeypatch.setattr("farhand_client.cli.transfer.run_with_client", run)
    return fake


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with an ordinary terminal."""
    kept = {name: value for name, value in environment(tmp_path).items() if not name.startswith(("LC_", "LANG"))}
    return kept | {"TERM": "xterm-256color"}
