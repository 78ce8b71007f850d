"""A shell stays for its user: whoever goes can come back, and it ends when it was said, not before."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from farhand_client import connect
from farhand_protocol.messages import WindowSize
from tests.support.ptys import Pty, terminal
from tests.support.service import Service, running_service
from tests.support.shells import PROMPT, attached, shell
from tests.support.unix_proxy import unix_proxy
from tests.support.upgrades import upgraded


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


@pytest.fixture
async def other() -> AsyncIterator[Pty]:
    """A second terminal."""
    async with terminal() as made:
        yield made


@pytest.fixture
def env(core: Service) -> dict[str, str]:
    """Of a person with an ordinary terminal."""
    return core.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


class TestKeys:
    async def test_the_message_of_an_escape_is_shown_and_removed(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        async with shell(pty, core.host, env) as there:
            pty.type(b"\r")
            await pty.shows(PROMPT)
            pty.type(b"~?")
            await pty.shows(b"~. leaves  ~d detaches  ~^Z suspends  ~~ is ~ itself")
            assert "at home" in await there.does("echo at ho''me")

    async def test_an_escape_character_typed_twice_or_elsewhere_is_sent(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        async with shell(pty, core.host, env) as there:
            pty.type(b"\r")
            await pty.shows(PROMPT)
            pty.type(b"~~no-such-user\r")
            await pty.shows(b"~no-such-user: ")
            await pty.shows(PROMPT)
            assert await there.does("echo ~.~~d") == "~.~~d\r\n"

    async def test_without_an_escape_character_all_keys_are_the_programs(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        async with shell(pty, core.host, env, "-e", "none") as there:
            assert "~.: " in await there.does("~.")
            pty.type(b"exit 3\r")
            assert await there.process.wait() == 3

    async def test_another_escape_character_may_be_chosen(self, pty: Pty, core: Service, env: dict[str, str]) -> None:
        async with shell(pty, core.host, env, "-e", "^X") as there:
            assert "~.: " in await there.does("~.")
            pty.type(b"\x18?")
            await pty.shows(b"^X. leaves  ^Xd detaches")
            pty.type(b"\r\x18d")
            assert await there.process.wait() == 0
            await pty.shows(f"left run {there.id}, which keeps running".encode())


class Fifo:
    """Into which programs write lines; it has no end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._said = b""

    async def line(self) -> str:
        """The next of them."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            while b"\n" not in self._said:
                more = asyncio.Event()
                loop.add_reader(self._fd, more.set)
                try:
                    await more.wait()
                finally:
                    loop.remove_reader(self._fd)
                self._said += os.read(self._fd, 4096)
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Fifo]:
    made = Fifo(tmp_path / "told")
    yield made
    made.close()


class TestTime:
    async def test_after_the_grace_period_shell_and_foreground_job_receive_sighup(
        self, pty: Pty, core: Service, env: dict[str, str], told: Fifo
    ) -> None:
        trapping = "trap 'echo %s >%s; exit' HUP; %s"
        async with shell(pty, core.host, env, "--keep", "1") as there:
            await there.does(trapping % ("shell", told.path, ""))
            await there.begins(f'(sh -c "{trapping % ("foreground", told.path, "echo up; sleep 1000 & wait")}")')
            await pty.shows(b"up")
            there.process.kill()
            gone = time.monotonic()
            heard = [await told.line(), await told.line()]
        assert sorted(heard) == ["foreground", "shell"]
        assert 1 <= time.monotonic() - gone < 3

    async def test_a_shell_survives_an_upgrade_with_and_without_a_client(
        self, pty: Pty, other: Pty, tmp_path: Path
    ) -> None:
        async with running_service(tmp_path, config="[drain]\ngrace = 0.2\n") as service:
            env = service.environment | {"TERM": "xterm"}
            async with shell(pty, service.host, env) as there, shell(other, service.host, env) as left:
                await there.does("remembered=42")
                await left.does("remembered=43")
                other.type(b"~d")
                assert await left.process.wait() == 0
                await upgraded(service)
                assert "it is 42" in await there.does("echo it is $remembered")
                async with attached(other, service.host, env, left.id) as again:
                    assert "it is 43" in await again.does("echo it is $remembered")
                    other.type(b"exit 7\r")
                    assert await again.process.wait() == 7


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_to_the_client_leaves_the_shell_running_and_restores_the_terminal(
    number: signal.Signals, code: int, pty: Pty, core: Service, env: dict[str, str]
) -> None:
    before = pty.modes
    async with shell(pty, core.host, env) as there:
        there.process.send_signal(number)
        assert await there.process.wait() == code
        await pty.shows(f"left run {there.id}, which keeps running".encode())
    assert pty.modes == before
    async with connect(core.host) as client:
        assert (await client.info(there.id)).outcome is None
        await client.stop(there.id)


async def test_a_reconnected_client_whose_input_was_taken_over_is_told_and_can_leave(
    pty: Pty, core: Service, env: dict[str, str], tmp_path: Path
) -> None:
    async with (
        unix_proxy(tmp_path, core.socket) as proxy,
        shell(pty, proxy.host, env) as there,
        connect(core.host) as client,
    ):
        await proxy.cut()
        while (await client.info(there.id)).attachments:
            pass  # the service has not noticed yet
        async with client.attach(there.id, stdin=True, size=WindowSize(columns=80, rows=24)) as other:
            assert other.stdin is not None
            assert not other.stdin.over
            await proxy.restore()
            other.stdin.write(b"echo seen by bo''th\r")
            await pty.shows(b"seen by both")
            pty.type(b"x")
            await pty.shows(b"another client has taken over; this terminal is read-only")
            pty.type(b"\x03")
            assert await there.process.wait() == 0
            assert other.outcome is None
            await other.stop()
