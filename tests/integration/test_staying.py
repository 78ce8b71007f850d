"""A shell is kept for its user: clients can leave and return, and it ends only as configured."""

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
    """The environment of a user with an ordinary terminal."""
    return core.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


class TestKeys:
    async def test_the_message_of_an_escape_is_shown_and_removed(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        async with shell(pty, core.host, env) as remote:
            pty.type(b"\r")
            await pty.shows(PROMPT)
            pty.type(b"~?")
            await pty.shows(b"~. leaves  ~d detaches  ~^Z suspends  ~~ is ~ itself")
            assert "at home" in await remote.does("echo at ho''me")

    async def test_an_escape_character_typed_twice_or_elsewhere_is_sent(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        async with shell(pty, core.host, env) as remote:
            pty.type(b"\r")
            await pty.shows(PROMPT)
            pty.type(b"~~no-such-user\r")
            await pty.shows(b"~no-such-user: ")
            await pty.shows(PROMPT)
            assert await remote.does("echo ~.~~d") == "~.~~d\r\n"

    async def test_without_an_escape_character_all_keys_are_the_programs(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        async with shell(pty, core.host, env, "-e", "none") as remote:
            assert "~.: " in await remote.does("~.")
            pty.type(b"exit 3\r")
            assert await remote.process.wait() == 3

    async def test_another_escape_character_may_be_chosen(self, pty: Pty, core: Service, env: dict[str, str]) -> None:
        async with shell(pty, core.host, env, "-e", "^X") as remote:
            assert "~.: " in await remote.does("~.")
            pty.type(b"\x18?")
            await pty.shows(b"^X. leaves  ^Xd detaches")
            pty.type(b"\r\x18d")
            assert await remote.process.wait() == 0
            await pty.shows(f"left run {remote.id}, which keeps running".encode())


class Fifo:
    """A FIFO that programs write lines to; reading it never ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._unread = b""

    async def line(self) -> str:
        """Return the next line."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            while b"\n" not in self._unread:
                more = asyncio.Event()
                loop.add_reader(self._fd, more.set)
                try:
                    await more.wait()
                finally:
                    loop.remove_reader(self._fd)
                self._unread += os.read(self._fd, 4096)
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    made = Fifo(tmp_path / "fifo")
    yield made
    made.close()


class TestTime:
    async def test_after_the_grace_period_shell_and_foreground_job_receive_sighup(
        self, pty: Pty, core: Service, env: dict[str, str], fifo: Fifo
    ) -> None:
        trapping = "trap 'echo %s >%s; exit' HUP; %s"
        async with shell(pty, core.host, env, "--keep", "1") as remote:
            await remote.does(trapping % ("shell", fifo.path, ""))
            await remote.begins(f'(sh -c "{trapping % ("foreground", fifo.path, "echo up; sleep 1000 & wait")}")')
            await pty.shows(b"up")
            remote.process.kill()
            gone = time.monotonic()
            received = [await fifo.line(), await fifo.line()]
        assert sorted(received) == ["foreground", "shell"]
        assert time.monotonic() - gone >= 1

    async def test_a_shell_survives_an_upgrade_with_and_without_a_client(
        self, pty: Pty, other: Pty, tmp_path: Path
    ) -> None:
        async with running_service(tmp_path, config="[drain]\ngrace = 0.2\n") as service:
            env = service.environment | {"TERM": "xterm"}
            async with shell(pty, service.host, env) as remote, shell(other, service.host, env) as left:
                await remote.does("remembered=42")
                await left.does("remembered=43")
                other.type(b"~d")
                assert await left.process.wait() == 0
                await upgraded(service)
                assert "it is 42" in await remote.does("echo it is $remembered")
                async with attached(other, service.host, env, left.id) as again:
                    assert "it is 43" in await again.does("echo it is $remembered")
                    other.type(b"exit 7\r")
                    assert await again.process.wait() == 7


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_to_the_client_leaves_the_shell_running_and_restores_the_terminal(
    number: signal.Signals, code: int, pty: Pty, core: Service, env: dict[str, str]
) -> None:
    before = pty.modes
    async with shell(pty, core.host, env) as remote:
        remote.process.send_signal(number)
        assert await remote.process.wait() == code
        await pty.shows(f"left run {remote.id}, which keeps running".encode())
    assert pty.modes == before
    async with connect(core.host) as client:
        assert (await client.info(remote.id)).outcome is None
        await client.stop(remote.id)


async def test_a_reconnected_client_whose_input_was_taken_over_is_notified_and_can_leave(
    pty: Pty, core: Service, env: dict[str, str], tmp_path: Path
) -> None:
    async with (
        unix_proxy(tmp_path, core.socket) as proxy,
        shell(pty, proxy.host, env) as remote,
        connect(core.host) as client,
    ):
        await proxy.cut()
        while (await client.info(remote.id)).attachments:
            pass  # the service has not noticed the loss yet
        async with client.attach(remote.id, stdin=True, size=WindowSize(columns=80, rows=24)) as other:
            assert other.stdin is not None
            assert not other.stdin.over
            await proxy.restore()
            other.stdin.write(b"echo seen by bo''th\r")
            await pty.shows(b"seen by both")
            pty.type(b"x")
            await pty.shows(b"another client has taken over; this terminal is read-only")
            pty.type(b"\x03")
            assert await remote.process.wait() == 0
            assert other.outcome is None
            await other.stop()
