"""Messages and results of the client itself."""

from __future__ import annotations

import pytest

from farhand_client.ui.printing import print_message


def test_a_message_with_a_newline_cannot_look_like_two_messages(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("no\nfarhand: yes\x07")
    assert capsys.readouterr().err == "farhand: no\n  farhand: yes\\x07\n"
