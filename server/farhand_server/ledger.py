"""Records what runs do in the two files that outlive them: the history and the audit log.

`open_ledger` locks the state directory, ends the runs that a dead service has left behind, and provides a `Ledger` for
a `with` block. The registry calls the ledger before a run starts and when it ends. Clients learn of a start or an end
only once its record is durable. All records of one turn of the loop are written in one transaction
(`history.GroupCommit`).

In an upgrade the ledger is suspended and handed over: the old program keeps the lock on the state directory open for
the new program, which opens the files again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from .audit import AuditEntry, AuditError, AuditLog
from .config import ServiceConfig
from .filewatch import described_change, file_id
from .forwards.records import FlowRecord
from .history import (
    NOT_STARTED,
    ForgottenRun,
    GroupCommit,
    History,
    HistoryError,
    KnownRun,
    RunRecord,
    UnfinishedTransfer,
    unfinished_transfers,
)
from .logs import Logger
from .runrecords import audit_entry, flow_entry, left_detail, outcome_json, past_run, usage_json
from .runs.output.directory import SpoolDirectory
from .runs.past import PastRun
from .runs.plan import RunResult
from .runs.process.orphans import boot_id, end_orphans
from .runs.registry import RecordUnavailable, RunExpired
from .runs.run import LiveRun

LITTLE_SPACE: Final = "the state directory has little space left, so spools keep less output (runs.keep_free)"


class Ledger:
    """Records what runs do. Belongs to one event loop. Call `suspend` before `hand_over` and `close`."""

    def __init__(self, history: History, audit: AuditLog, spools: SpoolDirectory, log: Logger) -> None:
        self.audit = audit
        self.fault: str | None = None
        """What has happened to the state directory so that nothing more can be recorded; None if it is in place."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when `faults` may have changed."""
        self.spools: Final = spools
        self._shown: tuple[str | None, ...] = ()
        self._count_timer: asyncio.TimerHandle | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._log = log
        self._history = history
        spools.on_change = self._space_changed
        self._boot_id = boot_id()
        self._required = False
        self._checked = False
        """Whether all files were in place at an earlier start that shares the next transaction."""
        self.resume()

    def resume(self) -> None:
        """Accept records. Call this once at the start, and again after `suspend`."""
        self._group = GroupCommit(self._history, also=self._flushed)
        self._history.on_opened = self._opened
        if self._history.dirty:
            self._group.flush_soon()

    async def suspend(self) -> None:
        """Write all pending records. Call `resume` before adding another record."""
        if self._sweep is not None:
            await self._sweep
        await self._group.close()
        if self._count_timer is not None:
            self._count_timer.cancel()
            self._count_timer = None

    def close(self) -> None:
        """Close history and audit log."""
        self.audit.close()
        self._history.close()

    def hand_over(self) -> int:
        """Close history and audit log for the program that will replace this one.

        Return the lock on the state directory, which the new program passes to `open_ledger`. If the new program cannot
        be executed, call `reopen`. Raises `RecordUnavailable`, and closes nothing, if records would be lost.
        """
        self.check_files()
        if self.fault is not None:
            raise RecordUnavailable(self.fault)
        self.audit.flush()
        try:
            self._history.flush()
        except HistoryError as error:
            raise RecordUnavailable(str(error)) from None
        if not self._history.on_disk:
            kept = "the history is kept only in memory and would be lost; restart the service instead"
            raise RecordUnavailable(self._history.fault or kept)
        if self._history.dirty or not self.audit.complete:
            raise RecordUnavailable("history or audit log cannot be written now, and pending records would be lost")
        self.audit.close()
        lock = self._history.hand_over()
        assert lock is not None
        return lock

    def reopen(self, config: ServiceConfig, log: Logger, lock: int) -> None:
        """Undo `hand_over`, which has returned `lock`, and accept records. Raises the same errors as `open_ledger`."""
        self._history = History.open(config.state_dir, config.history, log, resume=lock)
        self.audit = _open_audit(config, log, self._history)
        self.resume()
        self.check_files()

    def configure(self, config: ServiceConfig) -> None:
        """Apply a new configuration from now on."""
        self._required = config.history.required
        self.spools.keep_free = config.runs.keep_free
        self._history.configure(config.history)
        self.audit.configure(config.audit)

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each thing about the state directory that keeps the service from recording what runs do, or
        from keeping their output."""
        follows = "no run is started" if self._required else "what runs do is not recorded for long"
        found = self._known_faults()
        sentences = [f"{fault}; {follows}" for fault in found[:2] if fault is not None]
        if (audit := found[2]) is not None:
            sentences.append(f"the audit log cannot be written: {audit}; entries are kept in memory, and then counted")
        if self.spools.check():
            sentences.append(LITTLE_SPACE)
        return tuple(sentences)

    def note(self, entry: AuditEntry) -> None:
        """Record an event that is neither the start nor the end of a run."""
        self.audit.record(entry)
        self._group.flush_soon()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files whose removal `check_files` notices."""
        return (*self._history.files, *self.audit.files)

    def check_files(self) -> None:
        """Update `fault`, and log when it appears or ends. A removed audit log is continued in a new file."""
        opened = self._history.opened.items()
        fault = next((what for file, was in opened if (what := described_change(file, was)) is not None), None)
        if fault is not None and self.fault is None:
            self._log.error("state directory was removed or replaced", reason=fault)
        elif fault is None and self.fault is not None:
            self._log.info("state directory is in place again")
        self.fault = fault
        self._history.note_in_place(fault is None)
        self.audit.check()
        self._note_faults()
        if not self.audit.complete:
            self._group.flush_soon()

    def _known_faults(self) -> tuple[str | None, ...]:
        return (self.fault, None if self.fault is not None else self._history.fault, self.audit.fault)

    def _note_faults(self) -> None:
        if (known := self._known_faults()) != self._shown:
            self._shown = known
            self.on_change()

    def _space_changed(self) -> None:
        if self.spools.low:
            self._log.warning(LITTLE_SPACE, keep_free=self.spools.keep_free)
        else:
            self._log.info("spools may take space again")
        self.on_change()

    def _flushed(self) -> None:
        self._checked = False
        self.audit.flush()
        self._note_faults()
        if self._count_timer is None and (due := self.audit.count_due) is not None:
            self._count_timer = asyncio.get_running_loop().call_at(due, self._write_counts)

    def _write_counts(self) -> None:
        self._count_timer = None
        self._group.flush_soon()

    def _opened(self) -> None:
        """End what a dead service has left, if the history could only be opened now."""
        self._sweep = asyncio.get_running_loop().create_task(self.end_orphans())

    async def end_orphans(self) -> None:
        """End the processes of a dead service's runs, and record that."""
        sweep = await end_orphans(self._history.lost, self._log)
        self._history.orphans_ended(sweep.clean)

    async def unfinished_transfers(self, *, before: float, age: float, limit: int) -> list[UnfinishedTransfer]:
        """Return transfers that may have left something behind (`history.unfinished_transfers`). Raises
        `RecordUnavailable`."""
        asked = partial(unfinished_transfers, self._history, before=before, age=age, limit=limit)
        try:
            return await asyncio.to_thread(asked)
        except (sqlite3.Error, OSError) as error:
            raise RecordUnavailable(str(error)) from None

    # RunLedger

    def check(self) -> None:
        if not self._required or (self._checked and self._group.due):
            return
        if self.fault is not None or any(file_id(file) != was for file, was in self._history.opened.items()):
            self.check_files()
        if self.fault is not None:
            raise RecordUnavailable(
                f"{self.fault}; a run whose start cannot be recorded is not started (history.required); put it back, "
                "or restart the service"
            )
        if not self._history.on_disk and not self._history.try_open():
            raise RecordUnavailable(f"{self._history.fault}; {NOT_STARTED}")
        self._checked = self._group.due

    def starting(self, run: LiveRun) -> None:
        plan, origin = run.plan, run.plan.origin
        try:
            self.audit.record_start(audit_entry(run, "start"))
        except AuditError as error:
            raise RecordUnavailable(str(error)) from None
        self._history.starting(
            RunRecord(
                id=plan.id,
                owner=plan.owner,
                uid=plan.uid,
                how=origin.how,
                fingerprint=origin.key,
                peer=origin.peer,
                request=origin.request,
                request_sha256=plan.fingerprint,
                requested_at=run.began,
            )
        )

    def started(self, run: LiveRun) -> None:
        assert run.pid is not None
        cgroup = run.cgroup
        self._history.started(
            run.plan.id,
            run.pid,
            run.start_ticks,
            self._boot_id,
            None if cgroup is None else str(cgroup),
            run.mark or None,
        )
        self._group.flush_later()

    def forwarded(self, run: LiveRun, record: FlowRecord) -> None:
        self.note(flow_entry(run, record))

    def ended(self, run: LiveRun, result: RunResult) -> None:
        usage, left = result.usage, result.left_processes
        self._history.ended(
            run.plan.id,
            outcome_json(result.outcome),
            stdout=result.stdout,
            stderr=result.stderr,
            duration=result.duration,
            usage=None if usage is None else usage_json(usage),
            lingered=result.lingered,
            left_processes=None if left is None else left.model_dump_json().encode(),
        )
        detail = None if left is None else left_detail(left)
        entry = audit_entry(run, "end", outcome=result.outcome.status, detail=detail, result=result)
        self.audit.record(entry)

    def soon(self) -> asyncio.Future[Mapping[str, str]]:
        return self._group.flush_soon()

    def find(self, run_id: str, owner: str | None) -> PastRun | None:
        try:
            state = self._history.look_up(run_id, owner)
        except HistoryError as error:
            raise RecordUnavailable(str(error)) from None
        match state:
            case KnownRun(record):
                return past_run(record)
            case ForgottenRun(reason):
                raise RunExpired(reason)
            case _:
                return None

    def recent(
        self, owner: str | None, *, before: str | None, prefix: str, limit: int
    ) -> tuple[list[PastRun], str | None]:
        try:
            records, more = self._history.recent(owner, before=before, prefix=prefix, limit=limit)
        except HistoryError as error:
            raise RecordUnavailable(str(error)) from None
        return [past_run(record) for record in records], more


@asynccontextmanager
async def open_ledger(config: ServiceConfig, log: Logger, *, lock: int | None = None) -> AsyncIterator[Ledger]:
    """Lock the state directory, end the runs that a dead service has left behind, and record runs until the block ends.

    `lock` is what `Ledger.hand_over` returned in the program that this one has replaced. With it, no service has died.
    Raises `HistoryError` and `AuditError`, for instance if another service uses the directory.
    """
    spools = SpoolDirectory(config.state_dir / "spool", config.runs.keep_free)

    def locked() -> None:
        # First of all, because this may be what has filled the disk.
        number, size = spools.clear()
        if number:
            log.info("output that a dead service has left behind was deleted", files=number, bytes=size)

    history = History.open(config.state_dir, config.history, log, resume=lock, on_lock=locked)
    ledger = Ledger(history, _open_audit(config, log, history), spools, log)
    try:
        if lock is None:
            await ledger.end_orphans()
        try:
            yield ledger
        finally:
            await ledger.suspend()
    finally:
        ledger.close()


def _open_audit(config: ServiceConfig, log: Logger, history: History) -> AuditLog:
    try:
        return AuditLog.open(config.state_dir, config.audit, log)
    except BaseException:
        history.close()
        raise
