"""Questions are asked only of a person who sees them, and only `yes` confirms a key."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client import caller
from farhand_client.errors import HostKeyUnknown
from farhand_client.ui import prompts
from tests.support.tls import tls


@pytest.fixture
def unknown(tmp_path: Path) -> HostKeyUnknown:
    _, key = tls(tmp_path / "state")
    return HostKeyUnknown("not known", name="web", key=key)


@pytest.fixture
def no_tty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the controlling terminal away, should there be one."""
    opened = os.open

    def refuse(path: str, flags: int, *args: int) -> int:
        if path == "/dev/tty":
            raise OSError(errno.ENXIO, "No such device or address")
        return opened(path, flags, *args)

    monkeypatch.setattr("os.open", refuse)


async def test_without_a_terminal_no_question_is_asked(
    unknown: HostKeyUnknown, monkeypatch: pytest.MonkeyPatch, no_tty: None
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
    opened = os.open

    def open_terminal(path: str, flags: int, *args: int) -> int:
        return os.dup(terminal) if path == "/dev/tty" else opened(path, flags, *args)

    monkeypatch.setattr("os.open", open_terminal)
    yield keyboard
    os.close(keyboard)
    os.close(terminal)


def read(tty: int, expected: bytes) -> bool:
    """Read as much as is expected; return whether it is that. The kernel passes an echo on in parts."""
    data = b""
    while len(data) < len(expected):
        data += os.read(tty, len(expected) - len(data))
    return data == expected


@pytest.mark.parametrize("echo", [True, False])
async def test_the_line_that_is_typed_is_returned_and_echoed_only_on_request(tty: int, echo: bool) -> None:
    asked = asyncio.create_task(prompts.ask("Name: ", echo=echo))
    await asyncio.sleep(0)
    assert os.read(tty, 100) == b"Name: "
    # The prompt is written after the echo is switched off.
    os.write(tty, b"ann\n")
    assert await asked == "ann"
    assert read(tty, b"ann\r\n" if echo else b"\r\n")
    assert termios.tcgetattr(tty)[3] & termios.ECHO


async def test_end_of_input_is_an_empty_answer(tty: int) -> None:
    asked = asyncio.create_task(prompts.ask("Name: "))
    await asyncio.sleep(0)
    os.write(tty, b"\x04")
    assert await asked == ""


async def test_without_a_controlling_terminal_there_is_no_answer(no_tty: None) -> None:
    assert await prompts.ask("Name: ") is None


async def test_a_background_job_is_not_stopped_by_a_question(tty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.tcgetpgrp", lambda fd: os.getpgrp() + 1)
    assert await prompts.ask_passphrase("Passphrase: ") is None


async def test_a_passphrase_is_asked_for_without_echo(tty: int) -> None:
    asked = asyncio.create_task(prompts.ask_passphrase("Passphrase: "))
    await asyncio.sleep(0)
    assert os.read(tty, 100) == b"Passphrase: "
    os.write(tty, b"sec\xffret\n")
    assert await asked == "sec\udcffret"
    assert read(tty, b"\r\n")


async def test_a_terminal_that_hangs_up_during_the_question_is_the_end_of_input(tty: int) -> None:
    asked = asyncio.create_task(prompts.ask("Passphrase: ", echo=False))
    await asyncio.sleep(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, tty)  # closes the keyboard
    os.close(null)
    assert await asked == ""


async def test_cancelling_a_question_restores_the_echo(tty: int) -> None:
    asked = asyncio.create_task(prompts.ask_passphrase("Passphrase: "))
    await asyncio.sleep(0)
    assert not termios.tcgetattr(tty)[3] & termios.ECHO
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert termios.tcgetattr(tty)[3] & termios.ECHO


async def test_a_program_is_not_lent_the_terminal_of_another_session(tty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lent: list[bool] = []

    async def use(asks: bool) -> None:
        lent.append(asks)

    await prompts.lend_terminal(use)
    monkeypatch.setattr(caller, "_job", caller.FrontJob())
    await prompts.lend_terminal(use)
    assert lent == [True, False]


ASKPASS = """#!/bin/sh
printf '%s\\nmore' "answer to $1"
exit $CODE
"""


@pytest.fixture
def askpass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program for SSH_ASKPASS, which exits with $CODE."""
    program = tmp_path / "askpass"
    program.write_text(ASKPASS)
    program.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("CODE", "0")
    return program


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": ""}, False),
        ({"SSH_ASKPASS_REQUIRE": "force"}, True),
        ({"SSH_ASKPASS_REQUIRE": "prefer"}, False),
        ({"DISPLAY": ":0", "SSH_ASKPASS_REQUIRE": "never"}, False),
    ],
)
async def test_without_a_terminal_the_program_of_ssh_askpass_is_asked_as_by_ssh(
    askpass: Path, no_tty: None, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], asked: bool
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS_REQUIRE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert await prompts.ask_passphrase("Passphrase: ") == ("answer to Passphrase: " if asked else None)


@pytest.mark.parametrize("require", ["prefer", "FORCE"])
async def test_ssh_askpass_can_be_preferred_to_the_terminal(
    askpass: Path, tty: int, monkeypatch: pytest.MonkeyPatch, require: str
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", require)
    assert await prompts.ask_passphrase("?") == "answer to ?"


async def test_a_refusal_of_ssh_askpass_is_an_empty_answer(
    askpass: Path, no_tty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("CODE", "1")
    assert await prompts.ask_passphrase("?") == ""


@pytest.mark.parametrize("fault", ["missing", "hangs"])
async def test_a_failing_ssh_askpass_is_named(
    askpass: Path, no_tty: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setattr(prompts, "ASKPASS_TIMEOUT", 0.2)
    if fault == "missing":
        askpass.unlink()
    else:
        askpass.write_text("#!/bin/sh\nexec sleep 60\n")
    assert await prompts.ask_passphrase("?") is None
    said = "No such file" if fault == "missing" else "was ended: it did not answer within 0.2 seconds"
    message = capsys.readouterr().err
    assert f"SSH_ASKPASS={askpass}" in message
    assert said in message
