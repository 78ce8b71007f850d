"""The table of runs fits the terminal, and nothing in it can control the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client import Exited, Killed, Lost, Signaled, SpawnFailed, TimedOut
from farhand_client.ui.runs import run_state, run_table, unique_prefix_length
from farhand_client.ui.text import display_width
from farhand_protocol import messages as m
from farhand_protocol.sentences import printable

NOW = 1_800_000_000.0


def info(number: int = 1, **fields: Any) -> m.RunInfo:
    given = {
        "id": f"01890a5d-ac{number:02x}-774b-bcce-b302099a8057",
        "owner": "ann",
        "command": "sleep 9",
        "began": NOW - 90,
        "duration": 90.0,
        "stdout": 0,
        "stderr": 0,
    }
    return m.RunInfo.model_validate(given | fields)


def lines(*runs: m.RunInfo, columns: int | None = None) -> list[str]:
    return run_table(runs, user="ann", now=NOW, columns=columns)


def test_the_table_has_a_row_for_each_run() -> None:
    finished = info(2, duration=4.25, stdout=1500, stderr=100, began=NOW - 7200, command="make", outcome=Exited(code=2))
    assert lines(info(1), finished) == [
        "ID             STATE     AGE    TIME   OUTPUT  COMMAND",
        "01890a5d-ac01  running   1m30s  1m30s  0       sleep 9",
        "01890a5d-ac02  exited 2  2h00m  4.25s  1.6K    make",
    ]
    assert lines() == ["ID  STATE  AGE  TIME  OUTPUT  COMMAND"]


def test_the_owner_is_shown_if_it_is_another_account() -> None:
    heading, first, second = lines(info(1), info(2, owner="bob"))
    assert [line.split()[1] for line in (heading, first, second)] == ["OWNER", "ann", "bob"]


def client(user: str = "ann", address: str | None = None, **fields: Any) -> m.ClientInfo:
    return m.ClientInfo(user=user, address=address, **fields)


def test_a_login_shell_shows_its_terminal_and_who_is_attached() -> None:
    shell = info(1, command="-bash", login=True, tty="pts/3", attachments=1, clients=(client(),))
    assert lines(shell, info(2)) == [
        "ID             STATE    AGE    TIME   OUTPUT  TTY    CLIENTS  COMMAND",
        "01890a5d-ac01  running  1m30s  1m30s  0       pts/3  ann      -bash (login shell)",
        "01890a5d-ac02  running  1m30s  1m30s  0       -      -        sleep 9",
    ]


@pytest.mark.parametrize(
    ("clients", "attachments", "shown"),
    [
        ([client()], 1, "ann"),
        ([client(), client()], 2, "ann*2"),
        ([client(), client("bob", "192.0.2.7:50214")], 2, "ann, bob@192.0.2.7"),
        ([client("bob", "192.0.2.7:1"), client("bob", "192.0.2.7:2")], 2, "bob@192.0.2.7*2"),
        ([client("bob", "[2001:db8::7]:50214")], 1, "bob@2001:db8::7"),
        ([client("bob", "somewhere")], 1, "bob@somewhere"),
        ([client("")], 12, "?, +11"),
        ([client("a\x1b[2J")], 1, "a\\x1b[2J"),
    ],
)
def test_clients_are_shown_with_their_account_and_the_machine_that_they_come_from(
    clients: list[m.ClientInfo], attachments: int, shown: str
) -> None:
    heading, row = lines(info(1, clients=tuple(clients), attachments=attachments))
    at = heading.index("CLIENTS")
    assert row[at:].removesuffix("sleep 9").rstrip() == shown


def test_a_service_that_does_not_say_who_is_attached_says_how_many() -> None:
    first, second = lines(info(1, attachments=2), info(2, clients=(client(),), attachments=1))[1:]
    assert first.split()[-3:] == ["2", "sleep", "9"]
    assert second.split()[-3:] == ["ann", "sleep", "9"]


def test_lines_are_cut_to_the_terminal_unless_it_is_too_narrow() -> None:
    runs = [info(1, command="x" * 300), info(2, command="漢" * 300), info(3, command="e\u0301" * 300)]
    for columns in (80, 81, 132):
        for line in lines(*runs, columns=columns)[1:]:
            assert columns - 1 <= display_width(line) <= columns
            assert line.endswith("…")
    assert all(line.endswith("…") for line in lines(*runs, columns=10)[1:])
    assert len(lines(*runs)[1]) > 300


@pytest.mark.parametrize("hostile", ["a\x1b[2Jb", "a\nb", "a\rb", "a\x9bb", "a\u202eb", "a\x07b"])
def test_control_characters_in_the_table_are_escaped(hostile: str) -> None:
    shown = lines(info(1, command=hostile, owner=hostile), columns=80)
    assert all(line.isprintable() for line in shown)
    assert printable(hostile).startswith("a\\")


def test_ids_are_shown_long_enough_to_differ() -> None:
    ids = ["01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058", "ff" + "0" * 34]
    assert unique_prefix_length(ids) == 36
    assert unique_prefix_length([ids[0], ids[2]]) == unique_prefix_length(ids[:1]) == unique_prefix_length([]) == 13


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (None, "running"),
        (Exited(code=0), "exited 0"),
        (Signaled(signal=9), "SIGKILL"),
        (TimedOut(timeout=1, code=0), "timed out"),
        (Killed(reason="requested", signal=15), "stopped"),
        (Killed(reason="memory", signal=9), "killed: memory"),
        (SpawnFailed(errno=2, error="ENOENT", what="program", message="no"), "never ran"),
        (Lost(), "lost"),
    ],
)
def test_each_outcome_has_a_state(outcome: Any, words: str) -> None:
    assert run_state(outcome) == words
