"""An upgrade replaces the program or changes nothing, and its result is reported to the callers that wait for it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import pytest

from farhand_server.config import ServiceConfig, load
from farhand_server.connection.context import OpenSessions
from farhand_server.hangup import OwnTerminal
from farhand_server.history import SCHEMA_VERSION
from farhand_server.ledger import Ledger, open_ledger
from farhand_server.listen.children import FacingChildren
from farhand_server.listen.keeper import SocketKeeper
from farhand_server.listen.unix import UnixListener
from farhand_server.logs import Logger, LogSink
from farhand_server.runs.kept import Retention
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.process.process import prepare_loop
from farhand_server.runs.registry import Registry
from farhand_server.systemd import Notifier
from farhand_server.upgrade import replace
from farhand_server.upgrade.program import UpgradeRefused
from farhand_server.upgrade.replace import Upgrader
from farhand_server.upgrade.result import UpgradeResult, result_socket
from farhand_server.upgrade.snapshot import ReceivedSnapshot
from tests.support.client import TIMEOUT
from tests.support.unix_listeners import accepting


class FakeStarter:
    """Knows whether it may start runs."""

    def __init__(self) -> None:
        self.running = True

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False


class Core:
    """A core that serves one socket and has no runs."""

    def __init__(self, config: ServiceConfig, ledger: Ledger, directory: Path) -> None:
        self.config = config
        self.ledger = ledger
        self.log = Logger(LogSink(), {})
        self.notifier = Notifier()
        self.terminal = OwnTerminal(ends_service=False)
        self.sessions = OpenSessions()
        self.listeners = [UnixListener(config.socket, accepting([]))]
        self.sockets = SocketKeeper(self.listeners, self.log, lambda: None)
        self.children: FacingChildren | None = None
        self.cleaning = FakeStarter()
        self.stopping = False
        self.log_writing: list[bool] = []
        self.registry = Registry(
            ledger,
            memory=SpoolMemory(1 << 20),
            retention=Retention(runs=0, seconds=0.0, disk=0),
            directory=SpoolDirectory(directory / "spool"),
            cgroups=None,
            on_end=lambda run, result: None,
            on_failure=lambda run, error: None,
        )

    def write_log(self, enabled: bool) -> None:
        self.log_writing.append(enabled)


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    prepare_loop()
    config = load(None, overrides={"socket": str(tmp_path / "s"), "state_dir": str(tmp_path)})
    async with open_ledger(config, Logger(LogSink(), {})) as ledger:
        one = Core(config, ledger, tmp_path)
        await one.listeners[0].open()
        yield one
        one.listeners[0].close()
        one.registry.close()


async def outcome(core: Core, upgrader: Upgrader, *, stop: bool = False) -> UpgradeResult:
    """Request an upgrade and return the announced result."""
    with result_socket(core.config.socket) as receiver:
        upgrader.request()
        if stop:
            await asyncio.sleep(0)
            await upgrader.stop()
        receiver.setblocking(False)
        async with asyncio.timeout(TIMEOUT):
            data = await asyncio.get_running_loop().sock_recv(receiver, 1 << 16)
    return UpgradeResult.model_validate_json(data)


async def serves(core: Core) -> None:
    """Check that the core accepts clients again and records events."""
    reader, writer = await asyncio.open_unix_connection(core.config.socket)
    writer.close()
    await reader.read()
    await core.ledger.soon()
    assert core.cleaning.running


def trial(monkeypatch: pytest.MonkeyPatch, failure: Exception | None = None) -> None:
    """Make the trial of the new program succeed, or fail with `failure`."""

    async def try_program(fd: int) -> str:
        snapshot = ReceivedSnapshot.read(os.dup(fd))
        assert snapshot.snapshot.lock is None
        assert snapshot.snapshot.history_version == SCHEMA_VERSION
        snapshot.close()
        if failure is not None:
            raise failure
        return "0.2.0"

    monkeypatch.setattr(replace, "try_program", try_program)


async def test_a_refused_trial_changes_nothing(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    trial(monkeypatch, UpgradeRefused("it is too old"))
    assert await outcome(core, Upgrader(core)) == UpgradeResult(result="refused", reason="it is too old")
    assert core.log_writing == []
    await serves(core)


async def test_a_socket_that_was_removed_is_restored_before_the_program_is_replaced(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial(monkeypatch, UpgradeRefused("it is too old"))
    core.config.socket.unlink()
    await outcome(core, Upgrader(core))
    assert core.listeners[0].intact
    await serves(core)


async def test_an_upgrade_after_which_no_client_could_come_back_is_refused(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial(monkeypatch, AssertionError("the program must not even be tried"))
    core.config.socket.unlink()
    core.config.socket.mkdir()
    result = await outcome(core, Upgrader(core))
    assert "a file that is not a socket exists there" in result.reason
    core.config.socket.rmdir()


async def test_a_bug_in_an_upgrade_is_a_refusal_without_details(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    trial(monkeypatch, RuntimeError("a secret"))
    result = await outcome(core, Upgrader(core))
    assert (result.result, "secret" in result.reason) == ("refused", False)
    await serves(core)


async def test_a_program_that_cannot_be_executed_leaves_a_core_that_serves(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ReceivedSnapshot] = []

    def execute(fd: int, descriptors: Iterable[int], environment: Mapping[str, str]) -> None:
        assert list(core.log_writing) == [False]
        assert not core.cleaning.running
        snapshot = ReceivedSnapshot.read(os.dup(fd))
        assert set(descriptors) == {core.listeners[0].fileno(), snapshot.snapshot.lock}
        seen.append(snapshot)
        raise FileNotFoundError(2, "No such file or directory")

    trial(monkeypatch)
    monkeypatch.setattr(replace, "execute", execute)
    upgrader = Upgrader(core)
    for number in (1, 2):
        result = await outcome(core, upgrader)
        assert result.reason == "the new program cannot be executed: No such file or directory"
        assert len(seen) == number
        assert core.log_writing == [False, True]
        core.log_writing.clear()
        await serves(core)
    for snapshot in seen:
        snapshot.close()


async def test_clients_wait_in_the_backlog_while_the_program_is_replaced(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = socket.socket(socket.AF_UNIX)

    def execute(*_: object) -> None:
        waiting.connect(str(core.config.socket))
        raise PermissionError(13, "Permission denied")

    trial(monkeypatch)
    monkeypatch.setattr(replace, "execute", execute)
    with waiting:
        await outcome(core, Upgrader(core))
        waiting.setblocking(False)
        waiting.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(TIMEOUT):
            assert await asyncio.get_running_loop().sock_recv(waiting, 1) == b""


async def test_an_upgrade_that_would_lose_records_is_refused(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    trial(monkeypatch)
    monkeypatch.setattr(type(core.ledger.audit), "complete", property(lambda _: False))
    result = await outcome(core, Upgrader(core))
    assert "cannot be written now" in result.reason
    await serves(core)


async def test_a_second_request_during_an_upgrade_does_nothing(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    trials: list[int] = []

    async def try_program(fd: int) -> str:
        trials.append(fd)
        await asyncio.sleep(0.01)
        raise UpgradeRefused("it is too old")

    monkeypatch.setattr(replace, "try_program", try_program)
    upgrader = Upgrader(core)
    upgrader.request()
    await asyncio.sleep(0)
    await outcome(core, upgrader)
    assert len(trials) == 1


async def test_a_stop_cancels_an_upgrade(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    async def try_program(fd: int) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(replace, "try_program", try_program)
    result = await outcome(core, Upgrader(core), stop=True)
    assert result.reason == "the service was told to stop"


async def test_a_draining_core_is_not_upgraded(core: Core) -> None:
    core.stopping = True
    result = await outcome(core, Upgrader(core))
    assert result.reason == "the service is draining"


async def test_a_core_that_receives_a_stop_while_suspended_is_not_replaced(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped() -> None:
        core.stopping = True

    def execute(*_: object) -> None:
        raise AssertionError

    trial(monkeypatch)
    monkeypatch.setattr(core.sessions, "abort", stopped)
    monkeypatch.setattr(replace, "execute", execute)
    result = await outcome(core, Upgrader(core))
    assert result.reason == "the service was told to stop"
    await serves(core)
