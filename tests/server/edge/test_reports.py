"""Reports arrive as they were sent, however the stream is divided."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.edge.reports import Report, ReportKind, ReportReader, WorkerReports
from tests.server.edge.harness import TEST_TIMEOUT

REPORTS = st.lists(
    st.builds(Report, st.sampled_from(ReportKind), st.text().map(lambda text: "".join(text.split("\n")))), max_size=5
)


@given(REPORTS, st.integers(1, 7))
def test_reports_may_be_divided_anywhere(reports: list[Report], size: int) -> None:
    data = b"".join(kind.value + status.encode() + b"\n" for kind, status in reports)
    reader = ReportReader()
    read = [each for at in range(0, len(data), size) for each in reader.read(data[at : at + size])]
    assert read == reports


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a valid ReportKind"):
        list(ReportReader().read(b"?\n"))


async def test_a_worker_reports_its_states_and_that_it_turns() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        reports = WorkerReports(theirs)
        reports.ready("serving")
        reports.reloading()
        reports.stopping("waiting")
        turning = asyncio.create_task(reports.keep_watchdog())
        await asyncio.sleep(0)
        turning.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await turning
        reports.close()
        assert [kind for kind, _ in ReportReader().read(ours.recv(1 << 16))] == [
            ReportKind.READY,
            ReportKind.RELOADING,
            ReportKind.STOPPING,
            ReportKind.TURNING,
        ]


async def test_a_worker_notices_that_its_supervisor_is_gone_and_reports_to_nobody() -> None:
    ours, theirs = socket.socketpair()
    reports = WorkerReports(theirs)
    gone = asyncio.create_task(reports.supervisor_gone())
    await asyncio.sleep(0)
    assert not gone.done()
    ours.close()
    async with asyncio.timeout(TEST_TIMEOUT):
        await gone
    reports.ready("serving")
    reports.close()
