"""The recording of a run is handed over to the program that replaces the service."""

from __future__ import annotations

from pathlib import Path

from farhand_server.forwards.rules import ForwardRules, Permission
from farhand_server.runs.execution import ProcessSnapshot
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.filespool import FileSpool
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.output.timeline import Moment, TimelinePosition
from farhand_server.runs.plan import AllowedForward, AllowedTransfer, RuleShare, TerminalPlan
from farhand_server.runs.process.meter import MeterSnapshot
from farhand_server.runs.process.process import LeaderSnapshot
from farhand_server.runs.run import LiveRun, RunSnapshot
from farhand_server.sharing import Rate
from farhand_server.upgrade.snapshot import ReceivedSnapshot, Snapshot, SnapshotWriter
from tests.server.connection.channels.runs import finish, run


def handed_over(run: LiveRun, memory: SpoolMemory) -> LiveRun:
    """Snapshot the run and return it as the new program restores it."""
    blobs = SnapshotWriter()
    snapshot = run.snapshot(blobs.put, kept_until=0.0)
    state = Snapshot(program="0", left=0.0, lock=None, local=0, edges=None, listening=(), edge=None, runs=(snapshot,))
    received = ReceivedSnapshot.read(blobs.write(state))
    try:
        return LiveRun.restore(received.snapshot.runs[0], received.get, memory, SpoolDirectory(Path()), None)
    finally:
        received.close()


def moments_of(run: LiveRun) -> list[Moment]:
    return [moment for moment, _ in run.timeline.moments(TimelinePosition(), 1 << 62)]


async def test_a_restored_run_has_the_same_output_sizes_and_keys_with_their_times(tmp_path: Path) -> None:
    original = run(tmp_path, terminal=TerminalPlan("xterm", 80, 24), disk_spool=1 << 16, record_input=True)
    for number in range(10):
        original.timeline.start -= 0.25
        original.timeline.fed(b"%d" % number)
        original.stdout.append(b"drawn")
        original.timeline.resized(100 + number, 30)
    finish(original)
    memory = SpoolMemory(1 << 20)
    restored = handed_over(original, memory)
    assert moments_of(restored) == moments_of(original)
    assert (len(moments_of(restored)), restored.timeline.size) == (31, (109, 30))
    assert memory.used > 30 * 24
    restored.close()
    assert memory.used == 0
    original.close()


async def test_a_restored_run_still_has_to_keep_its_output_whole(tmp_path: Path) -> None:
    for record in (True, False):
        original = run(tmp_path, disk_spool=1 << 16, record=record)
        finish(original)
        restored = handed_over(original, SpoolMemory(1 << 20))
        assert isinstance(restored.stdout, FileSpool)
        assert restored.stdout.whole is record
        original.close()
        restored.close()


async def test_a_restored_run_counts_for_its_account_and_rule_again(tmp_path: Path) -> None:
    rule = RuleShare("deploy", runs=2, starts=Rate(10, 1.0))
    original = run(tmp_path, rule=rule)
    original.stdout.append(bytes(1000))
    finish(original)
    memory = SpoolMemory(1 << 20)
    restored = handed_over(original, memory.of(50_001))
    assert restored.plan.rule == rule
    assert memory.used == memory.by_user.of(50_001) >= 1000
    restored.close()
    assert (memory.used, memory.by_user.total) == (0, 0)
    original.close()


async def test_the_file_of_a_transfer_is_handed_over_with_its_run(tmp_path: Path) -> None:
    transfer = AllowedTransfer("write", (b"caf\xe9",), b"/home/ada", (b"/srv",))
    original = run(tmp_path, transfer=transfer)
    process = ProcessSnapshot(
        handover=LeaderSnapshot(1, 0, None, MeterSnapshot(0.0, 0.0, 0, 0)),
        in_cgroup=False,
        outputs=((5, "stdout"),),
        why=None,
        message=None,
        kill_at=None,
        times_out=None,
        linger_until=None,
        order_file=7,
    )
    snapshot = original.snapshot(SnapshotWriter().put).model_copy(update={"process": process})
    received = RunSnapshot.model_validate_json(snapshot.model_dump_json())
    assert received.plan.transfer == transfer
    assert {5, 7} <= set(received.descriptors())
    finish(original)
    original.close()


async def test_the_rules_and_the_records_of_a_tunnel_are_handed_over_with_its_run(tmp_path: Path) -> None:
    rules = ForwardRules(("db:1",), (), False, (Permission("db", 1),), None)
    forward = AllowedForward(rules, b"/home/\xff")
    original = run(tmp_path, forward=forward)
    process = ProcessSnapshot(
        handover=LeaderSnapshot(1, 0, None, MeterSnapshot(0.0, 0.0, 0, 0)),
        in_cgroup=False,
        outputs=(),
        why=None,
        message=None,
        kill_at=None,
        times_out=None,
        linger_until=None,
        order_file=7,
        records=8,
    )
    snapshot = original.snapshot(SnapshotWriter().put).model_copy(update={"process": process})
    received = RunSnapshot.model_validate_json(snapshot.model_dump_json())
    assert received.plan.forward == forward
    assert {7, 8} <= set(received.descriptors())
    finish(original)
    original.close()
