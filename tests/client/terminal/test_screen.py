"""What a program has set is undone, and what is seen of it is painted again: judged by another terminal emulator."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.terminal.screen import MAX_TAIL, ScreenTracker
from farhand_protocol.limits import MiB
from tests.support.judges import Reference

TERMINAL = b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?25l\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b[1;23r\x1b[31m"


def fed(*said: bytes, columns: int = 20, rows: int = 6) -> ScreenTracker:
    screen = ScreenTracker(columns, rows)
    for data in said:
        screen.feed(data)
    return screen


@pytest.mark.parametrize(
    ("said", "undone"),
    [
        (b"text\r\n\x07\t\xff", b""),
        (b"\x1b[?1049h", b"\x1b[?1049l"),
        (b"\x1b[?47h", b"\x1b[?47l"),
        (b"\x1b[?1047h", b"\x1b[?1047l"),
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?1003h\x1b[?1015h\x1b[?1016h\x1b[?9h", b"\x1b[?9l\x1b[?1003l\x1b[?1015l\x1b[?1016l"),
        (b"\x1b[?1004h\x1b[?2004h", b"\x1b[?1004l\x1b[?2004l"),
        (b"\x1b[?1h\x1b=", b"\x1b>\x1b[?1l"),
        (b"\x1b[?7l", b"\x1b[?7h"),
        (b"\x1b[4h\x1b[20h", b"\x1b[4l\x1b[20l"),
        (b"\x1b[31;1mred", b"\x1b[m"),
        (b"\x1b[38;2;1;2;3mrgb\x1b[39m", b""),
        (b"\x1b[1mbold\x1b[31mred\x1b[39m", b"\x1b[m"),
        (b"\x1b(0", b"\x1b(B"),
        (b"\x1b)0\x0e", b"\x1b)B\x0f"),
        (b"\x0e\x1b]0;a\x0fb\x07", b"\x0f"),
        (b"\x1b]0;a\x0eb\x18\x1bPa\x0e\x1b\\", b""),
        (b"\x1b[2;5r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b[2;5r\x1b[?6h", b"\x1b[?6l\x1b[r\x1b[9999;1H"),
        (b"\x1b[?1049h\x1b[2;5r\x1b[?6h", b"\x1b[?6l\x1b[r\x1b[?1049l"),
        (b"\x1b[?69h", b"\x1b[?69l"),
        (b"\x1b[>1u", b"\x1b[<1u"),
        (b"\x1b[>1u\x1b[>3u", b"\x1b[<2u"),
        (b"\x1b[=5u", b"\x1b[=0u"),
        (b"\x1b[>1u\x1b[?1049h\x1b[>3u", b"\x1b[<1u\x1b[?1049l\x1b[<1u"),
        (b"\x1b[>4;2m", b"\x1b[>4m"),
        (b"\x1b[5 q", b"\x1b[0 q"),
        (b"\x1b[?2026h", b"\x1b[?2026l"),
        (b"\x1b]8;;http://a\x1b\\a", b"\x1b]8;;\x1b\\"),
        (b"\x1b]11;#000000\x07\x1b]12;red\x07\x1b]4;1;red\x07", b"\x1b]111\x1b\\\x1b]112\x1b\\\x1b]104\x1b\\"),
        (b"\x1b]11;?\x07\x1b]4;1;?\x07", b""),
        (b"\x1b[?12h\x1b[?1234h", b""),
        (b"title \x1b]0;ti", b"\x18"),
        (b"half a character \xe6\xbc", b"\x18"),
        (b"\x1b[?1049h\x1b[?25", b"\x18\x1b[?1049l"),
    ],
)
def test_what_is_set_is_undone_and_what_is_not_is_left_alone(said: bytes, undone: bytes) -> None:
    screen = fed(said)
    assert screen.undo_sequence() == undone
    screen.feed(undone)
    assert screen.undo_sequence() == b""
    assert fed(*(said[at : at + 1] for at in range(len(said)))).undo_sequence() == undone


@pytest.mark.parametrize(
    "said",
    [
        TERMINAL + b"\x1bc",
        b"\x1b[?1h\x1b=\x1b[?25l\x1b[?7l\x1b[4h\x1b[2;5r\x1b[31m\x1b(0\x0e\x1b[!p",
        b"\x1b[?25l\x1b[?25h\x1b[?1049h\x1b[?1049l\x1b[>1u\x1b[<u\x1b[>4;1m\x1b[>4;0m\x1b[2 q\x1b[ q",
        b"\x1b[31mred\x1b[m",
        b"\x1b[31mred\x1b[0;m",
        b"\x1b(0lqk\x1b(B\x0e\x0f",
        b"\x1b[2;5r\x1b[r",
        b"\x1b]8;;http://a\x1b\\a\x1b]8;;\x1b\\",
    ],
)
def test_what_a_program_undoes_by_itself_is_not_undone_again(said: bytes) -> None:
    assert fed(said).undo_sequence() == b""


@pytest.mark.parametrize(
    ("said", "pending"),
    [
        (b"", b""),
        (b"abc", b""),
        (b"abc\x1b", b"\x1b"),
        (b"abc\x1b[", b"\x1b["),
        (b"abc\x1b[38;5", b"\x1b[38;5"),
        (b"abc\x1b[38;5;1m", b""),
        (b"\x1b]0;title", b"\x1b]0;title"),
        (b"\x1b]0;title\x1b", b"\x1b]0;title\x1b"),
        (b"\x1b]0;title\x1b\\", b""),
        (b"\x1b]0;title\x07", b""),
        (b"\x1bP+q544e\x07", b"\x1bP+q544e\x07"),
        (b"\x1bP+q544e\x1b\\\x1b", b"\x1b"),
        (b"\x1b]0;title\x18", b""),
        (b"\x1b[12\x1b[3", b"\x1b[3"),
        (b"\x1b(", b"\x1b("),
        (b"\x1b#", b"\x1b#"),
        ("ö".encode()[:1], b"\xc3"),
        ("漢".encode()[:2], b"\xe6\xbc"),
        ("😀".encode()[:3], b"\xf0\x9f\x98"),
        ("😀".encode(), b""),
        (b"\x80\x80", b""),
        (b"\x1b]0;\xe6\xbc", b"\x1b]0;\xe6\xbc"),
        (b"\x1bPq" + b"#" * 5000, b"\x1bX"),
        (b"\x1b]52;c;" + b"A" * 100_000, b"\x1b]7777;"),
        (b"\x1b]52;c;" + b"A" * 100_000 + b"\x1b", b"\x1b]7777;\x1b"),
        (b"\x1b[" + b"1;" * 5000, b"\x1b[<<"),
        (b"\x1b[" + b"1;" * 5000 + b"m", b""),
        (b"\x1bPq" + b"#" * 5000 + b"\x1b\\", b""),
    ],
)
def test_what_is_begun_and_not_complete_is_known(said: bytes, pending: bytes) -> None:
    assert fed(said).pending == pending
    assert fed(*(said[at : at + 7] for at in range(0, len(said), 7))).pending == pending
    assert fed(*(said[at : at + 1] for at in range(len(said)))).pending == pending


LINES = b"".join(b"%d\r\n" % number for number in range(1, 11))
PAINTED = [
    b"",
    b"hello",
    b"hello\r\nworld\r\n",
    LINES,
    b"x" * 20,
    b"x" * 21,
    b"x" * 20 + b"\x1b[K",
    b"x" * 20 + b"\r\n" + b"y" * 120,
    LINES + b"\x1b[1;1Ha\r\n" * 8,
    b"\x1b[31mred\x1b[42mon green\x1b[m plain\r\n\x1b[1;3;4;5;7;9mall\x1b[m",
    b"\x1b[38;5;123mpalette\x1b[48;2;1;2;3mtrue\x1b[91mbright",
    b"\x1b[44m\x1b[2J\x1b[3;3Hbackground\x1b[m",
    b"\x1b[41mred\x1b[K\r\nrow",
    "größe, 漢字, e\u0301, ─┼│\r\n漢".encode(),
    b"\x1b[2;5r\x1b[5;1Ha\nb\nc\x1b[1;1Htop",
    b"\x1b[2;5r\x1b[?6h\x1b[2;2Horigin",
    b"\x1b[?7l" + b"no wrap" * 5,
    b"\x1b[4hinsert\rmode",
    b"\x1b[?25l\x1b[4;4Hhidden",
    b"\x1b[4;4Hsaved\x1b7\x1b[1;1H",
    LINES + b"\x1b[2;2H\x1b[2L\x1b[3@\x1b[2X\x1b[1P\x1b[4;1H\x1b[M",
    b"\x1b[?5h\x1b[?5l\x1b[?1000h\x1b=\x1b[?2004h",
    b"a\tb\tc\x08d\x1b[3g\te\x1b[5G\x1bH\r\tf",
]


@pytest.mark.parametrize("said", PAINTED)
def test_a_screen_is_painted_as_it_was(said: bytes) -> None:
    painted = fed(said).repaint()
    # What tells its rows apart from what was there is that nothing of it is left.
    assert Reference(20, 6, b"before\r\n" * 9, painted).state == Reference(20, 6, said).state


def commands(columns: int, rows: int) -> st.SearchStrategy[bytes]:
    """What pyte understands as terminals do. It scrolls in no background."""
    row, column, few = st.integers(1, rows), st.integers(1, columns), st.integers(1, 4)
    return st.one_of(
        st.sampled_from([b"hello world ", "größe".encode(), b"\r\n", b"\r", b"x\x08", b"\r\t", b"\x1bM", b"\r\x1bE"]),
        st.builds(lambda y, x: b"\x1b[%d;%dH" % (y, x), row, column),
        st.builds(lambda n, what: b"\r\x1b[%d" % n + what, few, st.sampled_from([b"A", b"B", b"C", b"G", b"d"])),
        st.builds(lambda n, what: b"\r\x1b[%d" % n + what, few, st.sampled_from([b"L", b"M", b"P", b"@"])),
        st.builds(lambda code: b"\x1b[%dm" % code, st.sampled_from([1, 3, 4, 7, 9, 22, 23, 24, 27, 29, 31, 39])),
        st.builds(lambda n: b"\x1b[38;5;%dm\r\x1b[48;2;%d;0;9mcolour\x1b[49m" % (n, n), st.integers(0, 255)),
        st.builds(
            lambda what: b"\x1b[0;44m\x1b[" + what + b"\x1b[m",
            st.sampled_from([b"J", b"1J", b"2J", b"K", b"1K", b"2K"]),
        ),
        st.builds(lambda top, more: b"\x1b[%d;%dr" % (top, min(top + more, rows)), st.integers(1, rows - 1), few),
        st.sampled_from([b"\x1b[r", b"\x1b[?7l", b"\x1b[?7h", b"\x1b[4h", b"\x1b[4l", b"\x1b[?25l", b"\x1b[?25h"]),
        st.sampled_from([b"\x1b7", b"\x1b[?1h", b"\x1b=", b"\x1b[?2004h", b"\x1b]0;title\x07"]),
    )


SAID = st.lists(commands(20, 6), max_size=40)


@given(SAID)
def test_whatever_was_said_is_painted_as_it_was(said: list[bytes]) -> None:
    reference = Reference(20, 6, *said)
    reference.title = ""
    assert Reference(20, 6, fed(*said).repaint()).state == reference.state


@given(st.binary(max_size=400) | SAID.map(b"".join), st.lists(st.integers(0, 400)))
def test_where_the_output_is_split_makes_no_difference(said: bytes, cuts: list[int]) -> None:
    at = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    parts = [said[start:stop] for start, stop in pairwise(at)]
    whole, split = fed(said), fed(*parts)
    assert (split.pending, split.undo_sequence(), split.repaint()) == (
        whole.pending,
        whole.undo_sequence(),
        whole.repaint(),
    )


ALLOWED = re.compile(
    rb"[\x20-\x7e\x80-\xff\n\x0e]|\x0f|\x1b7|\x1b[=>]|\x1b[()][0-~]|\x1b\[[0-9;:]*[mHGrJhlu]|\x1b\[\?[0-9]+[hl]"
    rb"|\x1b\[[>=][0-9;]*[mu]|\x1b\[[0-9]* q"
)


@given(st.binary(max_size=2000), st.sampled_from([(1, 1), (2, 1), (20, 6), (500, 300)]))
def test_binary_output_does_no_harm(said: bytes, size: tuple[int, int]) -> None:
    screen = fed(b"\x1b[?1049h\x1b]0;x", said, columns=size[0], rows=size[1])
    painted = screen.repaint().removesuffix(screen.pending)
    assert ALLOWED.sub(b"", painted) == b""
    screen.feed(b"\x18" + screen.undo_sequence())
    assert screen.undo_sequence() == b""


def test_nothing_is_painted_that_is_not_seen() -> None:
    noise = b"\x07\x1b]52;c;Zm9v\x07\x1b]0;title\x07\x1b_Gi=1\x1b\\"
    queries = b"\x1b[c\x1b[>c\x1b[6n\x1b]11;?\x07\x1bP+q544e\x1b\\\x1b[?1$p"
    assert fed(noise, queries, b"seen").repaint() == fed(b"seen").repaint()


def test_the_alternate_screen_is_painted_over_the_main_one() -> None:
    screen = fed(b"$ vim\r\n\x1b[?1049h\x1b[2;3H~\x1b[31mfile")
    main, alternate = screen.repaint().split(b"\x1b[?1049h")
    assert Reference(20, 6, main).display[:2] == ["$ vim".ljust(20), " " * 20]
    assert (Reference(20, 6, main).cursor.x, Reference(20, 6, main).cursor.y) == (0, 1)
    assert Reference(20, 6, alternate).state["rows"] == Reference(20, 6, b"\x1b[2;3H~\x1b[31mfile").state["rows"]
    assert screen.alternate
    screen.feed(b"\x1b[?1049l")
    assert Reference(20, 6, screen.repaint()).state == Reference(20, 6, b"$ vim\r\n").state


def test_where_only_the_alternate_screen_is_known_the_main_one_is_left_as_it_is() -> None:
    screen = fed(b"\x1b[?1049h", b"\x1b[1;1H" + b"x" * MAX_TAIL, b"\x1b[2J\x1b[Hvim")
    painted = screen.repaint()
    assert b"\n" not in painted
    assert painted.index(b"\x1b[?1049h") < painted.index(b"vim")


def test_a_tail_that_begins_in_the_middle_shows_what_was_said_since() -> None:
    redrawn = b"".join(b"\x1b[%d;1H\x1b[3%dmrow %d\x1b[K" % (row, row, row) for row in range(1, 7))
    for cut in range(len(redrawn)):
        assert fed(redrawn[cut:], redrawn).repaint() == fed(redrawn).repaint()


def test_a_sequence_that_the_tail_begins_in_is_whole() -> None:
    nothing = b"\x1b[1;1H." * 7000
    screen = fed(nothing + b"\x1b[3;", b"1Hhere", *[nothing] * 5)
    assert Reference(20, 6, screen.repaint()).display[2].rstrip() == "here"


def test_what_was_set_before_the_tail_is_known() -> None:
    screen = fed(b"\x1b[2;5r\x1b[?7l\x1b[31m\x1b[?2004h", b"\r" + b"x" * MAX_TAIL * 2, b"\x1b[1;1H\x1b[2Jend")
    reference = Reference(20, 6, b"\x1b[2;5r\x1b[?7l\x1b[31m\x1b[?2004h\x1b[1;1H\x1b[2Jend")
    assert Reference(20, 6, screen.repaint()).state == reference.state


def test_rows_beyond_the_screen_are_not_looked_at() -> None:
    lines = b"".join(b"\x1b[%dmline %d\r\n" % (30 + number % 8, number) for number in range(40_000))
    assert Reference(20, 6, fed(lines).repaint()).state == Reference(20, 6, lines[-400:].partition(b"\r\n")[2]).state


def test_a_flood_is_not_kept() -> None:
    screen = ScreenTracker(80, 24)
    plain, coloured = b"y\r\n" * 20_000, b"\x1b[31mred\x1b[m\r\n" * 4000
    tracemalloc.start()
    for _ in range(100):
        screen.feed(plain)
        screen.feed(coloured)
        screen.feed(b"\xe6")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < MiB
    assert len(screen.repaint()) < 8000


def test_single_bytes_and_sizes_cost_no_more() -> None:
    tracemalloc.start()
    screen = ScreenTracker(80, 24)
    for number in range(20_000):
        screen.feed(b"\x1b[%dC" % (number % 7))
        if number % 2:
            screen.resize(80 + number % 3, 24)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < MiB


def test_a_size_counts_from_when_it_came() -> None:
    screen = fed(b"\x1b[6;1Hbottom", b"\x1b[1;1Htop", columns=10, rows=6)
    screen.resize(8, 3)
    assert (screen.columns, screen.rows) == (8, 3)
    screen.feed(b"\x1b[3;1H\x1b[2Knew\x1b[2;1H" + b"x" * 12)
    assert Reference(8, 3, screen.repaint()).display == ["top     ", "x" * 8, "xxxx    "]


def test_the_cursor_stays_where_a_terminal_has_fewer_rows() -> None:
    screen = fed(LINES, columns=10, rows=6)
    screen.resize(10, 3)
    assert Reference(10, 3, screen.repaint()).display == ["9".ljust(10), "10".ljust(10), " " * 10]


def test_a_scrolling_region_ends_with_its_size() -> None:
    screen = fed(b"\x1b[2;5r")
    screen.resize(20, 7)
    assert screen.undo_sequence() == b""


def test_an_unknown_size_is_that_of_an_old_terminal() -> None:
    assert (ScreenTracker(0, 0).columns, ScreenTracker(0, 0).rows) == (80, 24)


@pytest.mark.parametrize(
    ("said", "row"),
    [
        ("漢字\x1b[1;2Hx", " x字"),
        ("漢字\x1b[1;1Hx", "x 字"),
        ("漢字\x1b[1;2H\x1b[P", " 字"),
        ("漢字\x1b[1;3H\x1b[@", "漢 字"),
    ],
)
def test_half_of_a_wide_character_is_none(said: str, row: str) -> None:
    assert Reference(20, 6, fed(said.encode()).repaint()).display[0].rstrip() == row


def test_what_is_shown_before_scrolls_away_one_screen_at_most() -> None:
    assert fed(b"x").repaint().count(b"\n") == 6
    assert fed(b"x").repaint(rows=30).count(b"\n") == 30
    assert fed(b"x").repaint(rows=30).startswith(b"\x1b[?25l\x1b[?7l\x1b[30;1H\n")


@pytest.mark.parametrize(
    ("said", "title"),
    [(b"", None), (b"\x1b]0;one\x07\x1b]2;t\xc3\xb6\x1b\\", "tö"), (b"\x1b]1;icon\x07", None), (b"\x1b]2;\x07", "")],
)
def test_the_program_s_title_is_known(said: bytes, title: str | None) -> None:
    assert fed(said).title == title
