"""Where the client's files are."""

from __future__ import annotations

import pytest

from farhand_client.directories import CONFIG_DIRECTORY, STATE_DIRECTORY, directory, home


@pytest.mark.parametrize(
    ("which", "variable", "default"),
    [(CONFIG_DIRECTORY, "XDG_CONFIG_HOME", ".config"), (STATE_DIRECTORY, "XDG_STATE_HOME", ".local/state")],
)
def test_the_variable_counts_if_its_path_is_absolute(
    monkeypatch: pytest.MonkeyPatch, which: tuple[str, str], variable: str, default: str
) -> None:
    monkeypatch.setenv(variable, "/somewhere")
    assert directory(which, None) == directory(which, "/home/ann") == "/somewhere/farhand"
    for text in ("", "relative"):
        monkeypatch.setenv(variable, text)
        assert directory(which, "/home/ann") == f"/home/ann/{default}/farhand"
        assert directory(which, None) is None


def test_without_a_home_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert home() == "/home/ann"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # has no account
    assert home() is None
