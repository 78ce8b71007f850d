"""Transfers that did not end by themselves are found, until their destination was swept a day later."""

from __future__ import annotations

import json
import sqlite3

import pytest

from farhand_server.history import History, UnfinishedTransfer, unfinished_transfers
from tests.support.history import EXITED, HistoryDirectory, record

KILLED = b'{"status":"killed","reason":"disconnected"}'
AGE = 86400.0


def transfer(access: str, path: str) -> bytes:
    return json.dumps({"command": "x", "transfer": {"access": access, "paths": [path]}}).encode()


def end(directory: HistoryDirectory, history: History, request: bytes, outcome: bytes, owner: str = "ada") -> None:
    """Record a run that has ended like this, a second after the one before."""
    directory.clock.advance(1.0)
    id = directory.new_id()
    history.starting(record(id, request=request, owner=owner, at=directory.clock.wall()))
    history.ended(id, outcome, stdout=0, stderr=0, duration=0.0)
    history.flush()


def found(directory: HistoryDirectory, history: History, limit: int = 10) -> list[bytes]:
    before = directory.clock.wall() + 1
    return [each.path for each in unfinished_transfers(history, before=before, age=AGE, limit=limit)]


@pytest.mark.parametrize("status", ["killed", "lost", "signaled", "timed_out"])
def test_a_transfer_that_did_not_end_by_itself_is_found(directory: HistoryDirectory, status: str) -> None:
    history = directory.open()
    end(directory, history, transfer("write", "/srv/a"), json.dumps({"status": status}).encode())
    [one] = unfinished_transfers(history, before=directory.clock.wall() + 1, age=AGE, limit=10)
    assert one == UnfinishedTransfer("ada", 1000, "key", "SHA256:abc", b"/srv/a")


def test_the_transfers_of_a_service_that_was_killed_are_found(directory: HistoryDirectory) -> None:
    history = directory.open()
    history.starting(record(directory.new_id(), request=transfer("write", "/a"), at=directory.clock.wall()))
    history.flush()
    assert found(directory, history) == []
    directory.crash(history)
    assert found(directory, directory.open()) == [b"/a"]


def test_what_has_ended_by_itself_or_was_no_transfer_is_not_found(directory: HistoryDirectory) -> None:
    history = directory.open()
    for request, outcome in (
        (transfer("write", "/a"), EXITED),
        (transfer("write", "/b"), b'{"status":"exited","code":1}'),
        (transfer("write", "/c"), b'{"status":"spawn_failed"}'),
        (transfer("read", "/d"), KILLED),
        (json.dumps({"argv": ["echo", "transfer"]}).encode(), KILLED),
        (b'{"argv":["\\"transfer\\""],"x":"transfer"}', KILLED),
        (b'{"transfer":"write"}', KILLED),
        (b'{"transfer":{"access":"write"}}', KILLED),
        (b'{"transfer":{"access":"write","paths":[1]}}', KILLED),
        (b'["transfer"]', KILLED),
        (b'"transfer" {', KILLED),
        (transfer("write", "/e"), b"nonsense"),
    ):
        end(directory, history, request, outcome)
    assert found(directory, history) == []


def test_each_destination_is_found_once_the_last_one_first_and_no_more_than_wanted(directory: HistoryDirectory) -> None:
    history = directory.open()
    for path in ("/a", "/b", "/a", "/c"):
        end(directory, history, transfer("write", path), KILLED)
    end(directory, history, transfer("write", "/a"), KILLED, owner="bob")
    assert found(directory, history) == [b"/a", b"/c", b"/a", b"/b"]
    assert found(directory, history, limit=2) == [b"/a", b"/c"]


def test_what_was_requested_later_is_not_old_enough(directory: HistoryDirectory) -> None:
    history = directory.open()
    end(directory, history, transfer("write", "/a"), KILLED)
    assert unfinished_transfers(history, before=directory.clock.wall(), age=AGE, limit=10) == []


@pytest.mark.parametrize(
    ("seconds", "outcome", "path", "again"),
    [
        (AGE + 1, EXITED, "/a", False),
        (AGE + 1, b'{"status":"exited","code":1}', "/a", False),
        (AGE - 10, EXITED, "/a", True),
        (AGE + 1, KILLED, "/a", True),
        (AGE + 1, EXITED, "/b", True),
    ],
)
def test_a_destination_is_done_once_it_was_swept_when_all_was_old(
    directory: HistoryDirectory, seconds: float, outcome: bytes, path: str, again: bool
) -> None:
    history = directory.open()
    end(directory, history, transfer("write", "/a"), KILLED)
    directory.clock.advance(seconds)
    end(directory, history, transfer("sweep", path), outcome)
    assert found(directory, history) == ([b"/a"] if again else [])
    end(directory, history, transfer("write", "/a"), KILLED)
    assert found(directory, history) == [b"/a"]


def test_a_removed_file_is_not_made_again(directory: HistoryDirectory) -> None:
    history = directory.open()
    directory.file.unlink()
    with pytest.raises(sqlite3.OperationalError):
        found(directory, history)
    assert not directory.file.exists()


def test_a_history_in_memory_has_none(directory: HistoryDirectory) -> None:
    directory.state.write_text("no directory")
    history = directory.open(required=False)
    end(directory, history, transfer("write", "/a"), KILLED)
    assert found(directory, history) == []
