"""The service that the commands in these tests talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.fake_listing import info, listing
from tests.support.fake_service import FakeService


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[FakeService]:
    """A fake service that accepts anything, and knows one run unless a test says otherwise."""
    async with FakeService().on_socket(tmp_path) as fake:
        fake.answer = listing(info())
        yield fake
