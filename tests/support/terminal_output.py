"""Output of programs for tests of the terminal: examples, and a strategy for any number of commands."""

from __future__ import annotations

from hypothesis import strategies as st

TEN_LINES = b"".join(b"%d\r\n" % number for number in range(1, 11))
OUTPUTS = [
    b"",
    b"hello",
    b"hello\r\nworld\r\n",
    TEN_LINES,
    b"x" * 20,
    b"x" * 21,
    b"x" * 20 + b"\x1b[K",
    b"x" * 20 + b"\r\n" + b"y" * 120,
    TEN_LINES + b"\x1b[1;1Ha\r\n" * 8,
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
    TEN_LINES + b"\x1b[2;2H\x1b[2L\x1b[3@\x1b[2X\x1b[1P\x1b[4;1H\x1b[M",
    b"\x1b[?5h\x1b[?5l\x1b[?1000h\x1b=\x1b[?2004h",
    b"a\tb\tc\x08d\x1b[3g\te\x1b[5G\x1bH\r\tf",
]
"""Outputs that cover what the emulator draws, for a terminal of 20 columns and 6 rows."""


def commands(columns: int, rows: int) -> st.SearchStrategy[bytes]:
    """Output that pyte processes as terminals do, one command of it. pyte does not scroll with a background colour."""
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


COMMANDS = st.lists(commands(20, 6), max_size=40)
"""For a terminal of 20 columns and 6 rows."""
