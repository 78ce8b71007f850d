"""Keys reach the program as it takes them, memory stays bounded, and those for the client wait for nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from farhand_client.stdin import InputStream
from farhand_client.terminal import input as module
from farhand_client.terminal.escapes import ClientKey, EscapeParser
from farhand_client.terminal.input import KEY_READ_SIZE, MAX_UNSENT_KEYS, KeyReader
from farhand_client.terminal.local import LocalTerminal
from farhand_protocol.limits import KiB, MiB
from tests.support.ptys import Pty, terminal


class Program:
    """Outlet of a run's stdin, which takes `room` bytes; and who acts on keys."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.left = room
        self.taken = bytearray()
        self.told: list[ClientKey | str] = []
        self.changed = asyncio.Event()
        self.stdin = InputStream(self)

    async def until(self, what: ClientKey | str) -> None:
        async with asyncio.timeout(10):
            while what not in self.told:
                self.changed.clear()
                await self.changed.wait()

    async def takes(self, count: int) -> bytes:
        async with asyncio.timeout(10):
            while len(self.taken) < count:
                self.changed.clear()
                await self.changed.wait()
        return bytes(self.taken)

    async def takes_at_last(self, data: bytes) -> None:
        async with asyncio.timeout(10):
            while not self.taken.endswith(data):
                self.changed.clear()
                await self.changed.wait()

    def take(self, room: int) -> None:
        self.left += room
        self.stdin.pump()

    # Outlet

    def room(self) -> int:
        return self.left

    def send(self, data: bytes) -> None:
        self.taken += data
        self.left -= len(data)
        self.stdin.acknowledge(len(data))
        self.changed.set()

    def flush(self) -> None:
        pass

    def end(self) -> bool:
        return True

    # Typist

    def _tell(self, what: ClientKey | str) -> None:
        self.told.append(what)
        self.changed.set()

    def client_key(self, key: ClientKey) -> None:
        self._tell(key)

    def key_pressed(self) -> None:
        self._tell("typed")

    def input_discarded(self) -> None:
        self._tell("unheard")

    def input_refused(self, *, interrupt: bool) -> None:
        self._tell("interrupt" if interrupt else "watching")

    def terminal_gone(self) -> None:
        self._tell("gone")


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


@contextlib.contextmanager
def reading(pty: Pty, program: Program, *, watches: bool = False) -> Iterator[KeyReader]:
    with LocalTerminal(pty.slave) as local, local.raw():
        keys = KeyReader(local, None if watches else program.stdin, EscapeParser(), program)
        keys.start()
        try:
            yield keys
        finally:
            keys.stop()


async def test_every_byte_passes_as_it_is(pty: Pty) -> None:
    program = Program()
    every = bytes(range(256)) * 4
    with reading(pty, program):
        pty.type(every)
        assert await program.takes(len(every)) == every
    assert "typed" in program.told


async def test_keys_for_the_client_stand_where_they_were_typed(pty: Pty) -> None:
    program = Program()
    with reading(pty, program):
        pty.type(b"one\r~?two\r~d")
        await program.until(ClientKey.DETACH)
    assert program.taken == b"one\rtwo\r"
    assert [told for told in program.told if told != "typed"] == [ClientKey.HELP, ClientKey.DETACH]


async def test_a_large_paste_arrives_whole_at_the_pace_of_the_program(pty: Pty) -> None:
    program = Program(room=0)
    paste = bytes(range(0x20, 0x7E)) * (3 * MiB // 94)
    with reading(pty, program):
        pasting = asyncio.ensure_future(pty.paste(paste))
        while len(program.taken) < len(paste):
            assert program.stdin.waiting < MAX_UNSENT_KEYS + KEY_READ_SIZE
            program.take(64 * KiB)
            await asyncio.sleep(0)
        await pasting
    assert program.taken == paste


async def test_little_waits_for_a_program_that_takes_nothing_and_nothing_is_lost(pty: Pty) -> None:
    program = Program(room=0)
    paste = bytes(2 * MiB)
    with reading(pty, program):
        pasting = asyncio.ensure_future(pty.paste(paste))
        async with asyncio.timeout(10):
            while program.stdin.waiting < MAX_UNSENT_KEYS:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert MAX_UNSENT_KEYS <= program.stdin.waiting < MAX_UNSENT_KEYS + KEY_READ_SIZE
        assert not pasting.done()
        program.take(1 << 30)
        await pasting
        assert await program.takes(len(paste)) == paste
    assert "unheard" not in program.told


async def test_a_key_behind_a_paste_that_nobody_takes_is_seen(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK_INPUT_TIMEOUT", 0.1)
    program = Program(room=0)
    with reading(pty, program):
        await pty.paste(bytes(2 * MiB) + b"\r~.")
        await program.until(ClientKey.LEAVE)
    assert "unheard" in program.told
    assert program.stdin.waiting < MAX_UNSENT_KEYS + KEY_READ_SIZE


async def test_what_is_typed_counts_again_once_the_program_takes_it(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK_INPUT_TIMEOUT", 0.1)
    program = Program(room=0)
    with reading(pty, program):
        await pty.paste(bytes(2 * MiB))
        await program.until("unheard")
        program.take(1 << 30)
        await program.takes(MAX_UNSENT_KEYS)
        pty.type(b"heard")
        await program.takes_at_last(b"heard")


async def test_where_nothing_may_be_typed_only_leaving_is_possible(pty: Pty) -> None:
    program = Program()
    with reading(pty, program, watches=True):
        pty.type(b"rm -rf /\r")
        await program.until("watching")
        pty.type(b"~d")
        await program.until(ClientKey.DETACH)
        pty.type(b"\x03")
        await program.until("interrupt")
    assert program.taken == b""


async def test_a_run_that_takes_nothing_any_more_is_only_watched_and_keys_still_work(pty: Pty) -> None:
    program = Program()
    with reading(pty, program):
        program.stdin.finish(None)
        pty.type(b"x\r~.")
        await program.until("watching")
        await program.until(ClientKey.LEAVE)


async def test_a_closed_window_is_told(pty: Pty) -> None:
    program = Program()
    with reading(pty, program):
        pty.hang_up()
        await program.until("gone")


async def test_nothing_is_read_afterwards(pty: Pty) -> None:
    program = Program()
    with reading(pty, program) as keys:
        pty.type(b"\r~.more")
        await program.until(ClientKey.LEAVE)
        keys.stop()
        pty.type(b"never")
        await asyncio.sleep(0.05)
    assert b"never" not in program.taken
