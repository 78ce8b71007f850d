"""What sessions need from a service, without one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_server.admission.admission import Judgement
from farhand_server.admission.caller import Caller
from farhand_server.admission.judging import Judging
from farhand_server.admission.plan_memo import PlanMemo
from farhand_server.admission.shares import Shares
from farhand_server.audit import AuditEntry
from farhand_server.auth.accounts import Principal, peer_principal
from farhand_server.auth.login import Authenticator
from farhand_server.auth.work import LoginWork
from farhand_server.config import ServiceConfig, load
from farhand_server.connection.context import OpenSessions
from farhand_server.ledger import Ledger, open_ledger
from farhand_server.listen.clients import LocalConnection
from farhand_server.logs import Logger, LogSink
from farhand_server.policy import Policy, policy_in_force
from farhand_server.runs.kept import Retention
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.process.process import prepare_loop
from farhand_server.runs.registry import Registry
from farhand_server.tickets import TicketKey
from farhand_server.worker.workers import current
from tests.support.client import TIMEOUT
from tests.support.processes import children, reaped


@dataclass
class Core:
    """What a session needs from a service."""

    config: ServiceConfig
    policy: Policy
    registry: Registry
    ledger: Ledger
    faults: list[Exception]
    authenticator: Authenticator | None = None
    login_work = LoginWork()
    ticket_key: TicketKey | None = None
    sessions: OpenSessions = field(default_factory=OpenSessions)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.shares = Shares(self.registry)
        self.judging: dict[str, Judging[Judgement]] = {}
        self.plans = PlanMemo()

    def note(self, entry: AuditEntry) -> None:
        self.ledger.note(entry)

    def status(self, who: Principal) -> m.ServiceStatus:
        return m.ServiceStatus(pid=1, uptime=0, runs=len(self.registry), connections=len(self.sessions))


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """A server of sessions without a service, on the socket `s`."""
    prepare_loop()
    others = children(os.getpid())
    config = load(None, overrides={"socket": str(tmp_path / "s"), "state_dir": str(tmp_path)})
    faults: list[Exception] = []
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    log = Logger(LogSink(descriptor), {})
    async with open_ledger(config, log) as ledger:
        registry = Registry(
            ledger,
            memory=SpoolMemory(config.runs.memory),
            retention=Retention(runs=0, seconds=0.0, disk=0),
            directory=SpoolDirectory(tmp_path / "spool"),
            cgroups=None,
            on_end=lambda run, result: None,
            on_failure=lambda run, error: faults.append(error),
        )
        core = Core(config, policy_in_force(config.policy), registry, ledger, faults)
        caller = Caller.of(peer_principal(os.geteuid()))
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: LocalConnection(core, log, caller), config.socket
        )
        try:
            yield core
        finally:
            server.close()
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*(session.gone.wait() for session in core.sessions))
                await core.registry.idle()
            registry.close()
            await current().close()
            await reaped(others)
    os.close(descriptor)
