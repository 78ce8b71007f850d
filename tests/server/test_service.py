"""A service listens, serves, reloads and drains as requested."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed, Signaled
from farhand_server.auth.accounts import peer_principal
from farhand_server.config import ConfigError, ServiceConfig, load
from farhand_server.hostkey import ensure_host_key
from farhand_server.ledger import open_ledger
from farhand_server.listen.unix import ListenError, SocketAccess, bind_unix
from farhand_server.logs import Logger, LogSink
from farhand_server.loopwatch import Holds, LoopWatch
from farhand_server.policy import policy_in_force
from farhand_server.runs.process.cgroup import own_cgroup
from farhand_server.service import Service, make_authenticator
from farhand_server.systemd import Notifier
from tests.support.client import TIMEOUT, RawClient
from tests.support.processes import children, reaped

LOG = Logger(LogSink(), {})


class Running:
    """A service in this process; a reload reads `config`."""

    def __init__(self, config: ServiceConfig, make: Callable[[Running], Service]) -> None:
        self.config = config
        self.accepted: list[ServiceConfig] = []
        self.broken = False
        self.ready = asyncio.Event()
        self.watch = LoopWatch(LOG)
        self.service = make(self)
        self.task = asyncio.create_task(self.service.serve(self.ready.set))

    def reload(self) -> ServiceConfig:
        if self.broken:
            raise ConfigError("the file is broken")
        return self.config

    async def stopped(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self.task


@pytest.fixture
def config(tmp_path: Path) -> ServiceConfig:
    return load(None, overrides={"socket": str(tmp_path / "s"), "state_dir": str(tmp_path)})


@pytest.fixture
async def running(config: ServiceConfig) -> AsyncIterator[Running]:
    others = children(os.getpid())
    async with open_ledger(config, LOG) as ledger:

        def make(running: Running) -> Service:
            return Service(
                config,
                LOG,
                ledger,
                policy=policy_in_force(config.policy),
                reload=running.reload,
                accepted=running.accepted.append,
                notifier=Notifier(),
                write_log=lambda enabled: None,
                watch=running.watch,
            )

        one = Running(config, make)
        async with asyncio.timeout(TIMEOUT):
            await asyncio.wait((one.task, asyncio.create_task(one.ready.wait())), return_when=asyncio.FIRST_COMPLETED)
        yield one
        one.service.stop()
        one.service.stop()
        await one.stopped()
        one.service.registry.close()
        await reaped(others)
        own = own_cgroup(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
        assert own is None or not list(own.glob(f"farhand-{os.getpid()}-*"))


async def test_a_service_serves_until_it_is_stopped_and_removes_its_socket(running: Running) -> None:
    async with RawClient.connect(running.config.socket) as client:
        assert (await client.run("echo", "hello"))[1].stdout == b"hello\n"
        assert len(running.service.sessions) == 1
        running.service.stop()
        await client.wait_for_message(m.GoingAway)
        await client.closed()
    await running.stopped()
    assert not running.config.socket.exists()
    assert running.service.stopping


async def test_a_second_stop_ends_the_grace_period_of_the_runs(running: Running) -> None:
    async with RawClient.connect(running.config.socket) as client:
        run = client.start("sleep", "60")
        await run.started()
        running.service.stop()
        await client.wait_for_message(m.GoingAway)
        running.service.stop()
        outcome = (await run.ended()).outcome
    assert isinstance(outcome, Killed)
    assert outcome.reason == "draining"
    await running.stopped()


async def test_runs_are_stopped_after_the_grace_period_of_a_drain(running: Running) -> None:
    running.service.config = running.config.model_copy(
        update={"drain": running.config.drain.model_copy(update={"grace": 0.05})}
    )
    async with RawClient.connect(running.config.socket) as client:
        run = client.start("sleep", "60")
        await run.started()
        running.service.stop()
        outcome = (await run.ended()).outcome
    assert isinstance(outcome, Killed)
    await running.stopped()


async def test_a_drain_does_not_wait_for_runs_that_a_prompt_has_started_for_itself(running: Running) -> None:
    running.service.config = running.config.model_copy(
        update={"drain": running.config.drain.model_copy(update={"grace": 600.0})}
    )
    async with RawClient.connect(running.config.socket) as client:
        asked, own = client.start("sleep", "60"), client.start("sleep", "60", internal=True)
        pid = await asked.started()
        await own.started()
        running.service.stop()
        await client.wait_for_message(m.GoingAway)
        assert len(running.service.registry) == 2, "what the user runs may need the other"
        os.kill(pid, signal.SIGKILL)
        assert isinstance((await asked.ended()).outcome, Signaled)
        assert isinstance((await own.ended()).outcome, Killed)
    await running.stopped()


async def test_a_reload_applies_another_configuration(running: Running) -> None:
    runs = running.config.runs.model_copy(update={"memory": 1 << 20, "kept_runs": 7})
    running.config = running.config.model_copy(update={"runs": runs})
    running.service.reload()
    assert running.accepted == [running.config]
    assert running.service.config is running.config
    assert running.service.registry.memory.limit == 1 << 20
    assert running.service.registry.kept.retention.runs == 7


@pytest.mark.parametrize("part", ["configuration", "policy", "host key"])
async def test_a_reload_of_an_invalid_configuration_changes_nothing(
    running: Running, part: str, tmp_path: Path
) -> None:
    service = running.service
    before = (service.config, service.policy, service.authenticator)
    match part:
        case "configuration":
            running.broken = True
        case "policy":
            policy = running.config.policy.model_copy(update={"file": tmp_path / "missing"})
            running.config = running.config.model_copy(update={"policy": policy})
        case _:
            (tmp_path / "host_key.pub").write_text("not a key")
    service.reload()
    assert (service.config, service.policy, service.authenticator) == before
    assert running.accepted == []


async def test_a_new_host_key_is_used_from_the_next_reload_on(running: Running, tmp_path: Path) -> None:
    service = running.service
    before = service.authenticator
    ensure_host_key(tmp_path)
    service.reload()
    assert (before is None, service.authenticator is None) == (True, False)
    assert len(service.listeners) == 1, "the socket for edges is only opened by a restart"


async def test_a_reload_with_the_host_key_removed_keeps_the_old_one(running: Running, tmp_path: Path) -> None:
    service = running.service
    ensure_host_key(tmp_path)
    service.reload()
    before = service.authenticator
    (tmp_path / "host_key.pub").unlink()
    service.reload()
    assert service.authenticator is before is not None


async def lost(service: Service, expected: bool) -> None:
    """Wait until the service has noticed, on its own, whether its state directory is in place."""
    async with asyncio.timeout(TIMEOUT):
        while (service.ledger.fault is not None) != expected:  # noqa: ASYNC110  # it notifies only its log
            await asyncio.sleep(0)


async def test_a_removed_state_directory_is_noticed_and_runs_go_on(running: Running, tmp_path: Path) -> None:
    service = running.service
    async with RawClient.connect(running.config.socket) as client:
        run = client.start("sh", "-c", "read -r x; exit 4", stdin=True)
        await run.started()
        away = (tmp_path / "history.db").rename(tmp_path / "away")
        await lost(service, True)
        assert (await client.start("true").error()).code == "unavailable"
        running.watch.holds = Holds(2, 0.2, 0.3)
        status = service.status(peer_principal(0))
        assert (status.pid, status.runs, status.connections, status.draining) == (os.getpid(), 1, 1, False)
        assert status.holds == m.LoopHolds(times=2, longest=0.2, total=0.3)
        assert status.faults == (f"{tmp_path}/history.db was removed; no run is started",)
        run.write(b"\n")
        assert (await run.ended()).outcome == Exited(code=4)
        away.rename(tmp_path / "history.db")
        await lost(service, False)
        assert (await client.run("echo", "again"))[1].stdout == b"again\n"


async def test_a_removed_socket_is_listened_on_again(running: Running) -> None:
    running.config.socket.unlink()
    running.service.reload()
    async with asyncio.timeout(TIMEOUT):
        while not running.config.socket.exists():  # noqa: ASYNC110  # the service restores it on its own
            await asyncio.sleep(0)
    async with RawClient.connect(running.config.socket) as client:
        assert (await client.run("echo", "again"))[1].stdout == b"again\n"


async def test_a_socket_in_use_ends_the_service(config: ServiceConfig) -> None:
    with bind_unix(config.socket, SocketAccess(0o600)):
        async with open_ledger(config, LOG) as ledger:
            service = Service(
                config,
                LOG,
                ledger,
                policy=policy_in_force(config.policy),
                reload=lambda: config,
                accepted=lambda _: None,
                notifier=Notifier(),
                write_log=lambda enabled: None,
            )
            with pytest.raises(ListenError, match="a service is already listening there"):
                await service.serve(lambda: None)
    assert config.socket.exists()


def test_without_a_host_key_no_client_can_log_in_by_key(config: ServiceConfig, tmp_path: Path) -> None:
    assert make_authenticator(config) is None
    ensure_host_key(tmp_path)
    assert make_authenticator(config) is not None
    (tmp_path / "host_key.pub").write_text("not a key")
    with pytest.raises(ValueError, match="not a public"):
        make_authenticator(config)
