"""`farhand ps` shows each run on a line that fits, and nothing of it does anything to the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Exited, Killed, Lost, Signaled, SpawnFailed, TimedOut
from farhand_client.ui.runs import run_state, run_table, unique_prefix_length
from farhand_client.ui.text import display_width, format_size, format_time, printable, truncate
from farhand_protocol import messages as m
from tests.support.command import farhand
from tests.support.fake_service import FakeConnection, FakeService

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


def test_a_table_of_runs() -> None:
    over = info(2, duration=4.25, stdout=1500, stderr=100, began=NOW - 7200, command="make", outcome=Exited(code=2))
    assert lines(info(1), over) == [
        "ID             STATE     AGE    TIME   OUTPUT  COMMAND",
        "01890a5d-ac01  running   1m30s  1m30s  0       sleep 9",
        "01890a5d-ac02  exited 2  2h00m  4.25s  1.6K    make",
    ]
    assert lines() == ["ID  STATE  AGE  TIME  OUTPUT  COMMAND"]


def test_the_owner_is_shown_where_it_is_somebody_else() -> None:
    heading, first, second = lines(info(1), info(2, owner="bob"))
    assert [line.split()[1] for line in (heading, first, second)] == ["OWNER", "ann", "bob"]


def test_lines_fit_the_terminal_unless_it_is_too_narrow() -> None:
    runs = [info(1, command="x" * 300), info(2, command="漢" * 300), info(3, command="e\u0301" * 300)]
    for columns in (80, 81, 132):
        for line in lines(*runs, columns=columns)[1:]:
            assert columns - 1 <= display_width(line) <= columns
            assert line.endswith("…")
    assert all(line.endswith("…") for line in lines(*runs, columns=10)[1:])
    assert len(lines(*runs)[1]) > 300


@pytest.mark.parametrize("hostile", ["a\x1b[2Jb", "a\nb", "a\rb", "a\x9bb", "a\u202eb", "a\x07b"])
def test_nothing_in_it_does_anything_to_the_terminal(hostile: str) -> None:
    shown = lines(info(1, command=hostile, owner=hostile), columns=80)
    assert all(line.isprintable() for line in shown)
    assert printable(hostile).startswith("a\\")


def test_ids_are_told_apart() -> None:
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
def test_states(outcome: Any, words: str) -> None:
    assert run_state(outcome) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.00s"),
        (9.99, "9.99s"),
        (9.999, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (3599.6, "1h00m"),
        (90061, "1d01h"),
    ],
)
def test_times(seconds: float, words: str) -> None:
    assert format_time(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.0K"),
        (10_240, "10K"),
        (1_023_500, "1.0M"),
        (1 << 40, "1.0T"),
        (2**63 - 1, "8.0E"),
    ],
)
def test_sizes(count: int, words: str) -> None:
    assert format_size(count) == words


@pytest.mark.parametrize(("columns", "text"), [(5, "abcde"), (4, "abc…"), (1, "…")])
def test_cutting(columns: int, text: str) -> None:
    assert truncate("abcde", columns) == text


# The command


def answering(*runs: m.RunInfo) -> Any:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        assert isinstance(question, m.List)
        found = [run for run in runs if question.ended or run.outcome is None]
        if found:
            fake.say(m.Runs(runs=tuple(found)), channel)
        fake.say(m.Done(), channel)

    return answer


async def test_all_are_asked_for_with_a(tmp_path: Path) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        service.answer = answering(info(2), info(1, outcome=Exited(code=0)))
        done = await farhand("ps", service.host)
        assert (done.code, done.stderr, done.stdout.count(b"\n")) == (0, b"", 2)
        done = await farhand("ps", "-a", service.host)
        assert (done.code, done.stdout.count(b"\n")) == (0, 3)


async def test_json_has_an_object_on_each_line(tmp_path: Path) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        service.answer = answering(info(2, stdin=4, command="a\nb"), info(1, outcome=Signaled(signal=9)))
        done = await farhand("ps", "--all", "--json", service.host)
        assert (done.code, done.stderr) == (0, b"")
        going, over = map(json.loads, done.stdout.splitlines())
        assert going == {
            "run_id": info(2).id,
            "owner": "ann",
            "command": "a\nb",
            "began": NOW - 90,
            "duration": 90.0,
            "stdout": 0,
            "stderr": 0,
            "stdin": 4,
            "pid": None,
            "attachments": 0,
            "on_disconnect": "kill",
            "outcome": None,
            "terminal": None,
        }
        assert over["outcome"] == {"status": "signaled", "signal": 9}
