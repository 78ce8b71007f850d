"""The prompt: text is split into commands, and each host has its history."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from farhand_client.repl.lines import MAX_COMMAND
from farhand_client.repl.prompt import Histories, split_commands


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ls", ["ls"]),
        ("a\nb", ["a", "b"]),
        ("if a\nthen b\nfi\n:jobs\nc", ["if a\nthen b\nfi", ":jobs", "c"]),
        (":env A='x\necho b", [":env A='x", "echo b"]),
        ("echo 'a\n:jobs\nb'", ["echo 'a\n:jobs\nb'"]),
        ("cat <<E\n:jobs\nE", ["cat <<E\n:jobs\nE"]),
        ("echo 'a", ["echo 'a"]),
    ],
)
def test_a_text_of_several_lines_is_split_into_commands(text: str, expected: list[str]) -> None:
    assert split_commands(text) == expected


def test_a_text_with_a_command_that_is_too_long_is_refused_as_a_whole() -> None:
    with pytest.raises(ValueError, match="longer than 131071 bytes"):
        split_commands("echo a\n" + "x" * (MAX_COMMAND + 1))


async def test_entries_are_added_for_every_active_host_and_read_from_the_first(
    tmp_path: Path,
) -> None:
    histories = Histories(tmp_path)
    histories.select(["web"])
    histories.append_string("for web")
    histories.select(["db"])
    histories.append_string("for db")
    histories.select(["db", "web"])
    histories.append_string("for both")
    assert [entry async for entry in histories.load()] == ["for both", "for db"]
    histories.select(["web"])
    assert [entry async for entry in histories.load()] == ["for both", "for web"]
    assert histories.get_strings() == ["for web", "for both"]


def test_a_problem_with_a_history_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "histories").write_text("in the way")
    histories = Histories(tmp_path)
    histories.select(["web"])
    assert len(histories.take_problems()) == 1
    assert histories.take_problems() == []


def test_the_prompt_waits_for_nothing_that_connecting_takes() -> None:
    """The protocol's models take longer to load than all the rest."""
    heavy = {"pydantic", "farhand_client.client"}
    script = f"import sys, farhand_client.repl.attended; print(*sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
