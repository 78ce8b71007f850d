"""After a crash, a restart of the machine or in a program that replaces itself, the history tells the truth."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_server.history import Expired, HistoryError, InUse, Known, Unknown
from farhand_server.history.lock import NAME
from tests.support.history import Shelf, record, uuid4, uuid7


def test_runs_of_a_dead_service_are_lost_and_named_until_nothing_is_left_of_them(shelf: Shelf) -> None:
    history = shelf.open()
    ended, running = shelf.run(history, uuid4(1)), uuid4(2)
    history.starting(record(running))
    history.started(running, 4711, 99, "boot", None)
    history.flush()
    shelf.crash(history)

    history = shelf.open()
    assert [(lost.id, lost.pid, lost.outcome) for lost in history.lost] == [(running, 4711, b'{"status":"lost"}')]
    assert history.running() == []
    shelf.crash(history)

    history = shelf.open()
    assert [lost.id for lost in history.lost] == [running]
    history.orphans_ended([running])
    shelf.close(history)
    assert shelf.open().lost == ()
    assert isinstance(shelf.open_ones[-1].state_of(ended), Known)


KILLED = """
import sys, time
from pathlib import Path
from farhand_server.config import HistorySettings
from farhand_server.history import History
from farhand_server.logs import Logger, Sink
from tests.support.history import record, uuid4
history = History.open(Path(sys.argv[1]), HistorySettings(), Logger(Sink(), {}))
history.starting(record(uuid4(1)))
history.flush()
history.starting(record(uuid4(2)))
print("started", flush=True)
time.sleep(999)
"""


def test_a_killed_service_leaves_what_it_had_flushed_and_no_lock(shelf: Shelf) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, shelf.state],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        with pytest.raises(InUse):
            shelf.open()
        process.kill()
    history = shelf.open()
    assert [lost.id for lost in history.lost] == [uuid4(1)]
    assert history.state_of(uuid4(2)) == Unknown()


def test_a_second_service_is_refused_and_changes_nothing(shelf: Shelf) -> None:
    history = shelf.open()
    history.starting(record(uuid4(1)))
    history.flush()
    for required in (True, False):
        with pytest.raises(InUse, match=r"another farhandd has the state directory .* already; stop it"):
            shelf.open(required=required)
    assert [found.id for found in history.running()] == [uuid4(1)]


def test_a_program_that_replaces_itself_keeps_lock_and_runs(shelf: Shelf) -> None:
    history = shelf.open()
    history.starting(record(uuid4(1)))
    number = history.hand_over()
    shelf.open_ones.clear()
    assert number is not None
    assert os.get_inheritable(number)
    with pytest.raises(InUse):
        shelf.open()
    history = shelf.open(resume=number)
    assert not os.get_inheritable(number)
    assert history.lost == ()
    assert [found.id for found in history.running()] == [uuid4(1)]


def test_what_is_no_lock_of_this_directory_is_not_taken_over(shelf: Shelf, tmp_path: Path) -> None:
    shelf.close(shelf.open())
    with (tmp_path / "other").open("w") as other:
        descriptor = os.dup(other.fileno())
        with pytest.raises(HistoryError, match="is not the lock"):
            shelf.open(resume=descriptor)


def test_a_lock_left_by_a_dead_service_is_no_lock(shelf: Shelf) -> None:
    shelf.crash(shelf.open())
    with (shelf.state / NAME).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_after_a_power_cut_ids_from_before_expire_since_the_last_may_be_missing(shelf: Shelf) -> None:
    history = shelf.open()
    known = shelf.run(history, shelf.new_id(1))
    before = shelf.new_id(2)
    shelf.crash(history)
    shelf.clock.reboot(off=10)
    history = shelf.open()
    assert isinstance(history.state_of(known), Known)
    assert isinstance(history.state_of(before), Expired)
    assert history.state_of(uuid7(shelf.clock.wall() + 1)) == Unknown()


def test_after_an_orderly_restart_of_the_machine_they_do_not(shelf: Shelf) -> None:
    shelf.close(shelf.open())
    before = shelf.new_id()
    shelf.clock.reboot(off=10)
    assert shelf.open().state_of(before) == Unknown()
