"""What is recorded of a run goes along to the program that takes the service over."""

from __future__ import annotations

from pathlib import Path

from farhand_server.runs.output.filespool import FileSpool
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.output.timeline import Moment, TimelinePosition
from farhand_server.runs.plan import TerminalPlan
from farhand_server.runs.run import LiveRun
from farhand_server.upgrade.snapshot import ReceivedSnapshot, Snapshot, SnapshotWriter
from tests.server.connection.channels.runs import finish, run


def moved(run: LiveRun, memory: SpoolMemory) -> LiveRun:
    """The run as the other program has it; this one has let go of it."""
    blobs = SnapshotWriter()
    frozen = run.snapshot(blobs.put, kept_until=0.0)
    state = Snapshot(program="0", left=0.0, lock=None, local=0, edges=None, listening=(), edge=None, runs=(frozen,))
    received = ReceivedSnapshot.read(blobs.write(state))
    try:
        return LiveRun.restore(received.snapshot.runs[0], received.get, memory, None)
    finally:
        received.close()


def told(run: LiveRun) -> list[Moment]:
    return [moment for moment, _ in run.timeline.moments(TimelinePosition(), 1 << 62)]


async def test_a_restored_run_has_the_same_output_sizes_and_keys_with_their_times(tmp_path: Path) -> None:
    here = run(tmp_path, terminal=TerminalPlan("xterm", 80, 24), disk_spool=1 << 16, record_input=True)
    for number in range(10):
        here.timeline.start -= 0.25
        here.timeline.fed(b"%d" % number)
        here.stdout.append(b"drawn")
        here.timeline.resized(100 + number, 30)
    finish(here)
    memory = SpoolMemory(1 << 20)
    there = moved(here, memory)
    assert told(there) == told(here)
    assert (len(told(there)), there.timeline.size) == (31, (109, 30))
    assert memory.used > 30 * 24
    there.close()
    assert memory.used == 0
    here.close()


async def test_a_restored_run_still_has_to_keep_its_output_whole(tmp_path: Path) -> None:
    for record in (True, False):
        here = run(tmp_path, disk_spool=1 << 16, record=record)
        finish(here)
        there = moved(here, SpoolMemory(1 << 20))
        assert isinstance(there.stdout, FileSpool)
        assert there.stdout.whole is record
        here.close()
        there.close()
