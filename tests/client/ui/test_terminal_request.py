"""The terminal and locale requested for a remote program are those of the user."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from farhand_client.terminal.local import LocalTerminal
from farhand_client.ui.terminal_request import locale_variables, terminal_request
from farhand_protocol.messages.terminal import WindowSize


@pytest.mark.parametrize(("term", "name"), [("xterm-256color", "xterm-256color"), ("", "dumb"), (None, "dumb")])
def test_without_a_local_terminal_one_of_80x24_is_requested(
    monkeypatch: pytest.MonkeyPatch, term: str | None, name: str
) -> None:
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    request = terminal_request(None)
    assert (request.name, request.size.columns, request.size.rows) == (name, 80, 24)
    assert terminal_request(None, (132, 50)).size.columns == 132


@pytest.mark.parametrize("term", ["../../x", "a b", "x" * 65])
def test_a_wrong_terminal_name_is_refused(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    with pytest.raises(ValueError, match="is not the name of a terminal"):
        terminal_request(None)


def test_only_lang_and_lc_variables_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("LANGUAGE", "de")
    variables = locale_variables()
    assert (variables[b"LANG"], variables[b"LC_TIME"]) == (b"de_DE.UTF-8", b"C")
    assert b"LANGUAGE" not in variables


def test_a_terminal_like_the_local_one_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here:
        size = WindowSize(columns=100, rows=40)
        modes = (("ECHO", 0),)

    monkeypatch.setenv("TERM", "xterm")
    request = terminal_request(cast(LocalTerminal, Here()), (1, 1))
    assert (request.name, request.size, request.modes) == ("xterm", Here.size, Here.modes)


def test_an_lc_ctype_that_python_has_set_itself_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # In the C locale Python sets LC_CTYPE (PEP 538): it is in os.environ, but not in the environment at the start.
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    given = b"\0LC_CTYPE=" in b"\0" + Path("/proc/self/environ").read_bytes()
    assert (b"LC_CTYPE" in locale_variables()) is given
