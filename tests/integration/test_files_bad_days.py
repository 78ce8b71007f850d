"""Transfers on bad days: cuts, SIGKILL, two clients to one target, a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from farhand_client import TransferIncomplete, connect
from farhand_files.events import Event, Moved
from farhand_files.wire import CHUNK
from tests.support.client import TIMEOUT
from tests.support.command import farhand, json_lines, running
from tests.support.cutting_proxy import cutting_proxy
from tests.support.service import Service, running_service

MiB = 1 << 20


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The directory of sources."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The directory of destinations."""
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("cuts", [12, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("operation", ["put", "get"])
async def test_a_file_arrives_through_cuts_at_any_byte(
    core: Service, here: Path, there: Path, operation: str, cuts: int
) -> None:
    size = cuts * MiB
    content = os.urandom(size)
    (here / "big").write_bytes(content)
    chance = random.Random(cuts)
    where = [chance.randrange(20_000, 2 * size // cuts) for _ in range(cuts)]
    limits: Iterator[tuple[int | None, int | None]] = iter(
        [(each, None) if operation == "put" else (None, each) for each in where]
    )
    proxy = here.parent / "proxy"
    async with (
        cutting_proxy(proxy, core.socket, limits) as cut,
        connect(f"unix:{proxy}", reconnect=TIMEOUT) as client,
        asyncio.timeout(10 * TIMEOUT),
    ):
        if operation == "put":
            done = await client.put(here / "big", str(there / "big"))
        else:
            done = await client.get(str(here / "big"), there / "big")
    assert len(cut) > cuts // 3
    assert (there / "big").read_bytes() == content
    assert (done.sent, done.kept) == (size, 0), "what has arrived is not sent again"
    assert names(there) == ["big"]


@pytest.mark.parametrize("operation", ["put", "get"])
async def test_after_sigkill_of_the_client_the_same_command_goes_on(
    core: Service, here: Path, there: Path, operation: str
) -> None:
    content = os.urandom(64 * MiB)  # of which the killed client moves few
    (here / "big").write_bytes(content)
    (there / "big").write_bytes(b"old")
    paths = [core.host, str(here / "big"), str(there / "big")]
    async with running(operation, "--json", "--limit-rate", "8M", *paths, env=core.environment) as process:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            async for line in process.stdout:
                [event] = json_lines(line)
                if event["event"] == "moved" and event["done"] >= 4 * MiB:
                    break
        process.kill()
        await process.wait()
    assert (there / "big").read_bytes() == b"old"
    done = await farhand(operation, "--json", *paths, env=core.environment)
    last = json_lines(done.stdout)[-1]
    assert (done.code, last["files"]) == (0, 1)
    assert last["kept"] >= 2 * CHUNK
    assert last["sent"] + last["kept"] == len(content)
    assert (there / "big").read_bytes() == content


async def test_of_two_transfers_to_one_target_the_last_whole_one_wins(core: Service, here: Path, there: Path) -> None:
    contents = [bytes([number]) * (6 * MiB + number) for number in range(4)]
    for number, content in enumerate(contents):
        (here / f"{number}").write_bytes(content)
    seen: set[bytes] = set()

    def look(event: Event) -> None:
        if isinstance(event, Moved):
            with contextlib.suppress(FileNotFoundError):
                seen.add((there / "target").read_bytes())

    async with connect(core.host) as one, connect(core.host) as two, asyncio.timeout(2 * TIMEOUT):
        await asyncio.gather(
            one.put(here / "0", str(there / "target"), progress=look),
            two.put(here / "1", str(there / "target"), progress=look),
            one.get(str(here / "2"), there / "target", progress=look),
            two.get(str(here / "3"), there / "target", progress=look),
        )
    assert seen | {(there / "target").read_bytes()} <= set(contents)
    assert names(there) == ["target"]


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid():
        pytest.skip("only root can mount a file system")
    mounted = tmp_path / "small disk"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", mounted], check=False).returncode:
        pytest.skip("mount(8) is not permitted here")
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)  # a worker that ends may still use it


@pytest.mark.parametrize("operation", ["put", "get"])
async def test_on_a_full_disk_what_fits_arrives_and_the_rest_is_named(
    core: Service, here: Path, small_disk: Path, operation: str
) -> None:
    (small_disk / "old").write_bytes(b"old")
    for name, size in (("a", 100), ("old", 5 * MiB), ("fits", 3 * MiB), ("huge", 3 * MiB), ("z", 100)):
        (here / name).write_bytes(os.urandom(size))
    async with connect(core.host) as client:
        with pytest.raises(TransferIncomplete) as raised:
            await (
                client.put(f"{here}/", str(small_disk)) if operation == "put" else client.get(f"{here}/", small_disk)
            )
    done = raised.value.transferred
    failed = set(here.iterdir()) - {here / name for name in names(small_disk)} | {here / "old"}
    assert (small_disk / "old").read_bytes() == b"old"
    assert (done.files, done.failed, len(done.errors)) == (3, 2, 2)
    assert {Path(os.fsdecode(each.path)).name for each in done.errors} == {path.name for path in failed}
    assert {each.sentence for each in done.errors} == {"the file system is full"}
    for name in set(names(small_disk)) - {"old"}:
        assert (small_disk / name).read_bytes() == (here / name).read_bytes()
    assert len(names(small_disk)) == 4


async def test_after_sigkill_of_the_service_the_transfer_goes_on_with_the_next_one(
    tmp_path: Path, here: Path, there: Path
) -> None:
    content = os.urandom(12 * MiB)
    (here / "big").write_bytes(content)
    moving = asyncio.Event()

    def progress(event: Event) -> None:
        if isinstance(event, Moved) and event.sent >= 4 * MiB:
            moving.set()

    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(running_service(tmp_path))
        client = await stack.enter_async_context(connect(first.host, reconnect=TIMEOUT))
        transfer = asyncio.ensure_future(client.put(here / "big", str(there / "big"), progress=progress, rate=4 * MiB))
        async with asyncio.timeout(3 * TIMEOUT):
            await moving.wait()
            first.process.kill()
            await first.process.wait()
            await stack.enter_async_context(running_service(tmp_path))
            done = await transfer
    assert (there / "big").read_bytes() == content
    assert done.files == 1
    assert done.sent < len(content) + 4 * MiB, "what had arrived is not sent again"
    assert names(there) == ["big"]
