"""A change in a directory is noticed without looking for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from farhand_client.helper.watch import DirectoryWatch
from tests.support.client import TIMEOUT


async def test_changes_are_noticed(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    changed = asyncio.Event()
    watch = DirectoryWatch(bytes(directory), changed.set)
    for change in (
        (directory / "a").touch,
        lambda: (directory / "a").rename(directory / "b"),
        (directory / "b").unlink,
        directory.rmdir,
    ):
        changed.clear()
        change()
        async with asyncio.timeout(TIMEOUT):
            await changed.wait()
    watch.close()
    watch.close()
