"""The prompt: text is split into commands, and each host has its history."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from farhand_client.repl.hosts import Hosts
from farhand_client.repl.lines import MAX_COMMAND
from farhand_client.repl.prompt import Histories, Prompt, split_commands


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


def test_the_prompt_does_not_wait_for_the_connection() -> None:
    """The protocol's models take longer to load than all the rest."""
    heavy = {"pydantic", "farhand_client.client"}
    script = f"import sys, farhand_client.repl.attended; print(*sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


class TestReading:
    @pytest.fixture
    def keys(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeInput]:
        """What is typed at the prompt."""
        monkeypatch.setenv("TERM", "xterm-256color")
        with create_pipe_input() as made, create_app_session(input=made, output=DummyOutput()):
            yield made

    @pytest.fixture
    def accepted(self) -> list[str]:
        """An entry for each text that was accepted."""
        return []

    @pytest.fixture
    def prompt(self, keys: PipeInput, accepted: list[str], tmp_path: Path) -> Prompt:
        return Prompt("web", tmp_path, lambda: accepted.append("accepted"))

    @pytest.mark.parametrize(
        ("typed", "text"),
        [
            ("ls\r", "ls"),
            ("if a\rthen b\rfi\r", "if a\nthen b\nfi"),
            (":env A='x\r", ":env A='x"),
            ("echo 'a\x1b\r", "echo 'a"),
            ("\x1b[200~a\nb\x1b[201~\r", "a\nb"),
        ],
    )
    async def test_enter_accepts_complete_commands_and_meta_enter_everything(
        self, prompt: Prompt, keys: PipeInput, accepted: list[str], typed: str, text: str
    ) -> None:
        keys.send_text(typed)
        assert await asyncio.wait_for(prompt.read(), 10) == text
        assert len(accepted) == (0 if "\x1b\r" in typed else 1)

    async def test_a_text_that_is_too_long_is_accepted_for_its_error_to_be_reported(
        self, prompt: Prompt, keys: PipeInput, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("farhand_client.repl.lines.MAX_COMMAND", 5)
        keys.send_text("echo 'abc\r")
        assert await asyncio.wait_for(prompt.read(), 10) == "echo 'abc"

    @pytest.mark.parametrize(("key", "error"), [("\x03", KeyboardInterrupt), ("\x04", EOFError)])
    async def test_ctrl_c_and_ctrl_d_are_raised(
        self, prompt: Prompt, keys: PipeInput, key: str, error: type[BaseException]
    ) -> None:
        keys.send_text(key)
        with pytest.raises(error):
            await prompt.read()  # not in a task, which KeyboardInterrupt would pass by

    async def test_ctrl_d_that_was_typed_before_the_prompt_appeared_is_raised(
        self, prompt: Prompt, keys: PipeInput, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("farhand_client.repl.prompt.TYPED_BEFORE", 30.0)
        keys.send_text("\0")
        with pytest.raises(EOFError):
            await asyncio.wait_for(prompt.read(), 10)

    @pytest.mark.parametrize(("typed", "since"), [("ls\0\r", 30.0), ("\0ls\r", 0.0)])
    async def test_ctrl_space_is_no_ctrl_d(
        self, prompt: Prompt, keys: PipeInput, monkeypatch: pytest.MonkeyPatch, typed: str, since: float
    ) -> None:
        monkeypatch.setattr("farhand_client.repl.prompt.TYPED_BEFORE", since)
        keys.send_text(typed)
        assert await asyncio.wait_for(prompt.read(), 10) == "ls"

    async def test_the_prompt_can_be_hidden_for_a_question_and_be_aborted(self, prompt: Prompt) -> None:
        shown = asyncio.Event()
        reading = asyncio.ensure_future(prompt.read(shown.set))
        await asyncio.wait_for(shown.wait(), 10)

        async def question() -> str:
            return "yes"

        assert await asyncio.wait_for(prompt.ask_user(question), 10) == "yes"
        prompt.abort()
        with pytest.raises(EOFError):
            await asyncio.wait_for(reading, 10)

    async def test_a_prompt_that_is_not_shown_is_not_aborted(self, prompt: Prompt) -> None:
        prompt.abort()

    async def test_a_dumb_terminal_counts_as_showing_the_prompt_at_once(
        self, prompt: Prompt, keys: PipeInput, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("farhand_client.repl.prompt.is_dumb_terminal", lambda: True)
        shown: list[bool] = []
        keys.send_text("ls\r")
        assert await asyncio.wait_for(prompt.read(lambda: shown.append(True)), 10) == "ls"
        assert shown == [True]

    async def test_entries_belong_to_the_hosts_that_are_shown(
        self, prompt: Prompt, keys: PipeInput, tmp_path: Path
    ) -> None:
        hosts = Hosts(lambda name: lambda watch: pytest.fail("nothing connects"), "db")
        prompt.show_hosts(hosts)
        keys.send_text("echo db\r")
        await asyncio.wait_for(prompt.read(), 10)
        assert (tmp_path / "histories/db").read_text() == "echo db\n"
        assert prompt.take_problems() == []
