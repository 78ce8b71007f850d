"""Files are sent and fetched from the prompt, where their names are completed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tmux import Screen, at

pytestmark = pytest.mark.needs("tmux")


async def test_files_go_to_the_directory_of_the_prompt_and_come_from_it(repl: Screen, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "a report").write_text("all is well")
    await repl.answers(f"cd {there}", "", at(there))
    repl.type(f":put {here}/a", "Tab")
    await repl.shows(f":put {here}/a\\ report")
    repl.type("", "Enter")
    await repl.matches(r"^farhand: 1 file, 11 bytes, 0 failed in ")
    await repl.shows(at(there))
    assert (there / "a report").read_text() == "all is well"
    repl.type(":get a", "Tab")
    await repl.shows(":get a\\ report")
    repl.type(f"{here}/back", "Enter")
    await repl.matches(r"^farhand: 1 file(?s:.*)^farhand: 1 file, 11 bytes, 0 failed in ")
    await repl.shows(at(there))
    assert (here / "back").read_text() == "all is well"
    repl.type(":get missing", "Enter")
    await repl.matches(f"^farhand: web:{there}/missing: no such file or directory$")
    await repl.shows(at(there, " [1]"))
