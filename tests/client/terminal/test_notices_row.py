"""A notice is shown and removed without a trace, as other terminal emulators judge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.terminal.notices import NoticeRow
from farhand_client.terminal.painting import row_content
from farhand_client.terminal.screen import ScreenTracker
from tests.support.reference_terminals import Reference, Tmux
from tests.support.terminal_output import COMMANDS, OUTPUTS, TEN_LINES

TEXT = "connection lost; ~. leaves"


def noticed(before: bytes, columns: int = 20, rows: int = 6, text: str = TEXT) -> tuple[bytes, bytes]:
    """Return the outputs that show and hide a notice after the output `before`."""
    screen = ScreenTracker(columns, rows)
    screen.feed(before)
    notice = NoticeRow(screen)
    shown = notice.show(text)
    return shown, notice.hide()


def without_title(reference: Reference) -> dict[str, object]:
    return {**reference.state, "title": ""}


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_notice_is_in_the_last_row_and_is_removed_without_a_trace(output: bytes) -> None:
    shown, hidden = noticed(output)
    noticed_screen = Reference(20, 6, output, shown)
    assert noticed_screen.display[-1] == TEXT[:20]
    assert all(noticed_screen.buffer[5][column].reverse for column in range(20))
    assert noticed_screen.display[:-1] == Reference(20, 6, output).display[:-1]
    assert (noticed_screen.cursor.y, noticed_screen.cursor.hidden) == (
        Reference(20, 6, output).cursor.y,
        b"?25l" in output,
    )
    assert noticed_screen.title == TEXT
    assert without_title(Reference(20, 6, output, shown, hidden)) == Reference(20, 6, output).state


@given(COMMANDS, st.integers(0, 40))
def test_later_output_is_shown_as_if_there_had_been_no_notice(output: list[bytes], at: int) -> None:
    before, after = b"".join(output[:at]), b"".join(output[at:])
    shown, hidden = noticed(before)
    one, other = Reference(20, 6, before, shown, hidden, after), Reference(20, 6, before, after)
    assert without_title(one) == without_title(other)


def state_of(screen: ScreenTracker) -> object:
    """Return what is visible and what the next character depends on."""
    shown = screen.emulator
    rows = [row_content(row, screen.columns) for row in shown.grid.rows]
    return rows, shown.x, shown.y, shown.wrapping, shown.settings.attributes


SPLIT = [
    "größe 漢字 😀 e\u0301".encode(),
    b"\x1b[31mred \x1b[38;5;123mpalette\x1b[m\x1b[2;5r\x1b[3;4Hthere\x1b[?25l\x1b[?2004h",
    b"\x1b]0;one\x07two\x1b]2;three\x1b\\four",
    b"\x1bP+q544e\x1b\\seen\x1b_Gi=1\x1b\\\x1b^x\x1b\\\x1bXy\x1b\\",
    b"\x1b[?1049h\x1b[H\x1b[2Jvim\x1b[6;1H\x1b[7mstatus\x1b[m\x1b[1;1H\x1b[?1049l$ ",
    b"\x1b[?1049h\x1b[31m--+\x1b[12b|\x1b[3;20H=\x1b[2b",
    b"\x1b[?1049h\x1b[4habcdef\x1b[1;2Hx\x1b[2b",
    b"\x1b[2;2Hone\x1b[s\x1b[4;4Htwo\x1b[uthree",
    b"\x1b7\x1b[5;5Hx\x1b8\x1b(0lqk\x1b(B\x1b#8",
]


@pytest.mark.parametrize("output", SPLIT)
def test_a_split_sequence_is_completed_after_the_notice(output: bytes) -> None:
    whole = ScreenTracker(20, 6)
    whole.feed(output)
    for at in range(len(output)):
        screen = ScreenTracker(20, 6)
        screen.feed(output[:at])
        notice = NoticeRow(screen)
        # Another tracker plays the terminal.
        terminal = ScreenTracker(20, 6)
        for data in (output[:at], notice.show(TEXT), notice.hide(), output[at:]):
            terminal.feed(data)
        assert (state_of(terminal), terminal.undo_sequence()) == (state_of(whole), whole.undo_sequence())


def test_the_rest_of_a_sequence_too_long_to_repeat_is_not_shown() -> None:
    begin = b"seen\x1bPq" + b"#0;" * 5000
    shown, hidden = noticed(begin)
    terminal = ScreenTracker(20, 6)
    for data in (begin, shown, hidden, b"#0;" * 100, b"\x1b", b"\\", b" again"):
        terminal.feed(data)
    assert Reference(20, 6, terminal.repaint()).display[0].rstrip() == "seen again"


@pytest.mark.parametrize(
    ("output", "restoring"), [(b"", b"\x1b[23;2t"), (b"\x1b]2;mine\x07", b"\x1b[23;2t\x1b]2;mine\x07")]
)
def test_the_title_is_restored(output: bytes, restoring: bytes) -> None:
    shown, hidden = noticed(output)
    assert b"\x1b[22;2t\x1b]2;" + TEXT.encode() + b"\x07" in shown
    assert restoring in hidden


def test_a_second_text_replaces_the_first() -> None:
    screen = ScreenTracker(20, 6)
    screen.feed(TEN_LINES + b"\x1b[3")
    notice = NoticeRow(screen)
    assert notice.hide() == b""
    first, second = notice.show("one"), notice.show("two")
    was_shown, hidden = notice.shown, notice.hide()
    assert (was_shown, notice.shown) == (True, False)
    assert (first.count(b"\x18"), first.count(b"\x1b[22;2t")) == (1, 1)
    assert (second.count(b"\x18"), second.count(b"\x1b[22;2t")) == (0, 0)
    assert Reference(20, 6, TEN_LINES, first, second).display[-1].rstrip() == "two"
    assert (
        without_title(Reference(20, 6, TEN_LINES, first, second, hidden, b"1m"))
        == Reference(20, 6, TEN_LINES, b"\x1b[31m").state
    )
    assert notice.hide() == b""


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("a\x1b[31mb\x07c\n\u202e\x9bd", "a[31mbcd  "),
        ("漢字漢字漢字", "漢字漢字漢"),
        ("x漢字漢字漢字", "x漢字漢字 "),
        ("", " " * 10),
    ],
)
def test_a_text_is_made_printable_and_cut_to_the_row(text: str, row: str) -> None:
    shown, _ = noticed(b"", 10, 4, text)
    assert Reference(10, 4, shown).display[-1] == row


@given(st.binary(max_size=200), st.sampled_from([(1, 1), (2, 1), (1, 3), (500, 300), (65535, 65535)]))
def test_a_notice_works_after_any_output_at_any_size(output: bytes, size: tuple[int, int]) -> None:
    shown, hidden = noticed(output, *size)
    # The row is at most as wide as the emulator draws.
    assert len(shown) < 2000
    assert len(hidden) < 4000 + len(output) * 2


def test_a_notice_works_on_a_terminal_of_one_character() -> None:
    for output in (b"x", "漢".encode(), b"\x1b[?6h\x1b[4h\x1b[?7lab", b"\r\n\x1b[5;5H\t"):
        shown, hidden = noticed(output, 1, 1)
        assert Reference(1, 1, output, shown).display == ["c"]
        if output == b"x":
            assert without_title(Reference(1, 1, output, shown, hidden, b"y")) == Reference(1, 1, output, b"y").state


@pytest.fixture(scope="module")
def tmux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tmux]:
    pane = Tmux(tmp_path_factory.mktemp("tmux"))
    yield pane
    pane.close()


IN_TMUX = [
    b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?1000h\x1b[2;5r\x1b[?6h\x1b[3;3Hwide " + "漢字 ─│".encode() + b"\x1b[44m\x1b[K",
    b"$ vim\r\n\x1b[?1049h\x1b[H\x1b[2J~\r\n~\x1b[6;1H\x1b[7mstatus line\x1b[m\x1b[2;3H",
    TEN_LINES + b"\x1b[41m\x1b[2;1H\x1b[2S\x1b[T\x1b[m\x1b[4h" + b"inserted",
    b"a" * 19 + "漢".encode() + b"b" * 19 + "e\u0301".encode(),
    "漢字\x1b[1;1Hx\x1b[2;1H漢字\x1b[2;3Hy".encode(),
    b"\x1b[?1049hold\x1b[?1049lmain\x1b[?1049h\x1b[3;3Hnew",
    b"\x1b[2;5r\x1b[4;4H\x1b[?6hx",
    b"\x1b[3;4r\x1b[2;1H\x1b[5Aabove\x1b[5;1H\x1b[5Bbelow\x1b[3;1H\x1b[9Ain\x1b[9Bin",
    b"c" * 19 + "e\u0301\r\nnext".encode(),
    b"\x1b[2mdim \x1b[9mstruck \x1b[53mover \x1b[21mdouble\x1b[m\x1b[8mhidden\x1b[28m",
    b"x\x1b[7b\x1b[3Z|\x1b[2E.\x1b[F,\x1b[5`-",
    b"\x1b[4;4Hsaved\x1b7\x1b[31m\x1b[1;1Hhere",
    b"\x1b[2;4r\x1b[4;1H\x1b[42ma\nb\nc\x1bM\x1bM\x1bM\x1bM",
]


@pytest.mark.needs("tmux")
@pytest.mark.parametrize("output", IN_TMUX)
def test_tmux_shows_and_restores_the_same(tmux: Tmux, output: bytes) -> None:
    expected = tmux.shown(20, 6, output)
    screen = ScreenTracker(20, 6)
    screen.feed(output)
    assert tmux.shown(20, 6, screen.repaint()) == expected
    shown, hidden = noticed(output)
    rows, flags = tmux.shown(20, 6, output + shown)
    assert "".join(char for char, _ in rows[5]) == TEXT[:20].rstrip()
    assert flags == expected[1].replace("title=before", f"title={TEXT}")
    assert tmux.shown(20, 6, output + shown + hidden) == expected


@pytest.mark.needs("tmux")
@pytest.mark.parametrize(
    "output",
    [b"\x1b[31mr\xc3\xb6t\x1b[m", b"\x1b]2;before\x07x", b"\x1bP$qm\x1b\\y", b"a\x1b[12;40Hb\x1b(B", b"\x1b[>4;2mz"],
)
def test_tmux_completes_a_split_sequence(tmux: Tmux, output: bytes) -> None:
    expected = tmux.shown(20, 6, output)
    for at in range(1, len(output)):
        shown, hidden = noticed(output[:at])
        assert tmux.shown(20, 6, output[:at] + shown + hidden + output[at:]) == expected, at
