"""What is said of terminals: their names, modes and sizes, who may say a size, and how much may be under way to one."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol.channel import output_window
from farhand_protocol.connection import ConnectionFailed
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import MAX_WINDOW, MIN_DATA, MIN_MESSAGE, MIN_WINDOW, TERMINAL_WINDOW, KiB, Limits
from farhand_protocol.states import TERMINAL_ONLY, Phase, Side
from tests.support.pairs import RUN_ID, SIZE, TERMINAL, Pair, in_phase, message, run, sent, terminal_run

FRAME = 64 * KiB
ZEROS = bytes(FRAME)
RESIZE = m.Resize(columns=132, rows=43)
WATCHING = m.Attach(id=RUN_ID, stdout=0, size=SIZE, read_only=True)
TYPING = m.Attach(id=RUN_ID, stdout=0, stdin=0, size=SIZE)
PLAIN = [run(), run(merge_stderr=True), m.Attach(id=RUN_ID, stdout=0, stdin=0), m.Attach(id=RUN_ID, stdout=0)]

names = st.from_regex(r"[A-Za-z0-9.+_-]{1,64}", fullmatch=True)
cells = st.integers(0, 0xFFFF)
sizes = st.builds(m.WindowSize, columns=cells, rows=cells)
modes = (
    st.lists(st.sampled_from(get_args(m.ModeName)), unique=True)
    .flatmap(lambda found: st.tuples(*(_mode(name) for name in found)))
    .map(tuple)
)
terminals = st.builds(m.TerminalRequest, name=names, size=sizes, modes=modes)


def _mode(name: str) -> st.SearchStrategy[tuple[str, int]]:
    return st.tuples(st.just(name), st.integers(0, 255 if name.startswith("V") else 1))


def failed(receiver: Side, opening: m.AnyMessage, *bad: bytes) -> ErrorCode:
    """What `receiver` makes of `bad` on a channel with this opening, on which the service has said `started`."""
    connection = in_phase(receiver, Phase.READY)
    if receiver is Side.CLIENT:
        connection.open(opening)
        list(connection.receive_data(message(1, m.Started(pid=1))))
    else:
        list(connection.receive_data(message(1, opening)))
    events = list(connection.receive_data(b"".join(bad)))
    assert isinstance(events[-1], ConnectionFailed)
    return events[-1].error.code


class TestTerminal:
    @given(terminals)
    def test_every_terminal_travels(self, terminal: m.TerminalRequest) -> None:
        request = terminal_run(terminal=terminal, record_input=True)
        assert m.decode(m.encode(request), Limits()) == request

    @given(st.text(max_size=70))
    def test_a_name_is_letters_digits_and_a_few_signs_or_is_none(self, name: str) -> None:
        allowed = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+_-")
        if 1 <= len(name) <= 64 and set(name) <= allowed:
            assert m.TerminalRequest(name=name, size=SIZE).name == name
        else:
            with pytest.raises(ValueError, match="name"):
                m.TerminalRequest(name=name, size=SIZE)

    @pytest.mark.parametrize("name", ["xterm-256color", "screen.xterm+256_color", "x" * 64, "-", ".", "9"])
    def test_names_that_do(self, name: str) -> None:
        assert m.TerminalRequest(name=name, size=SIZE).name == name

    @pytest.mark.parametrize("name", ["../../x", "xterm\n", "\nxterm", "", "x" * 65, "a/b", "xterm\0", "xterm x", "é"])
    def test_names_that_do_not(self, name: str) -> None:
        with pytest.raises(ValueError, match="name"):
            m.TerminalRequest(name=name, size=SIZE)

    def test_all_modes_at_once_are_fewer_than_may_be_said(self) -> None:
        every: list[m.ModeName] = list(get_args(m.ModeName))
        assert len(m.TerminalRequest(name="xterm", size=SIZE, modes=tuple((name, 1) for name in every)).modes) == len(
            every
        )
        assert len(every) <= 64

    @pytest.mark.parametrize(("name", "value"), [("VINTR", 255), ("VINTR", 0), ("ECHO", 1), ("ECHO", 0)])
    def test_characters_have_codes_and_flags_are_on_or_off(self, name: m.ModeName, value: int) -> None:
        assert m.TerminalRequest(name="xterm", size=SIZE, modes=((name, value),)).modes == ((name, value),)

    @pytest.mark.parametrize("modes", [(("ECHO", 2),), (("VINTR", 256),), (("VINTR", -1),), (("ECHO", 0), ("ECHO", 0))])
    def test_what_no_mode_has(self, modes: tuple[tuple[m.ModeName, int], ...]) -> None:
        with pytest.raises(ValueError, match="modes"):
            m.TerminalRequest(name="xterm", size=SIZE, modes=modes)

    def test_a_run_with_every_mode_and_no_arguments_fits_what_every_peer_takes(self) -> None:
        every: list[m.ModeName] = list(get_args(m.ModeName))
        terminal = m.TerminalRequest(name="x" * 64, size=SIZE, modes=tuple((name, 1) for name in every))
        request = m.RunRequest(id=RUN_ID, login=True, stdin=True, merge_stderr=True, terminal=terminal)
        assert len(m.encode(request)) < MIN_MESSAGE // 8


class TestRun:
    @pytest.mark.parametrize("changes", [{"stdin": False}, {"merge_stderr": False}])
    def test_a_terminal_has_stdin_and_one_output(self, changes: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="a terminal has stdin, and stderr merged"):
            terminal_run(**changes)

    @pytest.mark.parametrize(
        "command",
        [{}, {"argv": (b"a",), "login": True}, {"shell": b"a", "login": True}, {"argv": (b"a",), "shell": b"a"}],
    )
    def test_there_is_one_command(self, command: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="exactly one of argv, shell and login"):
            m.RunRequest.model_validate({"id": RUN_ID} | command)

    def test_a_login_needs_no_terminal(self) -> None:
        assert m.RunRequest(id=RUN_ID, login=True).terminal is None

    @pytest.mark.parametrize("changes", [{"share": True}, {"share": True, "stdin": 0}, {"share": True, "size": SIZE}])
    def test_who_shares_types_and_shows(self, changes: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="share needs stdin and size"):
            m.Attach.model_validate({"id": RUN_ID} | changes)

    def test_a_reader_may_show_the_terminal(self) -> None:
        assert WATCHING.size == SIZE


class TestResize:
    def test_it_belongs_to_terminals(self) -> None:
        assert {m.Resize} == TERMINAL_ONLY

    @given(st.lists(st.builds(m.Resize, columns=cells, rows=cells), max_size=5))
    def test_both_sides_say_sizes_on_the_channel_of_a_terminal(self, said: list[m.Resize]) -> None:
        for opening in (terminal_run(), TYPING):
            pair = Pair.ready()
            pair.start(opening)
            for resize in said:
                pair.client.send(1, resize)
                pair.server.send(1, resize)
            assert sorted(pair.deliver()) == ["client 1: resize"] * len(said) + ["server 1: resize"] * len(said)

    @pytest.mark.parametrize("side", Side)
    @pytest.mark.parametrize("opening", PLAIN)
    def test_it_is_nobodys_to_say_without_a_terminal(self, side: Side, opening: m.RunRequest | m.Attach) -> None:
        assert failed(side.peer, opening, message(1, RESIZE)) is ErrorCode.NOT_LEGAL
        pair = Pair.ready()
        pair.start(opening)
        with pytest.raises(LocalProtocolError):
            pair.end(side).send(1, RESIZE)
        assert pair.end(side).queued == 0

    def test_a_reader_receives_sizes_and_sends_none(self) -> None:
        pair = Pair.ready()
        pair.start(WATCHING)
        pair.server.send(1, RESIZE)
        assert pair.deliver() == ["server 1: resize"]
        assert failed(Side.SERVER, WATCHING, message(1, RESIZE)) is ErrorCode.NOT_LEGAL
        with pytest.raises(LocalProtocolError):
            pair.client.send(1, RESIZE)

    def test_a_client_need_not_wait_for_started_and_the_service_has_to(self) -> None:
        pair = Pair.ready()
        pair.client.open(terminal_run())
        pair.client.send(1, RESIZE)
        assert pair.deliver() == ["client 1: run", "client 1: resize"]
        with pytest.raises(LocalProtocolError):
            pair.server.send(1, RESIZE)
        client = in_phase(Side.CLIENT, Phase.READY)
        client.open(terminal_run())
        (failure,) = client.receive_data(message(1, RESIZE))
        assert isinstance(failure, ConnectionFailed)
        assert failure.error.code is ErrorCode.NOT_LEGAL

    @pytest.mark.parametrize("side", Side)
    def test_it_overtakes_what_waits(self, side: Side) -> None:
        pair = Pair.ready()
        pair.start(terminal_run())
        pair.end(side).send_data(1, "stdin" if side is Side.CLIENT else "stdout", b"typed or written before")
        pair.end(side).send(1, RESIZE)
        assert [frame.kind is Kind.MESSAGE for frame in sent(pair.end(side))] == [True, False]


class TestWindow:
    """Both ends have the same window from the opening message alone."""

    windows = (
        st.none() | st.sampled_from([MIN_WINDOW, TERMINAL_WINDOW, MAX_WINDOW]) | st.integers(MIN_WINDOW, MAX_WINDOW)
    )
    announced = st.sampled_from([MIN_DATA, MIN_WINDOW, TERMINAL_WINDOW, 1 << 22]) | st.integers(FRAME, 1 << 22)

    @given(windows, announced)
    def test_it_is_the_smaller_of_what_was_asked_and_announced(self, window: int | None, announced: int) -> None:
        limits = Limits(data=min(FRAME, announced), window=announced)
        for opening in (run(window=window), m.Attach(id=RUN_ID, stdin=0, stdout=9, stderr=0, window=window)):
            expected = announced if window is None else min(announced, window)
            assert output_window(opening, announced) == expected
            pair = Pair.ready(limits)
            pair.start(opening)
            assert _fill(pair, Side.SERVER, "stdout") == expected
            assert _fill(pair, Side.SERVER, "stderr") == expected
            assert _fill(pair, Side.CLIENT, "stdin") == announced
            assert not any("failed" in line for line in pair.deliver())

    @pytest.mark.parametrize("opening", [run(window=MIN_WINDOW), m.Attach(id=RUN_ID, stdout=9, window=MIN_WINDOW)])
    def test_a_byte_beyond_it_is_an_error_on_both_ends(self, opening: m.RunRequest | m.Attach) -> None:
        whole, more = encode_frame(Kind.STDOUT, 1, bytes(MIN_WINDOW)), encode_frame(Kind.STDOUT, 1, b"x")
        assert failed(Side.CLIENT, opening, whole, more) is ErrorCode.CREDIT_EXCEEDED
        pair = Pair.ready()
        pair.start(opening)
        pair.server.send_data(1, "stdout", bytes(MIN_WINDOW))
        with pytest.raises(LocalProtocolError):
            pair.server.send_data(1, "stdout", b"x")

    @pytest.mark.parametrize("opening", [run(), m.Attach(id=RUN_ID, stdin=0, stdout=9, size=SIZE)])
    def test_the_same_byte_is_none_without_it(self, opening: m.RunRequest | m.Attach) -> None:
        pair = Pair.ready()
        pair.start(opening)
        pair.server.send_data(1, "stdout", bytes(MIN_WINDOW))
        pair.server.send_data(1, "stdout", b"x")
        assert not any("failed" in line for line in pair.deliver())

    def test_what_was_taken_of_it_is_acknowledged_a_quarter_at_a_time(self) -> None:
        pair = Pair.ready()
        pair.start(terminal_run(window=TERMINAL_WINDOW))
        _fill(pair, Side.SERVER, "stdout")
        pair.deliver()
        pair.client.acknowledge(1, "stdout", TERMINAL_WINDOW // 4 - 1)
        assert pair.deliver() == []
        assert pair.server.room(1, "stdout") == 0
        pair.client.acknowledge(1, "stdout", 1)
        assert pair.deliver() == ["client 1: credit"]
        assert _fill(pair, Side.SERVER, "stdout") == TERMINAL_WINDOW // 4

    def test_two_channels_of_one_connection_have_each_their_own(self) -> None:
        pair = Pair.ready()
        shell, copy = pair.start(terminal_run(window=TERMINAL_WINDOW)), pair.start(run())
        assert _fill(pair, Side.SERVER, "stdout", shell) == TERMINAL_WINDOW
        assert _fill(pair, Side.SERVER, "stdout", copy) == Limits().window


def _fill(pair: Pair, side: Side, stream: m.Stream, channel: int = 1) -> int:
    """Send as much as there is credit for; return how much that was."""
    sent = 0
    while room := pair.end(side).room(channel, stream):
        pair.end(side).send_data(channel, stream, ZEROS[:room])
        sent += room
    return sent


class TestMarks:
    @pytest.mark.parametrize(
        "mark",
        [
            {"at": -1},
            {"at": 0.5},
            {"at": 0, "stdout": -1},
            {"at": 0, "stdin": b"x" * (m.MAX_MARK_STDIN + 1)},
            {"at": 0, "size": {"columns": 1}},
            {"at": 0, "x": 1},
            {},
        ],
    )
    def test_what_is_no_mark(self, mark: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="Mark"):
            m.OutputMark.model_validate(mark)

    def test_recorded_stdin_may_be_any_bytes(self) -> None:
        every = bytes(range(256))
        payload = m.encode(m.OutputMarks(marks=(m.OutputMark(at=0, stdin=every),)))
        assert json.loads(payload)["marks"][0].keys() == {"at", "stdin"}
        found = m.decode(payload, Limits())
        assert isinstance(found, m.OutputMarks)
        assert found.marks[0].stdin == every


def test_a_listing_says_the_size_of_a_terminal() -> None:
    fields = {"id": RUN_ID, "owner": "ada", "command": "vim", "began": 1.0, "duration": 2.0, "stdout": 0, "stderr": 0}
    listed = m.Runs(runs=(m.RunInfo.model_validate(fields | {"terminal": TERMINAL.size}),))
    assert m.decode(m.encode(listed), Limits()) == listed
