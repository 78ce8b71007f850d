"""Which clients may type at a terminal, whose sizes count, and which clients its program waits for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_server.runs.attachments.attachments import MAX_ATTACHMENTS, Attachment, TooManyAttachments
from farhand_server.runs.attachments.terminal import MAX_TYPING, TerminalAttachments
from farhand_server.runs.output.filespool import FileSpool
from farhand_server.runs.plan import TerminalSize
from farhand_server.runs.streams.pty import PseudoTerminal

from .test_attachments import Client

KEY, OTHER = b"k" * 16, b"o" * 16
KiB = 1 << 10
FIRST = TerminalSize(80, 24)


class Run:
    """The attachments of a run on a terminal, and its spool."""

    def __init__(self, directory: Path) -> None:
        self.spool = FileSpool(directory / "spool", 1 << 20)
        self.all = TerminalAttachments(self.spool, FIRST, 60.0, lambda: None)

    def attach(
        self,
        key: bytes | None = None,
        *,
        types: bool = True,
        share: bool = False,
        hold: bool = True,
        size: TerminalSize | None = None,
        window: int = 256 * KiB,
        at: int = 0,
    ) -> Attachment:
        """Attach a client."""
        return self.all.add(
            Client(),
            key=key,
            hold=hold,
            taken={"stdout": at},
            feeds=0 if types else None,
            share=share,
            size=size,
            window=window,
        )

    def waits(self) -> bool:
        """Return whether the program has to wait."""
        return self.spool.full

    async def size(self) -> TerminalSize:
        """Return the terminal's size after this loop iteration."""
        await asyncio.sleep(0)
        return self.all.shared_size.size


@pytest.fixture
async def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


class CountingTerminal(PseudoTerminal):
    """A terminal that counts its repaints."""

    repaints = 0

    def repaint(self) -> None:
        self.repaints += 1


@pytest.mark.parametrize(("hold", "repaints"), [(True, 1), (False, 0)])
async def test_the_screen_is_repainted_only_for_a_new_client_that_takes_part(
    run: Run, hold: bool, repaints: int
) -> None:
    terminal = CountingTerminal(-1, -1)
    run.all.shared_size.connect(terminal)
    run.attach(KEY, types=False, hold=hold, size=FIRST)
    assert await run.size() == FIRST
    assert terminal.repaints == repaints
    run.attach(KEY, types=False, hold=hold, size=FIRST)
    assert await run.size() == FIRST
    assert terminal.repaints == repaints


# Which clients type


async def test_one_client_types_and_others_only_if_they_share(run: Run) -> None:
    first, plain, sharing = run.attach(), run.attach(), run.attach(share=True)
    assert (first.feeds, plain.feeds, sharing.feeds) == (True, False, True)
    run.all.left(first)
    assert not run.attach().feeds
    run.all.left(sharing)
    assert run.attach().feeds


async def test_a_client_that_only_watches_never_types(run: Run) -> None:
    assert not run.attach(types=False).feeds
    assert run.attach().feeds


async def test_a_lost_connection_makes_room_and_its_client_may_find_the_input_taken(run: Run) -> None:
    lost = run.attach(KEY)
    run.all.lost(lost)
    other = run.attach()
    assert other.feeds
    assert not run.attach(KEY).feeds
    assert run.attach(KEY, share=True).feeds
    run.all.left(other)
    assert run.attach(KEY).feeds


async def test_a_typist_that_returns_in_time_types_on(run: Run) -> None:
    run.all.lost(run.attach(KEY))
    assert run.attach(KEY).feeds


async def test_a_returning_typist_types_on_beside_clients_that_share(run: Run) -> None:
    lost = run.attach(KEY)
    sharing = run.attach(share=True)
    run.all.lost(lost)
    assert not run.attach().feeds
    assert run.attach(KEY).feeds
    assert sharing.feeds


async def test_absent_clients_make_room_for_a_connected_one(run: Run) -> None:
    first = run.attach(KEY)
    for _ in range(MAX_ATTACHMENTS - 1):
        run.all.lost(run.attach())
    run.attach(OTHER)
    assert run.all.get(KEY) is first
    for _ in range(MAX_ATTACHMENTS - 2):
        run.attach()
    with pytest.raises(TooManyAttachments):
        run.attach()


async def test_a_client_that_returns_gets_its_own_place(run: Run) -> None:
    old = run.attach(KEY)
    new = run.attach(KEY)
    assert (old.feeds, new.feeds) == (False, True)


async def test_no_more_clients_share_the_input_than_allowed(run: Run) -> None:
    assert all(run.attach(share=True).feeds for _ in range(MAX_TYPING))
    assert not run.attach(share=True).feeds


# The size of the terminal


async def test_only_the_sizes_of_typing_clients_count(run: Run) -> None:
    run.attach(size=TerminalSize(100, 30))
    run.attach(types=False, size=TerminalSize(10, 5))
    run.attach(size=TerminalSize(20, 6))  # another client types
    assert await run.size() == TerminalSize(100, 30)
    sharing = run.attach(share=True, size=TerminalSize(90, 40))
    assert await run.size() == TerminalSize(90, 30)
    run.all.left(sharing)
    assert await run.size() == TerminalSize(100, 30)


async def test_a_lost_connection_does_not_keep_the_terminal_small(run: Run) -> None:
    small = run.attach(KEY, size=TerminalSize(40, 10))
    run.attach(share=True, size=TerminalSize(100, 30))
    assert await run.size() == TerminalSize(40, 10)
    run.all.lost(small)
    assert await run.size() == TerminalSize(100, 30)
    run.attach(KEY, share=True, size=TerminalSize(40, 10))
    assert await run.size() == TerminalSize(40, 10)


async def test_the_size_may_change(run: Run) -> None:
    attached = run.attach(size=TerminalSize(100, 30))
    run.all.resize(attached, TerminalSize(50, 20))
    assert await run.size() == TerminalSize(50, 20)


async def test_the_size_does_not_change_after_the_end(run: Run) -> None:
    run.attach(size=TerminalSize(100, 30))
    assert await run.size() == TerminalSize(100, 30)
    run.all.close()
    run.attach(KEY, share=True, size=TerminalSize(10, 5))
    assert await run.size() == TerminalSize(100, 30)


# Which clients the program waits for


async def test_the_program_is_at_most_a_window_ahead_of_the_slowest_holder(run: Run) -> None:
    fast, slow = run.attach(window=256 * KiB), run.attach(window=64 * KiB)
    run.spool.append(bytes(64 * KiB - 1))
    assert not run.waits()
    run.spool.append(b"x")
    assert run.waits()
    run.all.took(fast, "stdout", 64 * KiB)
    assert run.waits()
    run.all.took(slow, "stdout", 1)
    assert not run.waits()


async def test_the_program_does_not_wait_for_clients_that_do_not_hold(run: Run) -> None:
    run.attach(hold=False, window=64 * KiB)
    run.spool.append(bytes(500 * KiB))
    assert not run.waits()


@pytest.mark.parametrize("how", ["lost", "left"])
async def test_the_program_continues_as_soon_as_no_client_is_connected(run: Run, how: str) -> None:
    attached = run.attach(KEY, window=64 * KiB)
    run.spool.append(bytes(100 * KiB))
    assert run.waits()
    room = asyncio.Event()
    run.spool.on_room = room.set
    (run.all.lost if how == "lost" else run.all.left)(attached)
    assert not run.waits()
    assert room.is_set()


async def test_the_program_waits_again_for_a_client_that_returns(run: Run) -> None:
    run.all.lost(run.attach(KEY, window=64 * KiB))
    run.spool.append(bytes(100 * KiB))
    returned = run.attach(KEY, window=64 * KiB, at=30 * KiB)
    assert run.waits()
    run.all.took(returned, "stdout", 70 * KiB)
    assert not run.waits()


async def test_credit_for_a_stream_that_a_terminal_lacks_changes_nothing(run: Run) -> None:
    attached = run.all.add(Client(), key=None, hold=True, taken={"stdout": 0, "stderr": 0}, feeds=None, window=64 * KiB)
    run.spool.append(bytes(64 * KiB))
    run.all.took(attached, "stderr", 1 << 20)
    assert run.waits()


async def test_a_client_that_reads_old_output_delays_the_program_only_once_it_has_caught_up(run: Run) -> None:
    worker = run.attach(window=256 * KiB)
    run.spool.append(bytes(300 * KiB))
    run.all.took(worker, "stdout", 300 * KiB)
    late = run.attach(types=False, window=64 * KiB)
    assert not run.waits()
    run.all.took(late, "stdout", 300 * KiB)
    run.spool.append(bytes(64 * KiB))
    assert run.waits()
