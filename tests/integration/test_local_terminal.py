"""Whatever happens to `farhand`, its terminal is restored, and the local shell continues."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.command import FARHAND
from tests.support.front_mode import typed_words
from tests.support.ptys import Pty, children, terminal
from tests.support.service import Service

FULL_SCREEN = r"printf '\033[?1049h\033[?25l\033[?2004h\033[?1000hfull %s' screen; exec sleep 100"

PROMPT = b"\x1b[?2004h"
"""What a prompt writes when it has set its modes (bracketed paste)."""


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


def run(core: Service, script: str) -> str:
    words, _ = typed_words(FARHAND, core.environment)
    return shlex.join([*words, "run", "-t", "--shell", core.host, script])


class Shell:
    """A local shell in a terminal, with job control and the prompt `%`."""

    def __init__(self, pty: Pty, process: asyncio.subprocess.Process) -> None:
        self.pty = pty
        self.process = process

    async def does(self, line: str) -> bytes:
        """Type a line and wait for the next prompt; return what was shown between."""
        self.pty.type(line.encode() + b"\r")
        await self.pty.shows(line[-20:].encode())
        return await self.pty.shows(b"% ")

    async def modes(self) -> bytes:
        """Return the terminal modes that the shell sets when it runs a program."""
        return await self.does("stty -g")

    @property
    def farhand(self) -> int:
        (pid,) = children(self.process.pid)
        return pid


@pytest.fixture(params=["bash --norc --noprofile -i", "dash -i"], ids=["bash", "dash"])
async def shell(request: pytest.FixtureRequest, pty: Pty, core: Service) -> AsyncIterator[Shell]:
    """A shell that restores its terminal after a killed job, and one that does not."""
    _, env = typed_words(FARHAND, core.environment)
    env |= {"PS1": "% ", "TERM": "xterm", "HISTFILE": "/dev/null", "ENV": "", "PROMPT_TOOLKIT_NO_CPR": "1"}
    async with pty.running(*request.param.split(), env=env) as process:
        await pty.shows(b"% ")
        yield Shell(pty, process)


@pytest.mark.needs("bash", "dash")
class TestUnderAShell:
    async def test_the_terminal_is_restored_at_the_end_of_a_command(self, shell: Shell, core: Service) -> None:
        before = await shell.modes()
        await shell.does(run(core, "stty raw -echo; exit 3"))
        assert b"code 3\r\n" in await shell.does("echo code $?")
        assert await shell.modes() == before

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
    async def test_the_terminal_is_restored_after_a_signal(
        self, number: signal.Signals, shell: Shell, core: Service, pty: Pty
    ) -> None:
        before = await shell.modes()
        pty.type(run(core, FULL_SCREEN).encode() + b"\r")
        await pty.shows(b"full screen")
        await pty.until_raw()
        pty.type(b"x")
        await pty.shows(b"x")
        os.kill(shell.farhand, number)
        await pty.shows(b"\x1b[?1049l")
        await pty.until_raw(False)
        pty.type(b"\recho good''bye\r")  # the position of the prompt is unknown
        await pty.shows(b"goodbye")
        await pty.shows(b"% ")
        assert await shell.modes() == before

    async def test_when_suspended_the_terminal_is_given_to_the_shell_and_taken_back_afterwards(
        self, shell: Shell, core: Service, pty: Pty
    ) -> None:
        before = await shell.modes()
        pty.type(run(core, FULL_SCREEN).encode() + b"\r")
        await pty.shows(b"full screen")
        await pty.until_raw()
        pty.type(b"\r~\x1a")
        output = await pty.shows(b"topped")
        assert b"\x1b[?1049l" in output
        await pty.shows(b"% ")
        assert await shell.modes() == before
        pty.resize(100, 30)
        pty.type(b"fg\r")
        output = await pty.shows(b"full screen")
        assert b"\x1b[?1049h" in output
        await pty.until_raw()
        pty.type(b"\x03")
        await pty.shows(b"% ")
        assert await shell.modes() == before

    async def test_a_stop_by_another_process_gives_the_terminal_to_the_shell(
        self, shell: Shell, core: Service, pty: Pty
    ) -> None:
        before = await shell.modes()
        pty.type(run(core, FULL_SCREEN).encode() + b"\r")
        await pty.shows(b"full screen")
        await pty.until_raw()
        os.kill(shell.farhand, signal.SIGTSTP)
        await pty.shows(b"topped")
        await pty.shows(b"% ")
        assert await shell.modes() == before
        pty.type(b"fg\r")
        await pty.shows(b"full screen")
        await pty.until_raw()
        pty.type(b"\x03")
        await pty.shows(b"% ")
        assert await shell.modes() == before

    async def test_a_client_that_was_stopped_by_sigstop_works_again(
        self, shell: Shell, core: Service, pty: Pty
    ) -> None:
        """SIGSTOP cannot be handled; the client must work again afterwards, whatever the shell did to the terminal."""
        pty.type(run(core, FULL_SCREEN).encode() + b"\r")
        await pty.shows(b"full screen")
        await pty.until_raw()
        os.kill(shell.farhand, signal.SIGSTOP)
        await pty.shows(b"topped")
        pty.type(b"stty sane\nfg\n")
        output = await pty.shows(b"full screen")
        assert b"\x1b[?1049h" in output
        await pty.until_raw()
        pty.type(b"\x03")
        await pty.shows(b"% ")

    async def test_continued_in_the_background_it_stops_before_it_touches_the_terminal(
        self, shell: Shell, core: Service, pty: Pty
    ) -> None:
        before = await shell.modes()
        pty.type(run(core, FULL_SCREEN).encode() + b"\r")
        await pty.shows(b"full screen")
        await pty.until_raw()
        pty.type(b"\r~\x1a")
        await pty.shows(b"topped")
        await pty.shows(b"% ")
        await shell.does("bg")
        while b"topped" not in await shell.does("jobs"):
            pass
        assert await shell.modes() == before
        pty.type(b"fg\r")
        await pty.shows(b"full screen")
        await pty.until_raw()
        pty.type(b"\x03")
        await pty.shows(b"% ")
        assert await shell.modes() == before

    async def test_a_prompt_gives_the_terminal_to_the_shell_and_waits_for_it(
        self, shell: Shell, core: Service, pty: Pty, tmp_path: Path
    ) -> None:
        before = await shell.modes()
        words, _ = typed_words(FARHAND, core.environment)
        first = ["env", f"XDG_STATE_HOME={tmp_path}"]  # the first use ever is introduced by a line
        pty.type(shlex.join([*first, *words, "repl", core.host]).encode() + b"\r")
        await pty.shows(b"exit leaves")
        await pty.shows(PROMPT)
        pty.type(b"echo good")
        await pty.shows(b"good")
        pty.type(b"\x1a")
        await pty.shows(b"topped")
        await pty.shows(b"% ")
        assert await shell.modes() == before
        await shell.does("bg")
        while b"topped" not in await shell.does("jobs"):
            pass
        assert await shell.modes() == before
        pty.type(b"fg\r")
        await pty.shows(PROMPT)
        pty.type(b"bye\r")
        await pty.shows(b"goodbye\r\n")
        await pty.shows(PROMPT)
        pty.type(b"\x04")
        await pty.shows(b"% ")
        assert await shell.modes() == before

    async def test_keys_that_are_typed_for_the_shell_are_left_to_it(
        self, shell: Shell, core: Service, pty: Pty
    ) -> None:
        pty.type(run(core, "echo begun; exec cat").replace("run -t", "run -i").encode() + b"\r")
        await pty.shows(b"begun\r\n")
        pty.type(b"first\n")
        await pty.shows(b"first\r\nfirst\r\n")
        pty.type(b"\x1a")
        await pty.shows(b"topped")
        await pty.shows(b"% ")
        await shell.does("bg")
        for number in range(5):
            assert f"mine {number}".encode() in await shell.does(f"echo mi''ne {number}")
        while b"topped" not in await shell.does("jobs"):
            pass
        pty.type(b"fg\r")
        await pty.shows(b"exec cat")
        pty.type(b"second\n")
        await pty.shows(b"second\r\nsecond\r\n")
        pty.type(b"\x04")
        await pty.shows(b"% ")

    async def test_control_c_ends_one_command_of_a_loop_as_it_does_with_ssh(
        self, shell: Shell, core: Service, pty: Pty
    ) -> None:
        """ssh exits with 255, and is not ended by SIGINT either: the shell decides by that, and goes on."""
        command = run(core, "echo be''gun; exec sleep 100").replace("run -t", "run")
        pty.type(f"for one in 1 2; do {command}; echo co''de $?; done; echo o''ver\r".encode())
        for _ in range(2):
            await pty.shows(b"begun\r\n")
            pty.type(b"\x03")
            await pty.shows(b"code 130\r\n")
        await pty.shows(b"over\r\n")
