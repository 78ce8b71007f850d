"""One service and one sshd for all tests of other programs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.support.remote_shells import RemoteShells, remote_shells


@pytest.fixture(scope="session")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteShells]:
    """Farhand and OpenSSH to this machine; no test may stop or change either."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        config = "[drain]\ngrace = 0.2\n"
        both = runner.run(stack.enter_async_context(remote_shells(tmp_path_factory.mktemp("shells"), config)))
        try:
            yield both
        finally:
            runner.run(stack.aclose())
