"""Destinations are swept one after the other, as the user, and nothing waits for that."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pwd
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_files.temporary import MAX_AGE, temporary_name
from farhand_protocol.values import arguments_to_json
from farhand_server import cleaning
from farhand_server.admission.shares import Shares
from farhand_server.auth.accounts import user_name
from farhand_server.cleaning import Cleaning, caller_of, oldest_kept
from farhand_server.config import ServiceConfig, load
from farhand_server.history import History, UnfinishedTransfer
from farhand_server.ledger import Ledger, open_ledger
from farhand_server.policy import Policy, default_policy, policy_in_force
from farhand_server.runs.kept import Retention
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.plan import RunResult
from farhand_server.runs.process.process import prepare_loop
from farhand_server.runs.registry import RecordUnavailable, Registry
from farhand_server.runs.run import LiveRun
from tests.support.client import TIMEOUT, new_id
from tests.support.history import LogFile, record

ME = user_name(os.getuid())
OTHER = next(each for each in pwd.getpwall() if each.pw_uid not in (0, os.getuid()))


class Core:
    """A core without clients, whose runs are noted as they end."""

    def __init__(self, config: ServiceConfig, ledger: Ledger, log: LogFile, directory: Path) -> None:
        self.config = config
        self.policy = policy_in_force(config.policy)
        self.ledger = ledger
        self.log = log.logger
        self.ended: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.registry = Registry(
            ledger,
            memory=SpoolMemory(1 << 20),
            retention=Retention(runs=0, seconds=0.0, disk=0),
            directory=SpoolDirectory(directory / "spool"),
            cgroups=None,
            on_end=self._ended,
            on_failure=lambda run, error: None,
        )
        self.shares = Shares(self.registry)

    def _ended(self, run: LiveRun, result: RunResult) -> None:
        self.ended.put_nowait((run.command, result.outcome.status))

    async def swept(self) -> tuple[str, str]:
        """Wait for the end of the next run; return its command and its outcome."""
        async with asyncio.timeout(TIMEOUT):
            return await self.ended.get()


@pytest.fixture
def config(tmp_path: Path) -> ServiceConfig:
    return load(None, overrides={"socket": str(tmp_path / "s"), "state_dir": str(tmp_path / "state")})


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[LogFile]:
    log = LogFile(tmp_path)
    yield log
    log.close()


@pytest.fixture
def account() -> pwd.struct_passwd:
    """Whose transfers were killed."""
    return pwd.getpwuid(os.getuid())


@pytest.fixture
async def core(
    tmp_path: Path, config: ServiceConfig, log: LogFile, monkeypatch: pytest.MonkeyPatch, account: pwd.struct_passwd
) -> AsyncIterator[Core]:
    """A core on whose record are two killed transfers, and for which everything is old."""
    history = History.open(config.state_dir, config.history, log.logger)
    for name in ("first", "second"):
        leave(tmp_path / name, account)
        transfer = {"access": "write", "paths": arguments_to_json((bytes(tmp_path / name),))}
        asked = record(new_id(), owner=account.pw_name, request=json.dumps({"transfer": transfer}).encode())
        history.starting(dataclasses.replace(asked, uid=account.pw_uid, how="peer", fingerprint=None))
    history.close()
    monkeypatch.setattr(cleaning, "oldest_kept", lambda: time.time() + 3600)
    prepare_loop()
    async with open_ledger(config, log.logger) as ledger:
        one = Core(config, ledger, log, tmp_path)
        yield one
        await one.registry.idle()
        one.registry.close()


def leave(directory: Path, account: pwd.struct_passwd) -> None:
    directory.mkdir()
    left = directory / os.fsdecode(temporary_name(b"target"))
    left.write_bytes(b"part")
    for each in (directory, left):
        os.chown(each, account.pw_uid, -1)


def test_what_is_a_day_old_is_old() -> None:
    assert oldest_kept() == pytest.approx(time.time() - MAX_AGE, abs=60)


async def test_each_destination_is_swept_by_a_run_of_its_own_and_one_at_a_time(core: Core, tmp_path: Path) -> None:
    one = Cleaning(core)
    one.start()
    assert len(core.registry) == 0
    assert await core.swept() == (f"sweep {tmp_path / 'second'}", "exited")
    assert (len([*(tmp_path / "first").iterdir()]), [*(tmp_path / "second").iterdir()]) == (1, [])
    assert await core.swept() == (f"sweep {tmp_path / 'first'}", "exited")
    assert [*(tmp_path / "first").iterdir()] == []
    one.stop()
    one.stop()
    entries = [json.loads(line) for line in (core.config.state_dir / "audit.jsonl").read_text().splitlines()]
    audited = [(each["event"], each["argv"][0], each.get("transfer")) for each in entries]
    done = {"files": 0, "bytes": 0, "deleted": 1}
    assert audited[:3] == [("start", "sweep", None), ("end", "sweep", done), ("start", "sweep", None)]
    assert {each["user"] for each in entries} == {ME}


@pytest.mark.needs("root")
@pytest.mark.parametrize("account", [OTHER])
async def test_roots_service_sweeps_as_the_user(core: Core, tmp_path: Path, account: pwd.struct_passwd) -> None:
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == 0 and each != Path("/"):
            each.chmod(0o755)
    core.policy = default_policy(account.pw_name, account.pw_uid, ())
    roots = tmp_path / "second" / os.fsdecode(temporary_name(b"of-root"))
    roots.write_bytes(b"part")
    one = Cleaning(core)
    one.start()
    for name, left in (("second", [roots]), ("first", [])):
        assert await core.swept() == (f"sweep {tmp_path / name}", "exited")
        assert [*(tmp_path / name).iterdir()] == left
    one.stop()


async def test_nothing_starts_once_it_is_stopped(core: Core) -> None:
    one = Cleaning(core)
    one.start()
    one.stop()
    one.start()
    await core.swept()
    one.stop()
    await core.registry.idle()
    assert core.ended.qsize() <= 1


async def test_a_round_follows_each_day(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "CLEANING_INTERVAL", 0.0)
    one = Cleaning(core)
    one.start()
    for _ in range(4):
        await core.swept()
    one.stop()


async def test_a_destination_that_takes_no_end_does_not_keep_the_next_one_waiting(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "SWEEP_END_TIMEOUT", 0.0)
    one = Cleaning(core)
    one.start()
    assert {(await core.swept())[1], (await core.swept())[1]} == {"exited"}
    one.stop()


async def rounds(core: Core, monkeypatch: pytest.MonkeyPatch, fault: Exception | None = None) -> None:
    """Wait for a whole round, whose look at the history raises `fault`, and for the beginning of the next one."""
    begun: asyncio.Queue[None] = asyncio.Queue()
    find = core.ledger.unfinished_transfers

    async def found(*, before: float, age: float, limit: int) -> list[UnfinishedTransfer]:
        begun.put_nowait(None)
        if fault is not None:
            raise fault
        return await find(before=before, age=age, limit=limit)

    monkeypatch.setattr(core.ledger, "unfinished_transfers", found)
    monkeypatch.setattr(cleaning, "CLEANING_INTERVAL", 0.0)
    one = Cleaning(core)
    one.start()
    async with asyncio.timeout(TIMEOUT):
        for _ in range(2):
            await begun.get()
    one.stop()


async def test_runs_that_are_refused_are_left_for_another_day(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    core.registry.refuse_new()
    await rounds(core, monkeypatch)
    assert core.ended.empty()


async def test_what_the_policy_denies_now_is_not_swept(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    core.policy = Policy(rules=())
    await rounds(core, monkeypatch)
    assert core.ended.empty()


@pytest.mark.parametrize(("fault", "told"), [(RecordUnavailable("full"), ""), (ZeroDivisionError(), "internal error")])
async def test_a_history_that_cannot_be_read_is_read_another_day(
    core: Core, monkeypatch: pytest.MonkeyPatch, log: LogFile, fault: Exception, told: str
) -> None:
    await rounds(core, monkeypatch, fault)
    assert core.ended.empty()
    assert told in str(log)


def test_the_caller_is_who_has_requested_the_transfer() -> None:
    caller = caller_of(UnfinishedTransfer(ME, os.getuid(), "key", "SHA256:abc", b"/a"))
    assert caller is not None
    assert (caller.principal.user, caller.principal.how, caller.subject.fingerprint) == (ME, "key", "SHA256:abc")
    assert caller.home.credentials is None


@pytest.mark.parametrize(
    ("owner", "uid"), [("nobody-of-this-name", os.getuid()), (ME, OTHER.pw_uid), ("ghost", 64_999)]
)
def test_an_account_that_is_gone_has_no_sweeps(owner: str, uid: int) -> None:
    assert caller_of(UnfinishedTransfer(owner, uid, "peer", None, b"/a")) is None


def test_only_roots_service_acts_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = UnfinishedTransfer(OTHER.pw_name, OTHER.pw_uid, "peer", None, b"/a")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    caller = caller_of(transfer)
    assert caller is not None
    assert caller.home.credentials is not None
    assert caller.home.credentials.uid == OTHER.pw_uid
    monkeypatch.setattr(os, "geteuid", lambda: OTHER.pw_uid + 1)
    assert caller_of(transfer) is None
