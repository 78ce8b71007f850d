"""The history is correct after a crash, a restart of the machine, and an upgrade of the program."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from farhand_server.config import HistorySettings
from farhand_server.history import ForgottenRun, History, HistoryError, KnownRun, StateDirectoryInUse, UnknownRun
from farhand_server.history.database import LOCK_FILE
from farhand_server.history.store import CHECKPOINT_EVERY
from farhand_server.logs import Logger, LogSink
from tests.support.history import HistoryDirectory, record, running, uuid4, uuid7


def test_runs_of_a_dead_service_are_lost_and_listed_until_their_processes_have_ended(
    directory: HistoryDirectory,
) -> None:
    history = directory.open()
    ended, unfinished = directory.run(history, uuid4(1)), uuid4(2)
    history.starting(record(unfinished))
    history.started(unfinished, 4711, 99, "boot", None)
    history.flush()
    directory.crash(history)

    history = directory.open()
    assert [(lost.id, lost.pid, lost.outcome) for lost in history.lost] == [(unfinished, 4711, b'{"status":"lost"}')]
    assert running(history) == []
    directory.crash(history)

    history = directory.open()
    assert [lost.id for lost in history.lost] == [unfinished]
    history.orphans_ended([unfinished])
    directory.close(history)
    assert directory.open().lost == ()
    assert isinstance(directory.opened[-1].look_up(ended, "ada"), KnownRun)


def start_and_wait(state: Path, ready: Connection) -> None:
    """Record two starts, flush only the first, and wait to be killed."""
    history = History.open(state, HistorySettings(), Logger(LogSink(), {}))
    history.starting(record(uuid4(1)))
    history.flush()
    history.starting(record(uuid4(2)))
    ready.send(True)
    signal.pause()


def test_a_killed_service_leaves_its_flushed_records_and_no_lock(directory: HistoryDirectory) -> None:
    ready, child_end = multiprocessing.Pipe()
    service = multiprocessing.get_context("fork").Process(target=start_and_wait, args=(directory.state, child_end))
    service.start()
    try:
        assert ready.recv()
        with pytest.raises(StateDirectoryInUse):
            directory.open()
    finally:
        service.kill()
        service.join()
    history = directory.open()
    assert [lost.id for lost in history.lost] == [uuid4(1)]
    assert history.look_up(uuid4(2), "ada") == UnknownRun()


def test_a_second_service_is_refused_and_changes_nothing(directory: HistoryDirectory) -> None:
    history = directory.open()
    history.starting(record(uuid4(1)))
    history.flush()
    for required in (True, False):
        with pytest.raises(StateDirectoryInUse, match=r"another farhandd already uses the state directory .*; stop it"):
            directory.open(required=required)
    assert [found.id for found in running(history)] == [uuid4(1)]


def test_a_program_that_replaces_another_keeps_its_lock_and_runs(directory: HistoryDirectory) -> None:
    history = directory.open()
    history.starting(record(uuid4(1)))
    number = history.hand_over()
    directory.forget(history)
    assert number is not None
    assert os.get_inheritable(number)
    with pytest.raises(StateDirectoryInUse):
        directory.open()
    history = directory.open(resume=number)
    assert not os.get_inheritable(number)
    assert history.lost == ()
    assert [found.id for found in running(history)] == [uuid4(1)]


def test_with_a_descriptor_that_is_not_the_lock_nothing_is_written(directory: HistoryDirectory, tmp_path: Path) -> None:
    directory.close(directory.open())
    with (tmp_path / "other").open("w") as other:
        descriptor = os.dup(other.fileno())
        history = directory.open(resume=descriptor)  # an error would end the runs that the upgrade has kept
        assert history.fault is not None
        assert "is not the lock" in history.fault
        history.starting(record(uuid4(1)))
        with pytest.raises(HistoryError, match="is not the lock"):
            history.flush()
    os.close(descriptor)


def test_a_dead_service_leaves_the_directory_unlocked(directory: HistoryDirectory) -> None:
    directory.crash(directory.open())
    with (directory.state / LOCK_FILE).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_after_a_power_failure_earlier_unknown_ids_expire_since_the_last_records_may_be_missing(
    directory: HistoryDirectory,
) -> None:
    history = directory.open()
    known = directory.run(history, directory.new_id(1))
    before = directory.new_id(2)
    directory.crash(history)
    directory.clock.reboot(off=10)
    history = directory.open()
    assert isinstance(history.look_up(known, "ada"), KnownRun)
    assert isinstance(history.look_up(before, "ada"), ForgottenRun)
    assert history.look_up(uuid7(directory.clock.wall() + 1), "ada") == UnknownRun()


def test_after_an_orderly_restart_of_the_machine_earlier_ids_stay_unknown(directory: HistoryDirectory) -> None:
    directory.close(directory.open())
    before = directory.new_id()
    directory.clock.reboot(off=10)
    assert directory.open().look_up(before, "ada") == UnknownRun()


def test_a_new_history_knows_nothing_of_earlier_ids(directory: HistoryDirectory) -> None:
    before = directory.new_id()
    directory.clock.advance(1)
    assert directory.open().look_up(before, "ada") == UnknownRun()


def test_ids_created_before_the_state_directory_was_removed_are_expired(directory: HistoryDirectory) -> None:
    history = directory.open()
    before, other = directory.new_id(), uuid4(1)
    shutil.rmtree(directory.state)
    history.note_in_place(False)
    assert not directory.state.exists()
    directory.close(history)
    directory.clock.advance(1)
    history = directory.open()
    assert isinstance(history.look_up(before, "ada"), ForgottenRun)
    assert history.look_up(other, "ada") == UnknownRun()
    directory.clock.advance(1)
    assert history.look_up(directory.new_id(), "ada") == UnknownRun()


def test_all_files_that_a_history_depends_on_are_known(directory: HistoryDirectory) -> None:
    history = directory.open()
    assert {file.name for file in history.opened} == {"history.db", "history.db-wal", "history.lock"}
    for file, identity in history.opened.items():
        assert identity == (file.stat().st_dev, file.stat().st_ino)
    directory.close(history)
    in_memory = directory.state / "history.lock"
    in_memory.unlink()
    in_memory.mkdir()
    assert directory.open(required=False).opened == {}


@pytest.mark.parametrize("orderly", [True, False])
def test_ids_that_a_replaced_history_may_lack_are_expired(directory: HistoryDirectory, orderly: bool) -> None:
    directory.close(directory.open())
    older = directory.file.read_bytes()
    history = directory.open()
    used = directory.run(history, directory.new_id())
    history.note_in_place(False)
    (directory.close if orderly else directory.crash)(history)
    for file in directory.state.glob("history.db*"):
        file.unlink()
    directory.file.write_bytes(older)
    directory.clock.advance(1)
    history = directory.open()
    assert isinstance(history.look_up(used, "ada"), ForgottenRun)
    assert "history was replaced while it was in use; ids created before now count as expired" in str(directory.log)
    directory.close(history)
    directory.clock.advance(1)
    before = directory.new_id()
    assert directory.open().look_up(before, "ada") == UnknownRun(), "only the first start must not trust the file"


def test_a_history_that_is_in_place_again_is_trusted(directory: HistoryDirectory) -> None:
    history = directory.open()
    id = directory.new_id()
    for in_place in (False, False, True, True):
        history.note_in_place(in_place)
    directory.close(history)
    assert directory.open().look_up(id, "ada") == UnknownRun()


def test_no_second_connection_is_opened_to_a_history_that_was_removed(directory: HistoryDirectory) -> None:
    history = directory.open()
    for number in range(CHECKPOINT_EVERY):
        history.starting(record(uuid4(number)))
    history.flush()
    due = history.checkpoint_due
    shutil.rmtree(directory.state)
    history.note_in_place(False)
    assert (due, history.checkpoint_due) == (True, False)
    assert not directory.state.exists()
