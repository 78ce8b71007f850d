"""What is left of a transfer that was killed together with the service is gone once it was started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from farhand_client import TransferInterrupted, connect
from farhand_files.events import Event, Moved
from farhand_files.names import is_temporary
from farhand_files.temporary import temporary_name
from farhand_files.wire import CHUNK
from tests.support.client import TIMEOUT
from tests.support.processes import end_of
from tests.support.service import running_service

ANOTHER_DAY = """
import runpy, sys
from farhand_server import cleaning
cleaning.oldest_kept = lambda: {}
sys.argv = sys.argv[3:]
runpy.run_module("farhand_server", run_name="__main__", alter_sys=True)
"""
"""Becomes a service for which all is old that was changed before a certain time: nobody can set back the time of the
last change of an inode (utimensat(2))."""


def left_in(directory: Path) -> list[Path]:
    return [each for each in directory.iterdir() if is_temporary(bytes(each.name, "ascii"))]


async def test_leftovers_of_a_service_that_was_killed_are_removed_when_they_are_old(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3 * CHUNK))
    target = tmp_path / "there" / "target"
    target.parent.mkdir()
    moving = asyncio.Event()

    def progress(event: Event) -> None:
        if isinstance(event, Moved) and event.done > CHUNK:
            moving.set()

    async with running_service(tmp_path) as service, connect(service.host, reconnect=None) as client:
        put = asyncio.ensure_future(client.put(tmp_path / "big", str(target), progress=progress, rate=CHUNK))
        async with asyncio.timeout(TIMEOUT):
            await moving.wait()
            [run] = await client.runs()
        service.process.send_signal(signal.SIGKILL)
        await service.process.wait()
        with pytest.raises(TransferInterrupted):
            await put
        assert run.pid is not None
        await end_of(run.pid)
    [old] = left_in(target.parent)
    fresh = target.parent / os.fsdecode(temporary_name(b"other"))
    fresh.touch()
    while fresh.stat().st_ctime <= old.stat().st_ctime:  # the clock of the file system has ticks
        fresh.touch()
    code = ANOTHER_DAY.format(fresh.stat().st_ctime)
    async with running_service(tmp_path, prefix=(sys.executable, "-c", code)) as service:
        await service.logged("leftovers of transfers were removed")
        assert left_in(target.parent) == [fresh]
        async with connect(service.host) as client:
            [swept] = [each for each in await client.runs(ended=True) if each.internal]
        assert swept.command == f"sweep {target}"
    entries = [json.loads(line) for line in (tmp_path / "state/farhand/audit.jsonl").read_text().splitlines()]
    [end] = [each for each in entries if each["event"] == "end" and each.get("argv", [""])[0] == "sweep"]
    assert (end["argv"], end["outcome"]) == (["sweep", str(target)], "exited")
    assert end["transfer"] == {"files": 0, "bytes": 0, "deleted": 1}
