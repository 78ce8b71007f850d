"""A kept process answers while it lives, connects again whatever ends its connection, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from farhand_client.connection.reconnecting import Outage
from farhand_client.errors import AuthenticationError, ConnectionLost, FarhandError, ForwardError
from farhand_client.forwards.specs import ForwardSpec, parse_spec
from farhand_client.kept import holding, life
from farhand_client.kept.ask import ask
from farhand_client.kept.holding import HeldForward
from farhand_client.kept.life import KeptProcess
from farhand_client.kept.log import KeptLog
from farhand_client.kept.place import KeptError, KeptPlace, kept_place, kept_places
from farhand_client.kept.requests import ControlRequest, ControlVerb
from farhand_client.pending import Pending

TIMEOUT = 20.0
SPEC = parse_spec("-L", "5000:db:80")
OTHER = parse_spec("-R", "5001:db:80")


class FakeForward:
    """A forward that listens on nothing."""

    def __init__(self, spec: ForwardSpec) -> None:
        self.address = spec.listen
        self.connections = ()

    async def close(self) -> None:
        """Do nothing."""


class FakeClient:
    """Makes forwards, and loses its connection when a test says so."""

    def __init__(self) -> None:
        self.ends: list[Any] = []
        self.made: list[ForwardSpec] = []
        self.closed = False
        self.refuses: FarhandError | None = None
        self.lost: FarhandError | None = None
        self.connection = self

    def tunnel(self) -> FakeClient:
        return self

    def register(self, end: Any) -> None:
        if self.lost is not None:
            raise self.lost
        self.ends.append(end)

    def unregister(self, end: Any) -> None:
        self.ends.remove(end)

    def lose(self, error: Exception) -> None:
        for end in self.ends:
            end.fail(error)

    async def forward(self, spec: ForwardSpec, *, watch: Any) -> FakeForward:
        if self.refuses is not None:
            raise self.refuses
        self.made.append(spec)
        return FakeForward(spec)

    async def close(self) -> None:
        self.closed = True


class Living:
    """A kept process under test, and what it connects to."""

    def __init__(self, *, endless: bool = True) -> None:
        self.place: KeptPlace = kept_place("web")
        self.answers: list[FakeClient | FarhandError] = [FakeClient()]
        self.clients: list[FakeClient] = []
        self.asked: list[bool] = []
        self.watch: Any = None
        self.ready = asyncio.Event()
        self.connected = asyncio.Event()
        self.log = KeptLog(Path(os.environ["XDG_STATE_HOME"]) / "web.log")
        self.process = KeptProcess("web", self.place, self.log, self.open_client, endless=endless)

    def open_client(self, watch: Any, asks: bool) -> Pending[Any]:
        async def opened() -> Any:
            self.asked.append(asks)
            self.watch = watch
            answer = self.answers.pop(0)
            if isinstance(answer, FarhandError):
                raise answer
            self.clients.append(answer)
            self.connected.set()
            return answer

        return Pending(opened())

    async def live(self) -> None:
        await self.process.live([SPEC], self.begun)

    def begun(self, begun: list[HeldForward]) -> None:
        assert [held.spec for held in begun] == [SPEC]
        self.ready.set()

    async def ask(self, verb: ControlVerb, *specs: ForwardSpec) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self.place, ControlRequest(verb, specs), TIMEOUT)

    async def until_listed(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Ask, as its user would, until the answer is so."""
        while not condition(await self.ask("list")):  # noqa: ASYNC110  # as said
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def living(*, endless: bool = True) -> AsyncIterator[tuple[Living, asyncio.Task[None]]]:
    """Have a process keep `SPEC`."""
    kept = Living(endless=endless)
    task = asyncio.ensure_future(kept.live())
    try:
        async with asyncio.timeout(TIMEOUT):
            await kept.ready.wait()
        yield kept, task
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert kept_places() == []
    assert not kept.place.lock.exists()


async def test_it_reports_and_changes_what_it_keeps_and_ends_when_nothing_is_left() -> None:
    async with living() as (kept, task):
        report = await kept.ask("list")
        assert (report["host"], report["pid"], report["state"]) == ("web", os.getpid(), "connected")
        assert [each["forward"] for each in report["forwards"]] == [str(SPEC)]
        report = await kept.ask("add", OTHER)
        assert [each["forward"] for each in report["added"]] == [str(OTHER)]
        assert [each["forward"] for each in (await kept.ask("cancel", SPEC))["forwards"]] == [str(OTHER)]
        assert (await kept.ask("cancel", OTHER))["forwards"] == []
        async with asyncio.timeout(TIMEOUT):
            await task
        assert kept.clients[0].closed
        assert kept.asked == [True]


async def test_it_ends_with_all_of_its_forwards() -> None:
    async with living() as (kept, task):
        assert (await kept.ask("end"))["forwards"] == []
        async with asyncio.timeout(TIMEOUT):
            await task
        assert kept.log.path.read_text().splitlines()[-1].endswith(" ends")


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What is called, first of all, when mounts change."""
    callbacks: list[Callable[[], None]] = []

    class FakeMountWatch:
        def __init__(self, changed: Callable[[], None]) -> None:
            callbacks.append(changed)

        def close(self) -> None:
            """Do nothing."""

    monkeypatch.setattr(life, "MountWatch", FakeMountWatch)
    return callbacks


async def test_it_is_found_again_after_a_logout_and_a_login(runtime: Path, mounted: list[Callable[[], None]]) -> None:
    async with living() as (kept, _):
        mounted[0]()  # a change elsewhere
        assert (await kept.ask("list"))["host"] == "web"
        shutil.rmtree(runtime)
        mounted[0]()
        with pytest.raises(KeptError):
            await kept.ask("list")
        runtime.mkdir(0o700)
        mounted[0]()
        async with asyncio.timeout(TIMEOUT):
            while not kept.place.socket.exists():  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.01)
        assert kept_places() == [kept.place]
        assert [each["forward"] for each in (await kept.ask("list"))["forwards"]] == [str(SPEC)]
        assert "can be asked again" in kept.log.path.read_text()


async def test_another_process_that_was_started_after_the_login_stays_the_one_that_is_found(
    runtime: Path, mounted: list[Callable[[], None]]
) -> None:
    async with living() as (kept, task):
        shutil.rmtree(runtime)
        runtime.mkdir(0o700)
        lock = kept_place("web").take()
        assert lock is not None
        kept.place.socket.touch()
        mounted[0]()
        kept.process.stop()
        async with asyncio.timeout(TIMEOUT):
            await task
        assert kept.place.socket.exists()
        assert kept.place.is_alive()
        os.close(lock)


async def test_an_outage_is_reported_while_it_lasts() -> None:
    async with living() as (kept, _):
        kept.watch(Outage(ConnectionLost("cut"), 10.0))
        report = await kept.ask("list")
        assert (report["state"], report["error"]) == ("reconnecting", "cut")
        with pytest.raises(KeptError, match="not connected to web: cut"):
            await kept.ask("add", OTHER)
        kept.watch(None)
        assert "error" not in await kept.ask("list")
        log = kept.log.path.read_text()
        assert "connection lost, reconnecting: cut" in log
        assert "connected again" in log


async def test_it_connects_again_without_asking_even_after_a_client_has_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (life, holding):
        monkeypatch.setattr(module, "MIN_RETRY_DELAY", 0.001)
    async with living() as (kept, _):
        kept.answers += [AuthenticationError("the key is not accepted"), FakeClient()]
        kept.connected.clear()
        kept.clients[0].lose(ConnectionLost("cannot reconnect"))
        async with asyncio.timeout(TIMEOUT):
            await kept.connected.wait()
            await kept.until_listed(lambda report: report["state"] == "connected" and bool(kept.clients[1].made))
        assert kept.asked == [True, False, False]
        assert kept.clients[0].closed
        assert kept.clients[1].made == [SPEC]
        log = kept.log.path.read_text()
        assert "connection lost: cannot reconnect" in log
        assert "cannot connect: the key is not accepted" in log


async def test_it_connects_again_after_a_connection_that_was_lost_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (life, holding):
        monkeypatch.setattr(module, "MIN_RETRY_DELAY", 0.001)
    async with living() as (kept, _):
        lost = FakeClient()
        lost.lost = ConnectionLost("lost at once")
        kept.answers += [lost, FakeClient()]
        kept.clients[0].lose(ConnectionLost("cannot reconnect"))
        async with asyncio.timeout(TIMEOUT):
            await kept.until_listed(lambda report: len(kept.clients) == 3 and bool(kept.clients[2].made))
        assert lost.closed
        assert "connection lost: lost at once" in kept.log.path.read_text()


async def test_it_can_be_told_to_end_while_it_has_no_connection() -> None:
    async with living() as (kept, task):
        kept.clients[0].lose(ConnectionLost("cannot reconnect"))
        async with asyncio.timeout(TIMEOUT):
            await kept.until_listed(lambda report: report["state"] == "reconnecting")
            with pytest.raises(KeptError, match="not connected to web: cannot reconnect"):
                await kept.ask("add", OTHER)
            await kept.ask("end")
            await task


async def test_with_a_bound_it_ends_when_the_connection_is_lost_for_good() -> None:
    async with living(endless=False) as (kept, task):
        kept.clients[0].lose(ConnectionLost("could not reconnect within 5 seconds"))
        with pytest.raises(ConnectionLost, match="within 5 seconds"):
            async with asyncio.timeout(TIMEOUT):
                await task


async def test_if_a_forward_cannot_be_made_there_is_no_process() -> None:
    kept = Living()
    assert isinstance(kept.answers[0], FakeClient)
    client = kept.answers[0]
    client.refuses = ForwardError("busy", "another program listens there")
    with pytest.raises(ForwardError, match="-L 5000:db:80: another program"):
        await kept.live()
    assert client.closed
    assert not kept.ready.is_set()
    assert not kept.place.lock.exists()


async def test_two_processes_never_keep_the_same_host() -> None:
    async with living():
        with pytest.raises(KeptError, match="another process is about to keep forwards of web"):
            await Living().live()


LEAVING = """
import os, signal, sys
from farhand_client.kept.life import leave_terminal
before = os.getsid(0)
leave_terminal()
os.kill(os.getpid(), signal.SIGHUP)
print("to nobody", flush=True)
os.write(int(sys.argv[1]), f"{os.getsid(0) != before} {os.getcwd()} {os.readlink('/proc/self/fd/1')}".encode())
"""


def test_without_a_terminal_it_writes_to_nobody_and_survives_a_hangup() -> None:
    reading, writing = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, str(writing)],
        pass_fds=[writing],
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    os.close(writing)
    assert os.read(reading, 100) == b"True / /dev/null"
    os.close(reading)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
