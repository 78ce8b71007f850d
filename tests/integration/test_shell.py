"""`farhand shell` is a complete login shell: it reacts at once, and outlives the connection, the terminal and the
client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_protocol.limits import TERMINAL_WINDOW
from tests.support.command import FARHAND, farhand
from tests.support.ptys import TIMEOUT, Pty, terminal
from tests.support.service import Service
from tests.support.unix_proxy import UnixProxy, unix_proxy

PROMPT = b"there> "

UUID = rb"[0-9a-f]{8}-[0-9a-f-]{27}"


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


@pytest.fixture
async def other() -> AsyncIterator[Pty]:
    """A second terminal."""
    async with terminal(60, 20) as made:
        yield made


@pytest.fixture
async def proxy(tmp_path: Path, core: Service) -> AsyncIterator[UnixProxy]:
    """A proxy in front of the shared service whose connections a test can cut."""
    async with unix_proxy(tmp_path, core.socket) as made:
        yield made


@pytest.fixture
def env(core: Service) -> dict[str, str]:
    """The environment of a user with an ordinary terminal and a UTF-8 locale."""
    return core.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


@contextlib.asynccontextmanager
async def shell(pty: Pty, host: str, env: dict[str, str], *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Open a shell and wait for its prompt."""
    async with pty.running(*FARHAND, "shell", *options, host, env=env) as process:
        await pty.until_raw()
        await ready(pty)
        yield process


async def ready(pty: Pty) -> None:
    """Start a plain shell with a known prompt, whatever the account's login shell is."""
    pty.type(b"exec env -u ENV PS1='th''ere> ' sh -i\r")
    await pty.shows(PROMPT)


async def does(pty: Pty, line: bytes) -> bytes:
    """Type a line; return the output up to the next prompt."""
    pty.type(line + b"\r")
    await pty.shows(line + b"\r\n")
    return await pty.shows(PROMPT)


def left(output: bytes) -> str:
    """Return the id of a run that was left running."""
    found = re.search(rb"left run (" + UUID + rb")", output)
    assert found is not None, output
    return found[1].decode()


class TestUsingAShell:
    async def test_it_is_the_login_shell_on_a_terminal_like_the_local_one(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        pty.resize(132, 50)
        async with pty.running(*FARHAND, "shell", core.host, env=env) as process:
            await pty.until_raw()
            pty.type(b'stty size; echo "<$0>" $TERM $LANG; tty; exit 7\r')
            output = await pty.shows(b"/dev/pts/") + b"/dev/pts/" + await pty.shows(b"\r\n") + b"\r\n"
            assert await process.wait() == 7
        assert b"50 132\r\n" in output
        assert re.search(rb"<-[a-z]+> xterm-256color C.UTF-8\r\n/dev/pts/[0-9]+\r\n", output)

    async def test_sizes_reach_the_shell(self, pty: Pty, core: Service, env: dict[str, str]) -> None:
        async with shell(pty, core.host, env):
            assert b"24 80" in await does(pty, b"stty size")
            for columns, rows in ((1, 1), (500, 300), (100, 30)):
                pty.resize(columns, rows)
                async with asyncio.timeout(TIMEOUT):
                    while f"{rows} {columns}\r\n".encode() not in await sized(pty):
                        pass

    async def test_ctrl_c_is_answered_under_a_flood(self, pty: Pty, core: Service, env: dict[str, str]) -> None:
        async with shell(pty, core.host, env):
            pty.type(b"yes\r")
            await pty.shows(b"y\r\ny\r\n" * 10_000)
            pty.type(b"\x03")
            more = await pty.shows(PROMPT)
            # Not how long it takes, which is the machine's matter: what is on its way may come first, and nothing else.
            assert len(more) < 8 * TERMINAL_WINDOW, len(more)

    async def test_job_control_works(self, pty: Pty, core: Service, env: dict[str, str]) -> None:
        async with shell(pty, core.host, env):
            pty.type(b"cat\r")
            await pty.shows(b"cat\r\n")
            pty.type(b"typed\r")
            await pty.shows(b"typed\r\ntyped\r\n")
            pty.type(b"\x1a")
            await pty.shows(PROMPT)
            pty.type(b"fg\r")
            await pty.shows(b"cat\r\n")
            pty.type(b"again\r")
            await pty.shows(b"again\r\nagain\r\n")
            pty.type(b"\x04")
            await pty.shows(PROMPT)

    async def test_a_paste_of_a_megabyte_arrives_completely(
        self, pty: Pty, core: Service, env: dict[str, str], tmp_path: Path
    ) -> None:
        text = b"".join(b"%07d %s\n" % (number, b"x" * 55) for number in range(16384))
        async with shell(pty, core.host, env):
            await does(pty, b"stty -echo")
            pty.type(b"cat > " + os.fsencode(tmp_path / "pasted") + b"\r")
            await pty.paste(text.replace(b"\n", b"\r") + b"\x04")
            await pty.shows(PROMPT)
        assert (tmp_path / "pasted").read_bytes() == text

    async def test_binary_output_does_not_disturb_the_shell(self, pty: Pty, core: Service, env: dict[str, str]) -> None:
        before = pty.modes
        async with shell(pty, core.host, env) as process:
            pty.type(b"head -c 200000 /dev/urandom; printf '\\033c\\030'; echo o''ver\r")
            await pty.shows(b"over\r\n")
            pty.type(b"exit 3\r")
            assert await process.wait() == 3
        assert pty.modes == before

    async def test_another_terminal_type_and_locale_reach_the_shell(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        del env["LANG"]
        async with shell(pty, core.host, env | {"TERM": "dumb", "LC_ALL": "C"}):
            assert b"dumb C\r\n" in await does(pty, b"echo $TERM $LC_ALL")


async def sized(pty: Pty) -> bytes:
    pty.type(b"stty size\r")
    return await pty.shows(b"\r\n") + await pty.shows(b"\r\n") + b"\r\n"


class TestKeepingAShell:
    async def test_a_shell_can_be_reattached_after_detaching(
        self, pty: Pty, other: Pty, core: Service, env: dict[str, str]
    ) -> None:
        async with shell(pty, core.host, env) as process:
            await does(pty, b"remembered=42; echo a line to be seen")
            pty.type(b"~d")
            assert await process.wait() == 0
            run_id = left(await pty.shows(b"to return: "))
        async with other.running(*FARHAND, "attach", core.host, run_id, env=env) as process:
            await other.shows(b"a line to be seen")
            other.type(b"echo it is $remembered; stty size\r")
            await other.shows(b"it is 42\r\n20 60\r\n")
            other.type(b"exit 4\r")
            assert await process.wait() == 4

    @pytest.mark.parametrize("how", ["closed", "killed"])
    async def test_it_outlives_terminal_and_client(
        self, how: str, pty: Pty, other: Pty, core: Service, env: dict[str, str]
    ) -> None:
        run_id = f"01890000-0000-4000-8000-{os.urandom(6).hex()}"
        async with shell(pty, core.host, env, "--id", run_id) as process:
            await does(pty, b"remembered=42")
            if how == "closed":
                pty.hang_up()
            else:
                process.kill()
            await process.wait()
        async with other.running(*FARHAND, "shell", "--id", run_id, core.host, env=env) as process:
            await other.shows(PROMPT.rstrip())
            other.type(b"echo it is $remembered\r")
            await other.shows(b"it is 42\r\n")
            other.type(b"exit\r")
            assert await process.wait() == 0

    async def test_a_lost_connection_is_only_a_pause(
        self, pty: Pty, core: Service, env: dict[str, str], proxy: UnixProxy
    ) -> None:
        async with shell(pty, proxy.host, env) as process:
            await does(pty, b"remembered=42")
            await proxy.cut()
            pty.type(b"echo it is $remembered\r")
            await pty.shows(b"lost; reconnecting (for up to 24 h)")
            await proxy.restore()
            await pty.shows(b"it is 42\r\n")
            pty.type(b"exit 5\r")
            assert await process.wait() == 5

    @pytest.mark.needs("vim")
    async def test_a_cut_in_the_middle_of_an_editors_output_garbles_nothing(
        self, pty: Pty, core: Service, env: dict[str, str], proxy: UnixProxy, tmp_path: Path
    ) -> None:
        (tmp_path / "text").write_text("".join(f"line {number}\n" for number in range(1000)))
        async with shell(pty, proxy.host, env) as process:
            pty.type(b"vim -u NONE -N " + os.fsencode(tmp_path / "text") + b"\r")
            await pty.shows(b"line 20")
            for _ in range(3):
                pty.type(b"\x06\x06\x02")
                await proxy.cut()
                await proxy.restore()
            pty.type(b":999\roedited\x1b:wq\r")
            await pty.shows(b"\x1b[?1049l")
            await pty.shows(PROMPT)
            pty.type(b"exit\r")
            assert await process.wait() == 0
        assert "line 998\nedited\n" in (tmp_path / "text").read_text()

    async def test_a_shell_can_be_left_while_the_service_is_stopped(
        self, pty: Pty, service: Service, env: dict[str, str]
    ) -> None:
        before = pty.modes
        async with shell(pty, service.host, service.environment | {"TERM": "xterm"}) as process:
            service.process.send_signal(signal.SIGSTOP)
            try:
                pty.type(b"typed\r~.")
                await pty.shows(b"farhand: left, but the service has not confirmed it; unless it was notified, run ")
                assert await process.wait() == 255
            finally:
                service.process.send_signal(signal.SIGCONT)
        assert pty.modes == before

    async def test_leaving_ends_the_shell_and_everything_in_it(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        async with shell(pty, core.host, env) as process:
            await does(pty, b"sleep 1000 & echo $!")
            pty.type(b"~.")
            assert await process.wait() == 255
            found = re.search(rb"stops run (" + UUID + rb")", await pty.shows(b"\r\n") + await pty.shows(b"\r\n"))
        assert found is not None
        done = await farhand("wait", core.host, found[1].decode(), env=env)
        assert done.code > 128


class TestSharingAShell:
    async def test_two_clients_share_a_shell_of_the_smaller_size(
        self, pty: Pty, other: Pty, core: Service, env: dict[str, str]
    ) -> None:
        run_id = f"01890000-0000-4000-8000-{os.urandom(6).hex()}"
        async with shell(pty, core.host, env, "--id", run_id):
            await does(pty, b"echo first")
            async with other.running(*FARHAND, "attach", "--share", core.host, run_id, env=env) as process:
                await other.shows(PROMPT.rstrip())
                await pty.shows(b"another client limits the terminal to 60x20")
                other.type(b"stty size\r")
                await pty.shows(b"20 60\r\n")
                await other.shows(b"20 60\r\n")
                pty.type(b"echo from the first\r")
                await other.shows(b"from the first\r\n")
                other.type(b"~.")
                assert await process.wait() == 0
            async with asyncio.timeout(TIMEOUT):
                while b"24 80" not in await sized(pty):
                    pass

    async def test_a_watching_client_cannot_type(
        self, pty: Pty, other: Pty, core: Service, env: dict[str, str]
    ) -> None:
        run_id = f"01890000-0000-4000-8000-{os.urandom(6).hex()}"
        async with shell(pty, core.host, env, "--id", run_id):
            for options in (["--read-only"], []):
                async with other.running(*FARHAND, "attach", *options, core.host, run_id, env=env) as process:
                    await other.shows(PROMPT.rstrip())
                    other.type(b"echo n''ever\r")
                    await other.shows(b"this terminal is read-only")
                    assert b"24 80" in await does(pty, b"stty size")
                    await other.shows(b"24 80")
                    other.type(b"\x03")
                    assert await process.wait() == 0
            assert b"never" not in pty.shown
