"""A screen tracker follows settings exactly, and what is visible as far as the last 256 KiB determine it."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farhand_client.terminal.screen import MAX_BEHIND, MAX_TAIL, ScreenTracker
from farhand_protocol.limits import MiB
from tests.support.reference_terminals import Reference
from tests.support.terminal_output import COMMANDS, OUTPUTS, TEN_LINES


def fed(*output: bytes, columns: int = 20, rows: int = 6) -> ScreenTracker:
    screen = ScreenTracker(columns, rows)
    for data in output:
        screen.feed(data)
    return screen


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_screen_is_repainted_as_it_was(output: bytes) -> None:
    assert Reference(20, 6, b"before\r\n" * 9, fed(output).repaint()).state == Reference(20, 6, output).state


@given(st.binary(max_size=400) | COMMANDS.map(b"".join), st.lists(st.integers(0, 400)))
def test_the_split_of_the_output_makes_no_difference(output: bytes, cuts: list[int]) -> None:
    at = sorted({0, len(output), *(cut for cut in cuts if cut < len(output))})
    whole, split = fed(output), fed(*(output[start:stop] for start, stop in pairwise(at)))
    assert split.pending == whole.pending
    assert split.undo_sequence() == whole.undo_sequence()
    assert split.repaint() == whole.repaint()


@pytest.mark.parametrize(
    ("output", "undo"),
    [
        (b"text", b""),
        (b"\x1b[?1049h\x1b[31m", b"\x1b[m\x1b[?1049l"),
        (b"title \x1b]0;ti", b"\x18"),
        (b"half a character \xe6\xbc", b"\x18"),
        (b"\x1b[?1049h\x1b[?25", b"\x18\x1b[?1049l"),
    ],
)
def test_settings_and_incomplete_sequences_are_undone(output: bytes, undo: bytes) -> None:
    screen = fed(output)
    assert screen.undo_sequence() == undo
    screen.feed(undo)
    assert screen.undo_sequence() == b""


def test_an_incomplete_sequence_is_repeated_after_repainting() -> None:
    for pending in (b"\x1b[3", b"\xe6\xbc"):
        screen = fed(b"text" + pending)
        assert screen.pending == pending
        assert screen.repaint() == fed(b"text").repaint() + pending


ALLOWED = re.compile(
    rb"[\x20-\x7e\x80-\xff\n\x0e]|\x0f|\x1b7|\x1b[=>]|\x1b[()][0-~]|\x1b\[[0-9;:]*[mHGrJhlu]|\x1b\[\?[0-9]+[hl]"
    rb"|\x1b\[[>=][0-9;]*[mu]|\x1b\[[0-9]* q"
)


@given(st.binary(max_size=2000), st.sampled_from([(1, 1), (2, 1), (20, 6), (500, 300)]))
def test_binary_output_does_no_harm(output: bytes, size: tuple[int, int]) -> None:
    screen = fed(b"\x1b[?1049h\x1b]0;x", output, columns=size[0], rows=size[1])
    painted = screen.repaint().removesuffix(screen.pending)
    assert ALLOWED.sub(b"", painted) == b""
    screen.feed(b"\x18" + screen.undo_sequence())
    assert screen.undo_sequence() == b""


def test_the_alternate_screen_is_known() -> None:
    screen = fed(b"$ vim\r\n\x1b[?1049h\x1b[2;3H~\x1b[31mfile")
    alternate = [screen.alternate]
    screen.feed(b"\x1b[?1049l")
    assert [*alternate, screen.alternate] == [True, False]
    assert Reference(20, 6, screen.repaint()).state == Reference(20, 6, b"$ vim\r\n").state


@pytest.mark.parametrize(
    ("output", "title"),
    [(b"", None), (b"\x1b]0;one\x07\x1b]2;t\xc3\xb6\x1b\\", "tö"), (b"\x1b]1;icon\x07", None), (b"\x1b]2;\x07", "")],
)
def test_the_title_of_the_program_is_known(output: bytes, title: str | None) -> None:
    assert fed(output).title == title


# Sizes


def test_output_is_shown_at_the_terminal_size_of_its_time() -> None:
    screen = fed(b"\x1b[6;1Hbottom", b"\x1b[1;1Htop", columns=10, rows=6)
    screen.resize(8, 3)
    assert (screen.columns, screen.rows) == (8, 3)
    screen.feed(b"\x1b[3;1H\x1b[2Knew\x1b[2;1H" + b"x" * 12)
    assert Reference(8, 3, screen.repaint()).display == ["top     ", "x" * 8, "xxxx    "]


def test_a_resize_keeps_the_row_of_the_cursor() -> None:
    screen = fed(TEN_LINES, columns=10, rows=6)
    screen.resize(10, 3)
    assert Reference(10, 3, screen.repaint()).display == ["9".ljust(10), "10".ljust(10), " " * 10]


def test_a_resize_ends_a_scrolling_region() -> None:
    screen = fed(b"\x1b[2;5r")
    screen.resize(20, 7)
    assert screen.undo_sequence() == b""


def test_an_unknown_size_is_80_by_24() -> None:
    assert (ScreenTracker(0, 0).columns, ScreenTracker(0, 0).rows) == (80, 24)


def test_repainting_scrolls_away_the_content_of_a_larger_terminal() -> None:
    assert fed(b"x").repaint().count(b"\n") == 6
    assert fed(b"x").repaint(rows=30).count(b"\n") == 30


# What is no longer kept


def test_the_main_screen_is_left_alone_if_only_the_alternate_one_is_known() -> None:
    painted = fed(b"\x1b[?1049h", b"\x1b[1;1H" + b"x" * MAX_TAIL, b"\x1b[2J\x1b[Hvim").repaint()
    assert b"\n" not in painted
    assert painted.index(b"\x1b[?1049h") < painted.index(b"vim")


def test_output_that_starts_in_the_middle_shows_everything_drawn_since() -> None:
    redrawn = b"".join(b"\x1b[%d;1H\x1b[3%dmrow %d\x1b[K" % (row, row, row) for row in range(1, 7))
    for cut in range(len(redrawn)):
        assert fed(redrawn[cut:], redrawn).repaint() == fed(redrawn).repaint()


def test_a_sequence_that_is_split_at_the_start_of_the_tail_is_complete() -> None:
    nothing = b"\x1b[1;1H" + b"." * 49_000
    screen = fed(b"\x1b[?7l" + nothing + b"\x1b[3;", b"1Hhere", *[nothing] * 5)
    assert Reference(20, 6, screen.repaint()).display[2].rstrip() == "here"


def test_settings_made_before_the_tail_are_known() -> None:
    screen = fed(b"\x1b[2;5r\x1b[?7l\x1b[31m\x1b[?2004h", b"\r" + b"x" * MAX_TAIL * 2, b"\x1b[1;1H\x1b[2Jend")
    reference = Reference(20, 6, b"\x1b[2;5r\x1b[?7l\x1b[31m\x1b[?2004h\x1b[1;1H\x1b[2Jend")
    assert Reference(20, 6, screen.repaint()).state == reference.state


def test_rows_that_scrolled_away_do_not_matter() -> None:
    lines = b"".join(b"\x1b[%dmline %d\r\n" % (30 + number % 8, number) for number in range(40_000))
    assert Reference(20, 6, fed(lines).repaint()).state == Reference(20, 6, lines[-400:].partition(b"\r\n")[2]).state


def test_single_bytes_do_not_shorten_the_tail() -> None:
    screen = fed(b"\x1b[3;1Hhere")
    for byte in b"\x1b[1;1H." * 500:
        screen.feed(bytes([byte]))
    assert Reference(20, 6, screen.repaint()).display[2].rstrip() == "here"


# Memory


def test_a_flood_is_not_kept() -> None:
    screen = ScreenTracker(80, 24)
    plain, coloured = b"y\r\n" * 20_000, b"\x1b[31mred\x1b[m\r\n" * 4000
    tracemalloc.start()
    for _ in range(20):
        screen.feed(plain)
        screen.feed(coloured)
        screen.feed(b"\xe6")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < MiB
    assert len(screen.repaint()) < 8000


def test_neither_single_bytes_nor_resizes_need_more_memory() -> None:
    screen = ScreenTracker(80, 24)

    def use(count: int) -> None:
        for number in range(count):
            screen.feed(b"\x1b[%dC" % (number % 7))
            if number % 2:
                screen.resize(80 + number % 3, 24)

    use(1000)  # until what is kept of the past has its full length
    tracemalloc.start()
    use(3000)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    replaced = 128 * 1024  # what was kept before is not traced
    assert grown < replaced + 16 * 1024
    tracemalloc.start()
    use(6000)
    grown_more, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown_more < replaced + 16 * 1024


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=60) | COMMANDS.map(b"".join), max_size=6))
def test_a_screen_that_is_looked_at_in_between_is_the_same(parts: list[bytes]) -> None:
    parts.insert(0, b"text")  # the tail begins with a whole character
    whole, watched = fed(*parts), ScreenTracker(20, 6)
    for part in parts:
        watched.feed(part)
        assert watched.emulator is not None
    assert watched.repaint() == whole.repaint()


def test_a_screen_is_kept_up_to_date_at_the_cost_of_the_output_since_it_was_requested() -> None:
    screen = fed(b"x" * 100)
    assert screen.behind == 100
    emulator = screen.emulator
    assert screen.behind == 0
    screen.feed(b"\r\nyy")
    assert screen.behind == 4
    assert screen.emulator is emulator
    screen.feed(b"z\r\n" * (MAX_BEHIND // 3 + 1))
    assert screen.emulator is not emulator


def test_an_endless_sequence_is_not_kept_twice() -> None:
    screen = fed(b"text")
    emulator = screen.emulator
    for part in (b"\x1b]52;", b"x" * 3000, b"x" * 3000):
        screen.feed(part)
    assert screen.emulator is not emulator
