"""Runs are recorded in the history and the audit log, and both are handed over to the next program."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol.outcome import Exited, Lost
from farhand_server.audit import AuditEntry
from farhand_server.config import ServiceConfig, load
from farhand_server.history import StateDirectoryInUse
from farhand_server.ledger import Ledger, open_ledger
from farhand_server.logs import Logger, Sink
from farhand_server.runs.plan import Origin, RunResult, TerminalPlan
from farhand_server.runs.process.process import prepare_loop
from farhand_server.runs.process.usage import ResourceUsage
from farhand_server.runs.registry import RecordUnavailable, RunExpired
from farhand_server.runs.run import LiveRun
from tests.server.connection.channels.runs import run as make_run
from tests.support.client import new_id

ORIGIN = Origin("key", "SHA256:one", "192.0.2.7:50214", b'{"command": "make all", "on_disconnect": "keep"}')
LOG = Logger(Sink(), {})


@pytest.fixture
def config(tmp_path: Path) -> ServiceConfig:
    return load(None, overrides={"socket": str(tmp_path / "s"), "state_dir": str(tmp_path)})


@pytest.fixture
async def ledger(config: ServiceConfig) -> AsyncIterator[Ledger]:
    prepare_loop()
    async with open_ledger(config, LOG) as one:
        one.configure(config)
        yield one


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveRun]:
    run = make_run(tmp_path, origin=ORIGIN, argv=(b"make", b"all"), command="make all")
    yield run
    run.close()


def audited(config: ServiceConfig) -> list[dict[str, Any]]:
    """Return the entries of the audit log."""
    lines = (config.state_dir / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def events(config: ServiceConfig) -> list[str]:
    return [entry["event"] for entry in audited(config)]


async def record_whole_run(ledger: Ledger, run: LiveRun, result: RunResult) -> None:
    ledger.starting(run)
    assert await ledger.soon() == {}
    run.pid = os.getpid()
    ledger.started(run)
    ledger.ended(run, result)
    assert await ledger.soon() == {}


async def test_an_ended_run_is_found_with_everything_that_was_recorded(ledger: Ledger, live: LiveRun) -> None:
    result = RunResult(Exited(code=3), 5, 7, 1.5, True, ResourceUsage(0.25, 0.5, 4096))
    await record_whole_run(ledger, live, result)
    past = ledger.find(live.id)
    assert past is not None
    assert (past.id, past.owner, past.key, past.fingerprint) == (live.id, "ada", "SHA256:one", bytes(32))
    assert (past.command, past.keep, past.has_terminal) == ("make all", True, False)
    assert (past.pid, past.began, past.result) == (os.getpid(), live.began, result)
    assert ledger.recent("ada", before=None, prefix="", limit=10) == [past]
    assert ledger.recent("bob", before=None, prefix="", limit=10) == []


async def test_starts_and_ends_are_in_the_audit_log_with_the_arguments_at_the_start(
    ledger: Ledger, live: LiveRun, config: ServiceConfig
) -> None:
    await record_whole_run(ledger, live, RunResult(Exited(code=3), 0, 0, 1.0))
    start, end = audited(config)[-2:]
    assert (start["event"], start["run"], start["argv"]) == ("start", live.id, ["make", "all"])
    assert (start["key"], start["peer"]) == ("SHA256:one", "192.0.2.7:50214")
    assert (end["event"], end["run"], end["outcome"]) == ("end", live.id, "exited")
    assert "argv" not in end


async def test_terminals_and_recordings_are_in_the_audit_log(
    ledger: Ledger, tmp_path: Path, config: ServiceConfig
) -> None:
    run = make_run(tmp_path, terminal=TerminalPlan("xterm", 80, 24), disk_spool=1 << 16, record=True, record_input=True)
    await record_whole_run(ledger, run, RunResult(Exited(code=0), 0, 0, 1.0))
    start = audited(config)[-2]
    assert (start["terminal"], start["recorded"]) == ("xterm", ["output", "stdin"])
    run.close()


async def test_an_unknown_run_is_not_found(ledger: Ledger) -> None:
    assert ledger.find(new_id()) is None


async def test_an_event_without_a_run_is_in_the_audit_log(ledger: Ledger, config: ServiceConfig) -> None:
    ledger.note(AuditEntry("denial", 0.0, user="ada", detail="no"))
    await ledger.soon()
    assert events(config)[-1] == "denial"


async def test_a_suspended_ledger_has_written_everything_and_can_be_resumed(
    ledger: Ledger, config: ServiceConfig
) -> None:
    ledger.note(AuditEntry("denial", 0.0))
    await ledger.suspend()
    assert events(config)[-1] == "denial"
    ledger.resume()
    ledger.note(AuditEntry("attach", 0.0))
    await ledger.soon()
    assert events(config)[-1] == "attach"


async def test_another_service_cannot_use_the_directory(ledger: Ledger, config: ServiceConfig) -> None:
    with pytest.raises(StateDirectoryInUse):
        async with open_ledger(config, LOG):
            raise AssertionError


async def test_a_ledger_that_was_handed_over_is_reopened_with_its_lock(
    ledger: Ledger, live: LiveRun, config: ServiceConfig
) -> None:
    await record_whole_run(ledger, live, RunResult(Exited(code=0), 0, 0, 1.0))
    await ledger.suspend()
    lock = ledger.hand_over()
    ledger.reopen(config, LOG, lock)
    assert ledger.find(live.id) is not None
    ledger.note(AuditEntry("attach", 0.0))
    await ledger.soon()
    assert events(config)[-1] == "attach"


async def test_records_that_would_be_lost_are_not_handed_over(
    ledger: Ledger, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.suspend()
    monkeypatch.setattr(type(ledger.audit), "complete", property(lambda _: False))
    with pytest.raises(RecordUnavailable, match="cannot be written now"):
        ledger.hand_over()
    monkeypatch.undo()
    ledger.resume()
    ledger.note(AuditEntry("attach", 0.0))
    await ledger.soon()
    assert events(config)[-1] == "attach"


async def test_runs_of_a_dead_service_are_lost_and_their_spools_removed(config: ServiceConfig, live: LiveRun) -> None:
    prepare_loop()
    spool = config.state_dir / "spool"
    async with open_ledger(config, LOG) as ledger:
        ledger.configure(config)
        ledger.starting(live)
        await ledger.soon()
    spool.mkdir(exist_ok=True)
    (spool / "left-behind").write_bytes(b"output")
    async with open_ledger(config, LOG) as ledger:
        past = ledger.find(live.id)
        assert past is not None
        assert past.result.outcome == Lost()
        assert not (spool / "left-behind").exists()


async def test_a_forgotten_run_is_expired(ledger: Ledger, config: ServiceConfig) -> None:
    ancient = "00000000-0000-7000-8000-000000000000"  # its id contains a time in 1970 (RFC 9562, 5.7)
    with pytest.raises(RunExpired):
        ledger.find(ancient)
    await asyncio.sleep(0)
