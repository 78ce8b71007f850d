"""A file system that is mounted, or unmounted, is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, subprocess, sys
import uvloop
from farhand_client.kept.mounts import MountWatch

async def main(directory):
    changed = asyncio.Event()
    watch = MountWatch(changed.set)
    for command in 2 * (["mount", "-t", "tmpfs", "tmpfs", directory], ["umount", directory]):
        subprocess.run(command, check=True)
        async with asyncio.timeout(20):
            await changed.wait()
        changed.clear()
        print(command[0])
    watch.close()
    watch.close()

for factory in (asyncio.SelectorEventLoop, uvloop.new_event_loop):
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(sys.argv[1]))
"""


@pytest.mark.needs("root", "unshare", "mount")
def test_mounts_and_their_ends_are_noticed_by_either_event_loop(tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (4 * ["mount", "umount"], "")
