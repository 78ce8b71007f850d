"""Typed bytes arrive once and in order from each client that types; signal keys are not stuck behind a paste."""

from __future__ import annotations

import asyncio
import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.runs.attachments.attachments import MAX_ATTACHMENTS, Attachment
from farhand_server.runs.attachments.terminal import MAX_TYPING
from farhand_server.runs.output.filespool import FileSpool
from farhand_server.runs.streams.pipe_input import MAX_STDIN_AHEAD

from ..ptys import RAW, TIMEOUT, OnTerminal, on_terminal, opened
from ..typing_clients import KEY, LINES, OTHER, Counting, Typing, readable, turns


@pytest.fixture
async def typing(tmp_path: Path) -> Typing:
    return Typing(FileSpool(tmp_path / "spool", 1 << 20))


# Offsets


@given(data=st.binary(min_size=1, max_size=200), cuts=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200))))
def test_input_that_is_sent_again_after_an_outage_is_typed_once(
    new_directory: Callable[[], Path], data: bytes, cuts: list[tuple[int, int]]
) -> None:
    async def scenario() -> None:
        spool = FileSpool(new_directory() / "spool", 1 << 20)
        typing = Typing(spool)
        terminal = opened(*RAW)
        typing.input.connect(terminal)
        seen = b""
        for returned, further in cuts:
            at = max(0, typing.input.received - returned)
            client = typing.attach(at)
            typing.input.write(client, data[at : at + further])
            seen += readable(terminal)
            typing.all.lost(client)
        at = typing.input.received // 2
        client = typing.attach(at)
        typing.input.write(client, data[at:])
        seen += readable(terminal)
        assert seen == typing.recorded == data
        assert typing.input.credit(client) == len(data) - at
        terminal.close()
        spool.close()

    asyncio.run(scenario())


async def test_each_client_has_offsets_of_its_own(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    one, two = typing.attach(), typing.attach(key=OTHER, share=True)
    typing.input.write(one, b"one ")
    typing.input.write(two, b"two ")
    typing.input.write(one, b"three")
    assert readable(terminal) == b"one two three"
    assert (typing.input.credit(one), typing.input.credit(two)) == (9, 4)
    typing.all.left(two)
    again = typing.attach(2, OTHER, share=True)
    typing.input.write(again, b"o and more")
    assert readable(terminal) == b"and more"
    terminal.close()


async def test_offsets_of_detached_clients_are_remembered_up_to_a_limit(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    for number in range(MAX_ATTACHMENTS + 1):
        client = typing.attach(key=number.to_bytes(16, "big"))
        typing.input.write(client, b"x")
        typing.all.left(client)
    assert readable(terminal) == b"x" * (MAX_ATTACHMENTS + 1)
    assert typing.input.refusal((1).to_bytes(16, "big"), 1) is None
    refusal = typing.input.refusal((0).to_bytes(16, "big"), 1)
    assert refusal == "has received 0 bytes from this attachment; it cannot continue at 1"
    terminal.close()


async def test_a_client_may_not_start_typing_behind_too_much_unread_input(typing: Typing) -> None:
    client = typing.attach()
    typing.type(client, bytes(MAX_STDIN_AHEAD + 1))
    refusal = typing.input.refusal(OTHER, 0)
    assert refusal is not None
    assert f"has {MAX_STDIN_AHEAD + 1} bytes that its program has not read" in refusal
    assert typing.input.refusal(KEY, MAX_STDIN_AHEAD) is None
    assert typing.input.refusal(KEY, MAX_STDIN_AHEAD + 1) == (
        f"has {MAX_STDIN_AHEAD + 1} bytes that its program has not read; "
        f"it cannot continue at {MAX_STDIN_AHEAD + 1} now"
    )


async def test_many_returning_clients_fill_no_memory(typing: Typing) -> None:
    clients = [typing.attach(key=number.to_bytes(16, "big"), share=True) for number in range(MAX_TYPING)]
    for client in clients:
        typing.input.write(client, bytes(MAX_STDIN_AHEAD))
    assert typing.input.refusal(clients[0].key, 0) is None
    typing.input.write(clients[0], b"x")
    assert typing.input.refusal(clients[1].key, 0) is not None


async def test_the_offsets_of_attached_clients_are_never_forgotten(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    attached = typing.attach()
    typing.input.write(attached, b"before")
    for number in range(MAX_ATTACHMENTS + 1):
        client = typing.attach(key=number.to_bytes(16, "big"), share=True)
        typing.input.write(client, b"x")
        typing.all.left(client)
    typing.input.write(attached, b"after")
    assert typing.input.credit(attached) == len(b"beforeafter")
    assert typing.input.refusal(KEY, len(b"beforeafter")) is None
    terminal.close()


async def test_single_keys_are_joined_while_they_wait(typing: Typing) -> None:
    client, other = typing.attach(), typing.attach(key=OTHER, share=True)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(20_000):
        typing.input.write(client, b"k")
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 10 * 20_000
    typing.input.write(other, b"o")
    typing.input.write(client, b"c")
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    seen = readable(terminal)
    while len(seen) < 20_002:
        await turns()
        seen += readable(terminal)
    assert seen == b"k" * 20_000 + b"oc"
    terminal.close()


async def test_input_from_a_client_that_does_not_type_is_dropped_and_credited(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    typing.attach()
    stranger = typing.attach(key=OTHER)
    typing.input.write(stranger, b"not for you")
    typing.input.end(stranger)
    assert readable(terminal) == b""
    assert typing.input.credit(stranger) == len(b"not for you")
    terminal.close()


async def test_a_replaced_connection_types_nothing_any_more(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    old = typing.attach()
    typing.input.write(old, b"one")
    new = typing.attach(3)
    typing.input.write(old, b"late")
    typing.input.write(new, b"two")
    assert readable(terminal) == b"onetwo"
    assert typing.input.credit(old) == 7
    terminal.close()


# How much the program has read


async def test_input_typed_before_the_start_comes_first(typing: Typing) -> None:
    client = typing.attach()
    typing.input.write(client, b"early ")
    assert typing.input.credit(client) == 0
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    typing.input.write(client, b"late")
    assert readable(terminal) == b"early late"
    assert typing.input.credit(client) == 10
    terminal.close()


async def test_a_paste_arrives_whole_and_is_acknowledged_only_as_it_is_read(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    client = typing.attach()
    typing.type(client, LINES)
    await turns()
    assert 0 < typing.input.credit(client) < 1 << 18  # what the kernel's buffer holds
    seen = b""
    async with asyncio.timeout(TIMEOUT):
        while len(seen) < len(LINES):
            seen += readable(terminal)
            await asyncio.sleep(0)
    assert seen == LINES
    assert typing.input.credit(client) == len(LINES)
    typing.input.close()
    terminal.close()


async def test_a_returning_client_is_notified_when_its_earlier_input_is_read(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    client = typing.attach()
    typing.type(client, LINES)
    at = typing.input.credit(client)
    typing.all.lost(client)
    returned = typing.attach(at)
    typing.type(returned, LINES[at:])
    assert typing.input.credit(returned) == 0
    assert len(readable(terminal)) > 0
    async with asyncio.timeout(TIMEOUT):
        while not typing.input.credit(returned):  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
    assert isinstance(returned.watcher, Counting)
    assert returned.watcher.notifications > 0
    typing.input.close()
    terminal.close()


async def test_input_that_an_ended_program_has_not_read_counts_as_taken(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    client = typing.attach()
    typing.type(client, LINES)
    typing.input.close()
    typing.input.write(client, b"more")
    typing.input.end(client)
    assert typing.input.credit(client) == len(LINES) + 4
    terminal.close()


# The end of input


@pytest.mark.parametrize(
    ("typed", "ends"),
    [(b"", 1), (b"a line\n", 1), (b"a line\r", 1), (b"no line", 2), (b"a line\nand more", 2)],
)
async def test_the_end_of_input_is_an_end_of_file_for_the_program(typing: Typing, typed: bytes, ends: int) -> None:
    with on_terminal("sh", "-c", "stty -echo; echo ready; cat -A; echo; echo over; cat -A") as program:
        await program.says(b"ready")
        typing.input.connect(program.terminal)
        client = typing.attach()
        typing.input.write(client, typed)
        typing.input.end(client)
        typing.input.end(client)  # it may be sent again after a reconnect
        shown = typed.replace(b"\r", b"\n").replace(b"\n", rb"\$\r\n")
        await program.says(shown + b"\r\nover\r\n")
        typing.input.write(client, b"next\n")
        await program.says(b"next")
        typing.input.close()


async def test_a_line_editor_gets_the_end_of_input_as_a_single_key(typing: Typing) -> None:
    terminal = opened(("ICANON", 0), ("ECHO", 0))
    typing.input.connect(terminal)
    client = typing.attach()
    typing.input.write(client, b"exit")
    typing.input.end(client)
    assert readable(terminal) == b"exit\x04"
    terminal.close()


async def test_the_end_of_input_is_nothing_in_raw_mode(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    client = typing.attach()
    typing.input.write(client, b"x")
    typing.input.end(client)
    assert readable(terminal) == b"x"
    terminal.close()


# Keys that send signals

NOT_READING = "echo ready; exec sleep 60"
UNBUFFERED = "stty -icanon; " + NOT_READING


async def pasted(typing: Typing, program: OnTerminal, data: bytes) -> Attachment:
    """Paste `data` into a program that reads nothing."""
    await program.says(b"ready")
    typing.input.connect(program.terminal)
    client = typing.attach()
    typing.type(client, data)
    return client


@pytest.mark.parametrize("script", [NOT_READING, UNBUFFERED], ids=["lines", "characters"])
@pytest.mark.parametrize("size", [0, 100, 5000, 20_000, len(LINES)])
@pytest.mark.parametrize(("key", "number"), [(b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)])
async def test_an_interrupt_overtakes_a_paste(typing: Typing, script: str, size: int, key: bytes, number: int) -> None:
    with on_terminal("sh", "-c", "ulimit -c 0; " + script) as program:
        client = await pasted(typing, program, LINES[:size])
        typing.input.write(client, key)
        assert await program.ended() == -number
        assert typing.input.credit(client) == size + 1
        typing.input.close()


async def test_an_interrupt_within_a_chunk_overtakes_the_bytes_before_it_and_not_those_after_it(typing: Typing) -> None:
    script = "trap 'echo interrupted' INT; echo ready; while ! read -r line; do :; done; echo got: $line"
    with on_terminal("bash", "-c", "sleep 0; " + script) as program:
        client = await pasted(typing, program, b"")
        typing.input.write(client, b"before" * 5000 + b"\x03after\n")
        await program.says(b"interrupted")
        await program.says(b"got: after\r\n")
        typing.input.close()


async def test_keys_pass_unchanged_if_everything_was_read(typing: Typing) -> None:
    with on_terminal("sh", "-c", "echo ready; exec cat >/dev/null") as program:
        client = await pasted(typing, program, b"one\n")
        await program.says(b"one")
        typing.input.write(client, b"two")
        await program.says(b"two")
        typing.input.write(client, b"\x03")
        await program.says(rb"\^C")
        assert await program.ended() == -signal.SIGINT
        typing.input.close()


async def test_an_interrupt_is_an_ordinary_character_in_raw_mode(typing: Typing) -> None:
    terminal = opened(*RAW)
    typing.input.connect(terminal)
    client = typing.attach()
    typing.type(client, LINES + b"\x03")
    seen = b""
    async with asyncio.timeout(TIMEOUT):
        while len(seen) <= len(LINES):
            seen += readable(terminal)
            await asyncio.sleep(0)
    assert seen == LINES + b"\x03"
    typing.input.close()
    terminal.close()


async def test_what_two_clients_type_by_turns_counts_with_what_it_costs(typing: Typing) -> None:
    first, second = typing.attach(), typing.attach(key=OTHER, share=True)
    for _ in range(1000):
        typing.type(first, b"a")
        typing.type(second, b"b")
    assert typing.memory.used > 2000 * 100
    full = [typing.input.full]
    typing.memory.used += typing.memory.limit
    full.append(typing.input.full)
    typing.memory.used -= typing.memory.limit
    assert full == [False, True]
    typing.input.close()
    assert typing.memory.used == 0
