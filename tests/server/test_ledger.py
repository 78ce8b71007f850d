"""Runs are recorded in the history and the audit log, and both are handed over to the next program."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol.left import LeftProcesses
from farhand_protocol.outcome import Exited, Lost
from farhand_server.audit import AuditEntry, budget
from farhand_server.config import ServiceConfig, load
from farhand_server.history import StateDirectoryInUse
from farhand_server.history.writer import HistoryWriter
from farhand_server.ledger import Ledger, open_ledger
from farhand_server.logs import Logger, LogSink
from farhand_server.runs.plan import Origin, RunResult, TerminalPlan
from farhand_server.runs.process.process import prepare_loop
from farhand_server.runs.process.usage import ResourceUsage
from farhand_server.runs.registry import RecordUnavailable, RunExpired
from farhand_server.runs.run import LiveRun
from tests.server.connection.channels.runs import run as make_run
from tests.support.client import new_id
from tests.support.history import LogFile

ORIGIN = Origin("key", "SHA256:one", "192.0.2.7:50214", b'{"command": "make all", "on_disconnect": "keep"}')
LOG = Logger(LogSink(), {})


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


@pytest.mark.parametrize(
    ("request_json", "kinds"),
    [
        (b'{"login": true}', (True, False, False)),
        (b'{"internal": true}', (False, True, False)),
        (b'{"transfer": {"access": "read"}}', (False, False, True)),
        (b'{"login": "yes"}', (False, False, False)),
    ],
)
async def test_a_login_shell_an_internal_run_and_a_transfer_are_still_known_as_such(
    ledger: Ledger, tmp_path: Path, request_json: bytes, kinds: tuple[bool, bool, bool]
) -> None:
    run = make_run(tmp_path, origin=dataclasses.replace(ORIGIN, request=request_json))
    await record_whole_run(ledger, run, RunResult(Exited(code=0), 0, 0, 1.5))
    past = ledger.find(run.id, "ada")
    assert past is not None
    assert (past.login, past.internal, past.transfer) == kinds
    run.close()


@pytest.mark.parametrize(
    ("left", "detail"),
    [
        (LeftProcesses(count=2, names=("sleep", "sh"), stopped=True), "left 2 processes behind, stopped: sleep, sh"),
        (LeftProcesses(count=1, at_least=True, stopped=True), "left at least 1 process behind, stopped: "),
        (LeftProcesses(count=1, names=("x",), pids=(7,)), "left 1 process behind, still running: x"),
    ],
)
async def test_left_processes_are_in_history_and_audit_log(
    ledger: Ledger, live: LiveRun, config: ServiceConfig, left: LeftProcesses, detail: str
) -> None:
    await record_whole_run(ledger, live, RunResult(Exited(code=0), 5, 7, 1.5, left_processes=left))
    past = ledger.find(live.id, "ada")
    assert past is not None
    assert past.result.left_processes == left.model_copy(update={"pids": ()}), "which are alive is not on record"
    assert audited(config)[-1]["detail"] == detail


async def test_an_ended_run_is_found_with_everything_that_was_recorded(ledger: Ledger, live: LiveRun) -> None:
    result = RunResult(Exited(code=3), 5, 7, 1.5, True, ResourceUsage(0.25, 0.5, 4096))
    await record_whole_run(ledger, live, result)
    past = ledger.find(live.id, "ada")
    assert past is not None
    assert (past.id, past.owner, past.key, past.fingerprint) == (live.id, "ada", "SHA256:one", bytes(32))
    assert (past.command, past.keep, past.has_terminal) == ("make all", True, False)
    assert (past.pid, past.began, past.result) == (os.getpid(), live.began, result)
    assert ledger.recent("ada", before=None, prefix="", limit=10) == ([past], None)
    assert ledger.recent("bob", before=None, prefix="", limit=10) == ([], None)


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
    assert ledger.find(new_id(), "ada") is None


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
    assert ledger.find(live.id, "ada") is not None
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
        past = ledger.find(live.id, "ada")
        assert past is not None
        assert past.result.outcome == Lost()
        assert not (spool / "left-behind").exists()


async def test_a_forgotten_run_is_expired(ledger: Ledger, config: ServiceConfig) -> None:
    ancient = "00000000-0000-7000-8000-000000000000"  # its id contains a time in 1970 (RFC 9562, 5.7)
    with pytest.raises(RunExpired):
        ledger.find(ancient, "ada")
    await asyncio.sleep(0)


async def test_a_count_of_entries_is_written_even_if_nothing_else_happens(
    config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "COUNT_EVERY", 0.01)
    prepare_loop()
    small = config.model_copy(update={"audit": config.audit.model_copy(update={"max_size": 64 << 10, "keep": 2})})
    async with open_ledger(small, LOG) as ledger:
        ledger.configure(small)
        for _ in range(300):
            ledger.note(AuditEntry("denial", 0.0, user="eve"))
        async with asyncio.timeout(10):
            while "counted" not in events(small):  # noqa: ASYNC110  # the log has no event
                await asyncio.sleep(0.005)
        for _ in range(100):
            ledger.note(AuditEntry("denial", 0.0, user="eve"))
    assert events(small)[-1] == "counted", "what was counted last is written at the end"


async def test_a_full_disk_is_a_fault_until_the_history_can_be_written(
    ledger: Ledger, live: LiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = list[tuple[str, ...]]()
    ledger.on_change = lambda: changes.append(ledger.faults)
    broken = sqlite3.OperationalError("database or disk is full")

    def fail(writer: HistoryWriter) -> None:
        writer.keep(broken)

    with monkeypatch.context() as failing:
        failing.setattr(HistoryWriter, "flush", fail)
        ledger.starting(live)
        (sentence,) = (await ledger.soon()).values()
    assert "disk is full; a run whose start cannot be recorded is not started" in sentence
    ledger.starting(live)
    assert await ledger.soon() == {}
    (fault,), nothing = changes
    assert (fault.endswith("disk is full; no run is started"), nothing) == (True, ())


def remove_directory(state: Path) -> None:
    shutil.rmtree(state)


def replace_database(state: Path) -> None:
    copy = shutil.copy(state / "history.db", state / "copy")
    Path(copy).rename(state / "history.db")


def remove_write_ahead_log(state: Path) -> None:
    (state / "history.db-wal").unlink()


def remove_lock(state: Path) -> None:
    (state / "history.lock").unlink()


def replace_directory(state: Path) -> None:
    state.rename(state.with_name("old"))
    state.mkdir()


@pytest.fixture
def own_state(tmp_path: Path) -> ServiceConfig:
    """A state directory that a test may remove."""
    return load(None, overrides={"socket": str(tmp_path / "s"), "state_dir": str(tmp_path / "state")})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove_directory, "/state was removed; "),
        (replace_directory, "/state/history.db was removed; "),
        (replace_database, "/state/history.db was replaced; "),
        (remove_write_ahead_log, "/state/history.db-wal was removed; "),
        (remove_lock, "/state/history.lock was removed; "),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_without_the_files_that_it_has_opened_no_start_is_recorded(
    own_state: ServiceConfig, tmp_path: Path, live: LiveRun, change: Callable[[Path], None], said: str
) -> None:
    prepare_loop()
    log = LogFile(tmp_path)
    async with open_ledger(own_state, log.logger) as ledger:
        ledger.configure(own_state)
        ledger.check()
        change(own_state.state_dir)
        for _ in range(2):
            with pytest.raises(RecordUnavailable, match=rf"{said}a run whose .* \(history\.required\); put it back"):
                ledger.check()
        assert str(log).count('msg="state directory was removed or replaced"') == 1
        assert ledger.fault is not None
        ledger.check_files()
        with pytest.raises(RecordUnavailable, match=ledger.fault):
            ledger.hand_over()
        assert ledger.find(live.id, "ada") is None, "runs that were recorded before are still known"
    assert not any(own_state.state_dir.glob("spool*"))
    log.close()


async def test_runs_end_and_are_known_while_their_records_cannot_be_kept(
    own_state: ServiceConfig, live: LiveRun
) -> None:
    prepare_loop()
    async with open_ledger(own_state, LOG) as ledger:
        ledger.configure(own_state)
        ledger.starting(live)
        await ledger.soon()
        shutil.rmtree(own_state.state_dir)
        ledger.check_files()
        ledger.ended(live, RunResult(Exited(code=3), 0, 0, 1.0))
        assert await ledger.soon() == {}
        past = ledger.find(live.id, "ada")
        assert past is not None
        assert past.result.outcome == Exited(code=3)
        assert not own_state.state_dir.exists(), "while the service runs, the same directory may be put back"
    assert {file.name for file in own_state.state_dir.iterdir()} == {"history.replaced"}


async def test_starts_are_recorded_again_once_the_directory_is_back(own_state: ServiceConfig, tmp_path: Path) -> None:
    prepare_loop()
    log = LogFile(tmp_path)
    async with open_ledger(own_state, log.logger) as ledger:
        ledger.configure(own_state)
        away = own_state.state_dir.rename(tmp_path / "away")
        with pytest.raises(RecordUnavailable):
            ledger.check()
        away.rename(own_state.state_dir)
        ledger.check()
        assert ledger.fault is None
        assert 'level=info msg="state directory is in place again"' in str(log)
        assert not (own_state.state_dir / "history.replaced").exists()
        assert own_state.state_dir / "history.db" in ledger.files
    log.close()


async def test_without_history_required_runs_start_and_the_loss_is_only_logged(
    own_state: ServiceConfig, tmp_path: Path
) -> None:
    prepare_loop()
    log = LogFile(tmp_path)
    history = own_state.history.model_copy(update={"required": False})
    optional = own_state.model_copy(update={"history": history})
    async with open_ledger(optional, log.logger) as ledger:
        ledger.configure(optional)
        shutil.rmtree(optional.state_dir)
        ledger.check()
        ledger.check_files()
        ledger.check()
        assert "state directory was removed or replaced" in str(log)
    log.close()


async def test_transfers_are_not_looked_up_in_a_history_that_was_removed(config: ServiceConfig, ledger: Ledger) -> None:
    assert await ledger.unfinished_transfers(before=0.0, age=0.0, limit=1) == []
    (config.state_dir / "history.db").unlink()
    with pytest.raises(RecordUnavailable):
        await ledger.unfinished_transfers(before=0.0, age=0.0, limit=1)
