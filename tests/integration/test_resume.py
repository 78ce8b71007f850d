"""A lost connection is only a pause: wherever it is cut, output and stdin arrive completely and once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path

import pytest

from farhand_client import PIPE, Exited
from tests.support.faulty_proxy import (
    LOGGED_IN,
    Fault,
    Kind,
    check_nothing_is_left,
    client_through,
    faulty_proxy,
    network_service,
    random_faults,
)

MiB = 1 << 20
SIZE = 64 * MiB
CUTS = 50

WRITE = "import random, sys\nr = random.Random(int(sys.argv[1]))\n" + (
    "for _ in range(int(sys.argv[2]) >> 20): sys.stdout.buffer.write(r.randbytes(1 << 20))\nsys.exit(7)"
)
"""A program with the arguments SEED and SIZE: it writes SIZE bytes that SEED determines, and exits with 7."""


def expected(seed: int, size: int) -> str:
    """Return the hash of the output of `WRITE`."""
    chance, digest = random.Random(seed), hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(chance.randbytes(1 << 20))
    return digest.hexdigest()


@pytest.fixture
def seed() -> int:
    """A new seed each time, shown if the test fails; FARHAND_TEST_SEED repeats one."""
    chosen = int(os.environ.get("FARHAND_TEST_SEED") or int.from_bytes(os.urandom(4)))
    print(f"FARHAND_TEST_SEED={chosen}")
    return chosen


@pytest.mark.parametrize("cuts", [16, pytest.param(CUTS, marks=pytest.mark.long)])
async def test_output_through_many_cuts_is_complete_and_the_exit_code_correct(
    tmp_path: Path, seed: int, cuts: int
) -> None:
    size = SIZE * cuts // CUTS // MiB * MiB
    kinds: dict[Kind, int] = {"fin": 21, "rst": 21, "vanish": 6, "edge": 2}
    faults = random_faults(seed, cuts, SIZE // CUTS, kinds)
    for number, kind in enumerate(kinds, 1):  # of few cuts one of each kind, and not after the end
        faults[number] = faults[number]._replace(kind=kind)
    digest, count = hashlib.sha256(), 0
    async with network_service(tmp_path) as service, faulty_proxy(service, iter(faults)) as line:
        command = [sys.executable, "-c", WRITE, str(seed), str(size)]
        async with client_through(line, tmp_path) as client, client.start(command) as run:
            while chunk := await run.stdout.read(1 << 20):
                digest.update(chunk)
                count += len(chunk)
            result = await run.wait()
        assert (count, result.stdout) == (size, size)
        assert digest.hexdigest() == expected(seed, size)
        assert result.outcome == Exited(code=7)
        assert len(line.made) > cuts * 2 / 3
        assert {fault.kind for fault in line.made} == set(kinds)
        await check_nothing_is_left(service)


async def test_stdin_and_output_are_complete_through_cuts_in_both_directions(tmp_path: Path, seed: int) -> None:
    block = random.Random(seed).randbytes(MiB)
    sent, received, count = hashlib.sha256(), hashlib.sha256(), 0
    faults = random_faults(seed, 20, SIZE // 2 // 20, {"fin": 9, "rst": 9, "vanish": 2}, of_client=True)
    async with network_service(tmp_path) as service, faulty_proxy(service, iter(faults)) as line:
        async with client_through(line, tmp_path) as client, client.start(["cat"], stdin=PIPE) as run:

            async def feed() -> None:
                assert run.stdin is not None
                for number in range(SIZE // 2 // MiB):
                    chunk = number.to_bytes(4) + block[4:]
                    sent.update(chunk)
                    run.stdin.write(chunk)
                    await run.stdin.drain()
                run.stdin.close()

            feeding = asyncio.ensure_future(feed())
            while chunk := await run.stdout.read(1 << 20):
                received.update(chunk)
                count += len(chunk)
            await feeding
            assert (await run.wait()).outcome == Exited(code=0)
        assert count == SIZE // 2
        assert received.hexdigest() == sent.hexdigest()
        assert len(line.made) > 10
        await check_nothing_is_left(service)


@pytest.mark.timeout(300)  # sixteen connections, most of them after a retry delay
@pytest.mark.parametrize("kind", ["rst", pytest.param("fin", marks=pytest.mark.long)])
async def test_a_start_that_was_cut_off_anywhere_happens_once(tmp_path: Path, kind: Kind) -> None:
    # Alternately a cut while connecting and a later one: the retry delay is reset by a connection that worked.
    early = [Fault(kind, 100 + 400 * number) for number in range(8)]
    later = [Fault(kind, LOGGED_IN if number == 0 else 5000 + 37 * number) for number in range(8)]
    faults = [fault for pair in zip(later, early, strict=True) for fault in pair]
    mark = tmp_path / "mark"
    async with network_service(tmp_path) as service, faulty_proxy(service, iter(faults)) as line:
        async with client_through(line, tmp_path) as client:
            while len(line.made) < len(faults):
                completed = await client.run(f"echo once >> {mark}; cat {mark}; rm {mark}", shell=True)
                assert (completed.stdout, completed.outcome) == (b"once\n", Exited(code=0))
        await check_nothing_is_left(service)
