"""A script on stdin: its lines, and what ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.repl.commands import ExitRepl
from farhand_client.repl.host_connection import AskUser, Connect
from farhand_client.repl.interpreter import Interpreter
from farhand_client.repl.lines import MAX_COMMAND
from farhand_client.repl.script import run_lines, run_script, split_lines
from farhand_client.repl.shell_state import ShellState
from farhand_client.ui.interrupts import SignalHandler
from tests.support.fake_service import FakeService
from tests.support.local_programs import connecting_to


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@given(st.lists(st.binary(max_size=5).map(lambda data: data.replace(b"\r", b"")), max_size=10))
async def test_lines_do_not_depend_on_how_the_bytes_are_split_into_chunks(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = whole.removesuffix(b"\n").split(b"\n") if whole else []
    assert [line async for line in split_lines(stream(*chunks))] == expected


async def test_a_carriage_return_at_the_end_of_a_line_is_removed() -> None:
    assert [line async for line in split_lines(stream(b"a\r", b"\nb\rc\r\nd\r"))] == [b"a", b"b\rc", b"d"]


async def test_a_line_is_yielded_before_the_next_one_arrives() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"first\n"
        pytest.fail("the next chunk was read")

    async for line in split_lines(slow()):
        assert line == b"first"
        break


async def test_a_line_that_is_too_long_is_refused_before_it_ends() -> None:
    with pytest.raises(ValueError, match="131071 bytes"):
        [line async for line in split_lines(stream(*[b"x" * 1000] * (MAX_COMMAND // 1000 + 1), b"\n"))]


class FakeInterpreter:
    """Records commands.

    `trap` sets one for the exit, `false` fails, `lost` loses the connection, and Ctrl-C comes during `interrupted`.
    """

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.state = ShellState()
        self.interrupted = False

    async def execute(self, text: str) -> bool:
        self.commands.append(text)
        self.state.set_outcome(1 if text == "false" else 255 if text == "lost" else 0)
        self.interrupted = text == "interrupted"
        self.state.exit_trap = text == "trap"
        return text != "lost"


async def executed(*chunks: bytes) -> tuple[list[str], int | None]:
    """Return the commands of a script that were executed, and the code with which it ended the REPL."""
    fake = FakeInterpreter()
    try:
        await run_lines(cast(Interpreter, fake), stream(*chunks))
    except ExitRepl as leaving:
        return fake.commands, leaving.code
    return fake.commands, None


async def test_commands_are_executed_in_order_and_a_failure_does_not_end_the_script() -> None:
    assert await executed(b"if a\nthen b\n", b"fi\nfalse\nc") == (["if a\nthen b\nfi", "false", "c"], None)


async def test_the_end_of_a_script_runs_the_trap_for_the_exit() -> None:
    assert await executed(b"a\ntrap") == (["a", "trap", "exit"], None)


@pytest.mark.parametrize(("text", "code"), [(b"lost", 255), (b"interrupted", 130)])
async def test_a_lost_connection_and_ctrl_c_end_the_script(text: bytes, code: int) -> None:
    assert await executed(text + b"\nnever\n") == ([text.decode()], code)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (b"a\necho 'b\nc", "line 2: the script ends inside a ' quote"),
        (b"a\n" + b"x" * (MAX_COMMAND + 1), "line 1: longer than 131071 bytes"),
        (b"a\n<<E\n" + b"x\n" * (MAX_COMMAND // 2), "line 2: the command is longer than 131071 bytes"),
    ],
)
async def test_a_script_that_cannot_be_parsed_ends_with_2(
    script: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await executed(script))[1] == 2
    assert capsys.readouterr().err.startswith(f"farhand: {message}")


async def test_a_script_runs_on_one_host_and_the_last_exit_code_is_returned(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("farhand_client.repl.script.read_chunks", lambda fd: stream(b"cd /; pwd\nexec sh -c 'exit 3'"))
    questions: list[AskUser] = []

    def opener(name: str, ask_user: AskUser, /) -> Connect:
        questions.append(ask_user)
        return connecting_to(service)

    async def answer() -> str:
        return "yes"

    with SignalHandler() as signals:
        assert await run_script("web", opener, signals) == 3
    printed = capfd.readouterr()
    assert printed.out == "/\n"
    assert "only directory and exported variables are kept" in printed.err
    assert printed.err.endswith("its service is older than this program\n")
    assert await questions[0](answer) == "yes"
