"""Discarded output is freed in steps, and its memory is given back to the system."""

from __future__ import annotations

import asyncio
import gc
import os

from farhand_protocol.limits import MiB
from farhand_server import heap
from farhand_server.heap import KEPT_HEAP, HeapTrimmer, give_back
from farhand_server.runs.output.spool import MemorySpool, SpoolMemory
from tests.support.clock import virtual_time
from tests.support.processes import resident


class Trims:
    """Counts how often memory is given back."""

    def __init__(self) -> None:
        self.count = 0
        self.trimmed = asyncio.Event()

    def trim(self) -> None:
        """Stand for malloc_trim(3)."""
        self.count += 1
        self.trimmed.set()


async def test_much_output_is_freed_over_several_turns() -> None:
    trims = Trims()
    trimmer = HeapTrimmer(trims.trim)
    for _ in range(5):
        trimmer.discard([b""], heap.TRIM_STEP)
    counts = []
    for _ in range(8):
        await asyncio.sleep(0)
        counts.append(trims.count)
    assert counts[:5] == [1, 2, 3, 4, 5]
    assert counts[-1] == 5


@virtual_time
async def test_little_output_is_given_back_a_moment_later() -> None:
    trims = Trims()
    trimmer = HeapTrimmer(trims.trim)
    trimmer.discard([b""], KEPT_HEAP // 2)
    trimmer.freed(KEPT_HEAP // 2)
    await asyncio.sleep(0)
    assert trims.count == 0
    async with asyncio.timeout(10):
        await trims.trimmed.wait()
    assert trims.count == 1


@virtual_time
async def test_what_readers_free_is_given_back_once_a_moment_and_not_at_all_if_it_is_little() -> None:
    trims = Trims()
    trimmer = HeapTrimmer(trims.trim)
    trimmer.freed(KEPT_HEAP - 1)
    for _ in range(100):
        trimmer.freed(MiB)
        await asyncio.sleep(0)
    assert trims.count == 0
    async with asyncio.timeout(10):
        await trims.trimmed.wait()
    assert trims.count == 1


def test_without_a_loop_nothing_is_kept() -> None:
    trimmer = HeapTrimmer()
    trimmer.discard([b"x"], heap.TRIM_STEP)
    trimmer.freed(heap.TRIM_STEP)


async def test_a_burst_of_unread_output_leaves_no_memory_behind() -> None:
    memory = SpoolMemory(256 * MiB)
    spools = [MemorySpool(2 * MiB, memory) for _ in range(32)]
    kept = []
    gc.collect()
    give_back()
    before = resident(os.getpid())
    for spool in spools:
        for _ in range(32):
            spool.append(os.urandom(16) * 4096)
        kept.append(bytearray(700))  # at the end of the heap
    assert resident(os.getpid()) - before > 48 * MiB
    for spool in spools:
        spool.close()
    assert memory.used == 0
    async with asyncio.timeout(10):
        while resident(os.getpid()) - before > 16 * MiB:  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
