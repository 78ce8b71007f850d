"""What is ours on the terminal."""

from __future__ import annotations

import pytest

from farhand_client.ui.printing import print_message
from farhand_client.ui.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Übung 日本", "plain Übung 日本"),
        ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil", "\\u202eevil"),
        ("\udcff", "\\udcff"),
    ],
)
def test_nothing_of_ours_makes_the_terminal_do_something(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_sentence_of_the_service_cannot_pass_for_another(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("no\nfarhand: yes\x07")
    assert capsys.readouterr().err == "farhand: no\n  farhand: yes\\x07\n"
