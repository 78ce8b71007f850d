"""Keys reach the program as fast as it reads them, with bounded memory; keys for the client never wait."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator, Iterator

import pytest

from farhand_client.stdin import InputStream
from farhand_client.terminal import input as module
from farhand_client.terminal.escapes import ClientKey, EscapeParser
from farhand_client.terminal.input import KEY_READ_SIZE, MAX_UNSENT_KEYS, KeyReader
from farhand_client.terminal.local import LocalTerminal
from farhand_protocol.limits import KiB, MiB
from tests.support.ptys import TIMEOUT, Pty, terminal


class Program:
    """The outlet of a run's stdin, which accepts `room` bytes, and the handler of keys."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.left = room
        self.received = bytearray()
        self.reported: list[ClientKey | str] = []
        self.passed: list[tuple[bytes, bool]] = []
        self.changed = asyncio.Event()
        self.stdin = InputStream(self)

    async def until(self, what: ClientKey | str) -> None:
        async with asyncio.timeout(10):
            while what not in self.reported:
                self.changed.clear()
                await self.changed.wait()

    async def receives(self, count: int) -> bytes:
        async with asyncio.timeout(10):
            while len(self.received) < count:
                self.changed.clear()
                await self.changed.wait()
        return bytes(self.received)

    async def receives_last(self, data: bytes) -> None:
        async with asyncio.timeout(10):
            while not self.received.endswith(data):
                self.changed.clear()
                await self.changed.wait()

    def take(self, room: int) -> None:
        self.left += room
        self.stdin.pump()

    # Implements Outlet.

    def room(self) -> int:
        return self.left

    def send(self, data: bytes | memoryview) -> None:
        self.received += data
        self.left -= len(data)
        self.stdin.acknowledge(len(data))
        self.changed.set()

    def flush(self) -> None:
        pass

    def end(self) -> bool:
        return True

    # Implements KeyHandler.

    def _report(self, what: ClientKey | str) -> None:
        self.reported.append(what)
        self.changed.set()

    def client_key(self, key: ClientKey) -> None:
        self._report(key)

    def key_pressed(self) -> None:
        self._report("typed")

    def typed(self, data: bytes, *, sent: bool) -> None:
        self.passed.append((data, sent))

    def suspend_typed(self) -> None:
        self._report("Ctrl-Z")

    def input_discarded(self) -> None:
        self._report("discarded")

    def input_refused(self, *, interrupt: bool) -> None:
        self._report("interrupt" if interrupt else "refused")

    def terminal_gone(self) -> None:
        self._report("gone")


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


@contextlib.contextmanager
def reading(pty: Pty, program: Program, *, read_only: bool = False) -> Iterator[KeyReader]:
    with LocalTerminal(pty.slave) as local, local.raw():
        keys = KeyReader(local, None if read_only else program.stdin, EscapeParser(), program)
        keys.start()
        try:
            yield keys
        finally:
            keys.stop()


async def test_every_byte_passes_unchanged(pty: Pty) -> None:
    program = Program()
    every = bytes(range(256)) * 4
    with reading(pty, program):
        pty.type(every)
        assert await program.receives(len(every)) == every
    assert "typed" in program.reported


async def test_keys_for_the_client_are_handled_in_order(pty: Pty) -> None:
    program = Program()
    with reading(pty, program):
        pty.type(b"one\r~?two\r~d")
        await program.until(ClientKey.DETACH)
    assert program.received == b"one\rtwo\r"
    assert program.passed == [(b"one\r", True), (b"two\r", True)]
    assert [each for each in program.reported if each != "typed"] == [ClientKey.HELP, ClientKey.DETACH]


async def test_a_large_paste_arrives_complete_at_the_pace_of_the_program(pty: Pty) -> None:
    program = Program(room=0)
    paste = bytes(range(0x20, 0x7E)) * (3 * MiB // 94)
    with reading(pty, program):
        pasting = asyncio.ensure_future(pty.paste(paste))
        while len(program.received) < len(paste):
            assert program.stdin.waiting < MAX_UNSENT_KEYS + KEY_READ_SIZE
            program.take(64 * KiB)
            await asyncio.sleep(0)
        await pasting
    assert program.received == paste


async def test_a_program_that_reads_late_gets_everything_and_little_is_held_for_it(pty: Pty) -> None:
    program = Program(room=0)
    paste = bytes(2 * MiB)
    with reading(pty, program):
        pasting = asyncio.ensure_future(pty.paste(paste))
        async with asyncio.timeout(10):
            while program.stdin.waiting < MAX_UNSENT_KEYS:  # noqa: ASYNC110  # nothing signals it
                await asyncio.sleep(0.01)
        for _ in range(10):
            await asyncio.sleep(0)
        assert MAX_UNSENT_KEYS <= program.stdin.waiting < MAX_UNSENT_KEYS + KEY_READ_SIZE
        assert not pasting.done()
        program.take(1 << 30)
        await pasting
        assert await program.receives(len(paste)) == paste
    assert "discarded" not in program.reported


async def test_a_key_for_the_client_is_recognized_behind_an_unread_paste(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_INPUT_TIMEOUT", 0.1)
    program = Program(room=0)
    with reading(pty, program):
        await pty.paste(bytes(2 * MiB) + b"\r~.")
        await program.until(ClientKey.LEAVE)
    assert "discarded" in program.reported
    assert program.stdin.waiting < MAX_UNSENT_KEYS + KEY_READ_SIZE


async def test_keys_count_again_once_the_program_reads(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK_INPUT_TIMEOUT", 0.1)
    program = Program(room=0)
    with reading(pty, program):
        await pty.paste(bytes(2 * MiB))
        await program.until("discarded")
        program.take(1 << 30)
        await program.receives(MAX_UNSENT_KEYS)
        await pty.paste(b"heard")
        await program.receives_last(b"heard")


async def test_a_read_only_client_accepts_only_keys_for_the_client(pty: Pty) -> None:
    program = Program()
    with reading(pty, program, read_only=True):
        pty.type(b"rm -rf /\r")
        await program.until("refused")
        pty.type(b"~d")
        await program.until(ClientKey.DETACH)
        pty.type(b"\x03")
        await program.until("interrupt")
    assert program.received == b""


async def test_after_the_end_of_stdin_only_keys_for_the_client_are_accepted(pty: Pty) -> None:
    program = Program()
    with reading(pty, program):
        program.stdin.finish(None)
        pty.type(b"x\r~.")
        await program.until("refused")
        await program.until(ClientKey.LEAVE)


async def test_a_terminal_that_hangs_up_is_reported(pty: Pty) -> None:
    program = Program()
    with reading(pty, program):
        pty.hang_up()
        await program.until("gone")


async def test_nothing_is_read_after_stopping(pty: Pty) -> None:
    program = Program()
    with reading(pty, program) as keys:
        pty.type(b"\r~.more")
        await program.until(ClientKey.LEAVE)
        keys.stop()
        pty.type(b"never")
        assert select.select([pty.slave], [], [], TIMEOUT)[0]
        await asyncio.sleep(0)
    assert b"never" not in program.received
