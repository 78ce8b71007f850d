"""Messages about terminals: names, modes, sizes and marks, and what a terminal demands of a run."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol.limits import MIN_MESSAGE, Limits
from tests.support.pairs import RUN_ID, SIZE, TERMINAL, terminal_run

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


class TestTerminal:
    @given(terminals)
    def test_every_terminal_is_received_as_sent(self, terminal: m.TerminalRequest) -> None:
        request = terminal_run(terminal=terminal, record_input=True)
        assert m.decode(m.encode(request), Limits()) == request

    @given(st.text(max_size=70))
    def test_a_terminal_name_has_only_letters_digits_and_four_signs(self, name: str) -> None:
        allowed = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+_-")
        if 1 <= len(name) <= 64 and set(name) <= allowed:
            assert m.TerminalRequest(name=name, size=SIZE).name == name
        else:
            with pytest.raises(ValueError, match="name"):
                m.TerminalRequest(name=name, size=SIZE)

    @pytest.mark.parametrize("name", ["xterm-256color", "screen.xterm+256_color", "x" * 64, "-", ".", "9"])
    def test_valid_terminal_names_are_accepted(self, name: str) -> None:
        assert m.TerminalRequest(name=name, size=SIZE).name == name

    @pytest.mark.parametrize("name", ["../../x", "xterm\n", "\nxterm", "", "x" * 65, "a/b", "xterm\0", "xterm x", "é"])
    def test_invalid_terminal_names_are_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="name"):
            m.TerminalRequest(name=name, size=SIZE)

    def test_all_modes_fit_one_request(self) -> None:
        every: list[m.ModeName] = list(get_args(m.ModeName))
        assert len(m.TerminalRequest(name="xterm", size=SIZE, modes=tuple((name, 1) for name in every)).modes) == len(
            every
        )
        assert len(every) <= 64

    @pytest.mark.parametrize(("name", "value"), [("VINTR", 255), ("VINTR", 0), ("ECHO", 1), ("ECHO", 0)])
    def test_characters_have_codes_and_flags_are_on_or_off(self, name: m.ModeName, value: int) -> None:
        assert m.TerminalRequest(name="xterm", size=SIZE, modes=((name, value),)).modes == ((name, value),)

    @pytest.mark.parametrize("modes", [(("ECHO", 2),), (("VINTR", 256),), (("VINTR", -1),), (("ECHO", 0), ("ECHO", 0))])
    def test_invalid_modes_are_refused(self, modes: tuple[tuple[m.ModeName, int], ...]) -> None:
        with pytest.raises(ValueError, match="modes"):
            m.TerminalRequest(name="xterm", size=SIZE, modes=modes)

    def test_a_run_with_every_mode_and_no_arguments_fits_the_smallest_peer(self) -> None:
        every: list[m.ModeName] = list(get_args(m.ModeName))
        terminal = m.TerminalRequest(name="x" * 64, size=SIZE, modes=tuple((name, 1) for name in every))
        request = m.RunRequest(id=RUN_ID, login=True, stdin=True, merge_stderr=True, terminal=terminal)
        assert len(m.encode(request)) < MIN_MESSAGE // 8


class TestRunOnATerminal:
    @pytest.mark.parametrize("changes", [{"stdin": False}, {"merge_stderr": False}])
    def test_a_terminal_has_stdin_and_one_output(self, changes: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="a terminal has stdin, and stderr merged"):
            terminal_run(**changes)

    @pytest.mark.parametrize(
        "command",
        [{}, {"argv": (b"a",), "login": True}, {"shell": b"a", "login": True}, {"argv": (b"a",), "shell": b"a"}],
    )
    def test_a_run_has_exactly_one_command(self, command: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="exactly one of argv, shell, login, transfer and forward"):
            m.RunRequest.model_validate({"id": RUN_ID} | command)

    def test_a_login_needs_no_terminal(self) -> None:
        assert m.RunRequest(id=RUN_ID, login=True).terminal is None

    @pytest.mark.parametrize("changes", [{"share": True}, {"share": True, "stdin": 0}, {"share": True, "size": SIZE}])
    def test_share_needs_stdin_and_size(self, changes: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="share needs stdin and size"):
            m.Attach.model_validate({"id": RUN_ID} | changes)

    def test_a_read_only_attachment_may_show_the_terminal(self) -> None:
        assert m.Attach(id=RUN_ID, stdout=0, size=SIZE, read_only=True).size == SIZE


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
    def test_invalid_marks_are_refused(self, mark: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="Mark"):
            m.OutputMark.model_validate(mark)

    def test_recorded_stdin_may_be_any_bytes(self) -> None:
        every = bytes(range(256))
        payload = m.encode(m.OutputMarks(marks=(m.OutputMark(at=0, stdin=every),)))
        assert json.loads(payload)["marks"][0].keys() == {"at", "stdin"}
        found = m.decode(payload, Limits())
        assert isinstance(found, m.OutputMarks)
        assert found.marks[0].stdin == every


def test_a_listing_contains_the_size_of_a_terminal() -> None:
    fields = {"id": RUN_ID, "owner": "ada", "command": "vim", "began": 1.0, "duration": 2.0, "stdout": 0, "stderr": 0}
    listed = m.Runs(runs=(m.RunInfo.model_validate(fields | {"terminal": TERMINAL.size}),))
    assert m.decode(m.encode(listed), Limits()) == listed
