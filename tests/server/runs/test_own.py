"""The service's own program of a run starts with its order, reports, and leaves no descriptor open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from farhand_server.files.order import TransferReport
from farhand_server.forwards.order import ForwardTotals
from farhand_server.forwards.records import FlowRecord
from farhand_server.forwards.rules import ForwardRules
from farhand_server.runs.own import OwnProgram, OwnReport
from farhand_server.runs.plan import AllowedForward, AllowedTransfer
from farhand_server.runs.process.place import LaunchError
from farhand_server.runs.process.process import prepare_loop
from tests.server.connection.channels.runs import plan
from tests.support.processes import children, descriptors, reaped

TUNNEL: dict[str, Any] = {"forward": AllowedForward(ForwardRules(), b"/")}
GET: dict[str, Any] = {"transfer": AllowedTransfer("read", (b"/etc/passwd",), b"/")}


@pytest.fixture(autouse=True)
async def _prepared() -> AsyncIterator[None]:
    prepare_loop()
    others, before = children(os.getpid()), descriptors(os.getpid())
    yield
    await reaped(others)
    assert descriptors(os.getpid()) <= before


class Pipes:
    """Stdin and stdout of a program, and its stderr, which is this process's own."""

    def __init__(self) -> None:
        self.theirs_in, self.stdin = os.pipe()
        self.stdout, self.theirs_out = os.pipe()

    async def start(self, own: OwnProgram) -> int:
        """Start a program with its stdin closed, and return its exit code."""
        try:
            process = await own.start(self.theirs_in, self.theirs_out, 2, None)
        finally:
            for fd in (self.theirs_in, self.theirs_out, self.stdin):
                os.close(fd)
        try:
            async with asyncio.timeout(30):
                return await process.exited
        finally:
            process.close()

    def read(self) -> bytes:
        read = os.read(self.stdout, 1 << 16)
        os.close(self.stdout)
        return read


async def test_a_tunnel_reports_its_totals(records: list[FlowRecord]) -> None:
    own = OwnProgram(plan(**TUNNEL), records.append)
    pipes = Pipes()
    assert await pipes.start(own) == 0
    assert b"window" in pipes.read()
    assert own.report() == OwnReport(forward=ForwardTotals())
    assert records == []
    own.close()
    assert (own.order_file, own.records, own.report()) == (None, None, OwnReport())


@pytest.fixture
def records() -> list[FlowRecord]:
    return []


async def test_a_transfer_reports_what_it_has_done(records: list[FlowRecord]) -> None:
    own = OwnProgram(plan(**GET), records.append)
    pipes = Pipes()
    assert await pipes.start(own) != 0  # there are no options
    pipes.read()
    assert own.records is None
    assert isinstance(own.report().transfer, TransferReport)
    own.close()


@pytest.mark.parametrize("kind", [TUNNEL, GET])
async def test_another_program_continues_with_its_descriptors(kind: dict[str, Any], records: list[FlowRecord]) -> None:
    own = OwnProgram(plan(**kind), records.append)
    pipes = Pipes()
    await pipes.start(own)
    pipes.read()
    assert own.order_file is not None
    restored = OwnProgram(plan(**kind), records.append)
    restored.restore(os.dup(own.order_file), None if own.records is None else os.dup(own.records))
    assert restored.report() == own.report()
    restored.close()
    own.close()


async def test_a_program_that_cannot_start_says_what_it_was(
    monkeypatch: pytest.MonkeyPatch, records: list[FlowRecord]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", fail)
    for kind, what in ((TUNNEL, "a tunnel"), (GET, "a transfer")):
        own = OwnProgram(plan(**kind), records.append)
        pipes = Pipes()
        with pytest.raises(LaunchError, match=f"cannot start {what}: Too many open files") as error:
            await pipes.start(own)
        assert error.value.errno == 24
        os.close(pipes.stdout)
        own.close()
