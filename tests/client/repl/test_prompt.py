"""What is typed at the prompt becomes commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from farhand_client.repl.lines import MAX_COMMAND
from farhand_client.repl.prompt import Histories, commands


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
def test_a_text_of_several_lines_is_cut_where_commands_end(text: str, expected: list[str]) -> None:
    assert commands(text) == expected


def test_nothing_is_run_of_a_text_with_a_command_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="longer than 131071 bytes"):
        commands("echo a\n" + "x" * (MAX_COMMAND + 1))


async def test_what_is_typed_for_several_hosts_is_kept_for_each_and_what_is_found_is_the_first_ones(
    tmp_path: Path,
) -> None:
    histories = Histories(tmp_path)
    histories.of(["web"])
    histories.append_string("for web")
    histories.of(["db"])
    histories.append_string("for db")
    histories.of(["db", "web"])
    histories.append_string("for both")
    assert [entry async for entry in histories.load()] == ["for both", "for db"]
    histories.of(["web"])
    assert [entry async for entry in histories.load()] == ["for both", "for web"]
    assert histories.get_strings() == ["for web", "for both"]


def test_what_is_wrong_with_one_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "histories").write_text("in the way")
    histories = Histories(tmp_path)
    histories.of(["web"])
    assert len(histories.problems()) == 1
    assert histories.problems() == []


def test_the_prompt_waits_for_nothing_that_connecting_takes() -> None:
    """The protocol's models take longer to load than all the rest."""
    heavy = {"pydantic", "farhand_client.client"}
    script = f"import sys, farhand_client.repl.attended; print(*sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
