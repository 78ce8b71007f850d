"""The service's own program of a run that moves files or forwards connections: its start, and what it reports."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EIO
from typing import Final, NamedTuple

from farhand_server.files.order import OrderFile, TransferReport
from farhand_server.files.program import worker_argv
from farhand_server.forwards.feed import FlowFeed
from farhand_server.forwards.order import ForwardOrderFile, ForwardTotals
from farhand_server.forwards.program import forward_argv
from farhand_server.forwards.records import FlowRecord
from farhand_server.programs.command import own_environment

from .plan import Plan
from .process.cgroup import RunCgroup
from .process.place import LaunchError
from .process.process import Process
from .process.tree import RUN_ID_VARIABLE


class OwnReport(NamedTuple):
    """What the program has done."""

    transfer: TransferReport | None = None
    forward: ForwardTotals | None = None


class OwnProgram:
    """The program of a plan with `transfer` or `forward`. `on_record` is called with each record of a tunnel."""

    def __init__(self, plan: Plan, on_record: Callable[[FlowRecord], None]) -> None:
        self._plan: Final = plan
        self._on_record = on_record
        self._order_file: OrderFile | ForwardOrderFile | None = None
        self._feed: FlowFeed | None = None

    async def start(self, stdin: int, stdout: int, stderr: int, cgroup: RunCgroup | None) -> Process:
        """Start it with these descriptors, which the caller must still close. Raises `LaunchError`."""
        plan = self._plan
        passed: list[int] = []
        records = -1
        try:
            if plan.transfer is not None:
                self._order_file = OrderFile.create(plan.transfer.order(plan.credentials))
                argv = worker_argv()
            else:
                assert plan.forward is not None
                self._feed, theirs = FlowFeed.create(self._on_record, plan.uid)
                records = theirs.detach()
                passed.append(records)
                self._order_file = ForwardOrderFile.create(plan.forward.order(plan.credentials, records))
                argv = forward_argv()
            passed.append(self._order_file.fd)
            return await Process.start_own(
                argv,
                env=own_environment(self._order_file.fd) | {RUN_ID_VARIABLE: plan.id.encode()},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                passed=passed,
                run_id=plan.id,
                limits=plan.limits,
                cgroup=cgroup,
            )
        except OSError as error:
            what = "a transfer" if plan.forward is None else "a tunnel"
            raise LaunchError(error.errno or EIO, "process", f"cannot start {what}: {error.strerror}") from None
        finally:
            if records >= 0:
                os.close(records)

    @property
    def order_file(self) -> int | None:
        """The descriptor of the file with the order, while there is one."""
        return None if self._order_file is None else self._order_file.fd

    @property
    def records(self) -> int | None:
        """The descriptor of a tunnel's records, while there is one."""
        return None if self._feed is None else self._feed.fd

    def restore(self, order_file: int | None, records: int | None) -> None:
        """Continue with a program whose descriptors these are, on a new object."""
        if order_file is not None:
            self._order_file = (OrderFile if self._plan.forward is None else ForwardOrderFile)(order_file)
        if records is not None:
            self._feed = FlowFeed(records, self._on_record, self._plan.uid)

    def report(self) -> OwnReport:
        """Read what it still says, and return what it has done. Call this at its end."""
        if self._feed is not None:
            self._feed.finish()
            self._feed = None
        match self._order_file:
            case OrderFile() as transfer:
                return OwnReport(transfer=transfer.report())
            case ForwardOrderFile() as forward:
                return OwnReport(forward=forward.totals())
        return OwnReport()

    def close(self) -> None:
        """Close the descriptors."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        if self._order_file is not None:
            self._order_file.close()
            self._order_file = None
