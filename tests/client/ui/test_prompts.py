"""Questions are asked only of a person who sees them, and only `yes` confirms a key."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.errors import HostKeyUnknown
from farhand_client.ui import prompts
from tests.support.tls import tls


@pytest.fixture
def unknown(tmp_path: Path) -> HostKeyUnknown:
    _, key = tls(tmp_path / "state")
    return HostKeyUnknown("not known", name="web", key=key)


async def test_without_a_terminal_no_question_is_asked(
    unknown: HostKeyUnknown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.isatty", lambda fd: False)
    assert not await prompts.confirm_host_key(unknown)
    assert await prompts.ask_passphrase("Passphrase: ") is None


@pytest.mark.parametrize(
    ("answer", "confirmed"), [("yes", True), (" YES ", True), ("y", False), ("no", False), ("", False), (None, False)]
)
async def test_only_yes_confirms_a_key(
    unknown: HostKeyUnknown, monkeypatch: pytest.MonkeyPatch, answer: str | None, confirmed: bool
) -> None:
    shown: list[str] = []

    async def ask(prompt: str, *, echo: bool = True) -> str | None:
        shown.append(prompt)
        return answer

    monkeypatch.setattr(prompts, "can_ask", lambda: True)
    monkeypatch.setattr(prompts, "ask", ask)
    assert await prompts.confirm_host_key(unknown) is confirmed
    assert "The host key of web is not known" in shown[0]
    assert unknown.fingerprint in shown[0]


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The keyboard of the person at the controlling terminal."""
    keyboard, terminal = os.openpty()
    monkeypatch.setattr("os.open", lambda path, flags: os.dup(terminal))
    yield keyboard
    os.close(keyboard)
    os.close(terminal)


@pytest.mark.parametrize("echo", [True, False])
async def test_the_line_that_is_typed_is_returned_and_echoed_only_on_request(tty: int, echo: bool) -> None:
    asked = asyncio.create_task(prompts.ask("Name: ", echo=echo))
    await asyncio.sleep(0)
    assert os.read(tty, 100) == b"Name: "
    # The prompt is written after the echo is switched off.
    os.write(tty, b"ann\n")
    assert await asked == "ann"
    assert os.read(tty, 100) == (b"ann\r\n" if echo else b"\r\n")
    assert termios.tcgetattr(tty)[3] & termios.ECHO


async def test_end_of_input_is_no_answer(tty: int) -> None:
    asked = asyncio.create_task(prompts.ask("Name: "))
    await asyncio.sleep(0)
    os.write(tty, b"\x04")
    assert await asked is None


async def test_without_a_controlling_terminal_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, flags: int) -> int:
        raise OSError(errno.ENXIO, "No such device or address")

    monkeypatch.setattr("os.open", fail)
    assert await prompts.ask("Name: ") is None
