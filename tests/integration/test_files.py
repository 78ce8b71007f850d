"""Files arrive whole, and a transfer goes on where it was, whatever was lost or killed in between."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from farhand_client import Client, Finished, Moved, Remote, TransferIncomplete, Transferred, connect, sync
from farhand_files.events import Event
from tests.support.faulty_proxy import client_through, faulty_proxy, network_service, random_faults
from tests.support.processes import children, command_line
from tests.support.service import Service, running_service

MiB = 1 << 20
CHUNK = MiB
BIG = 48 * MiB
"""More than all buffers on the way hold, so that what happens in the middle happens in the middle."""


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def tree(directory: Path) -> dict[str, bytes | None]:
    """Return the content of all files below `directory`, None for directories; temporary files are files, too."""
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes()
        for path in sorted(directory.rglob("*"))
    }


def once(size: int, action: Callable[[], object]) -> Callable[[Event], None]:
    """Return a `progress` that does something once, when `size` bytes of a file have moved."""
    happened = False

    def progress(event: Event) -> None:
        nonlocal happened
        if not happened and isinstance(event, Moved) and event.done >= size:
            happened = True
            action()

    return progress


def sites(directory: Path) -> tuple[Path, Path]:
    """Make a tree `site`, and a directory `there`; return both."""
    site, there = directory / "site", directory / "there"
    (site / "empty").mkdir(parents=True)
    (site / "deep/er").mkdir(parents=True)
    (site / "index.html").write_text("<p>")
    (site / "deep/er/data").write_bytes(content(1, 3 * MiB + 7))
    (site / "none").touch()
    there.mkdir()
    return site, there


async def test_a_file_is_put_and_got_with_its_digest_and_time(core: Service, tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(content(1, 2 * MiB + 5))
    os.utime(source, ns=(1, 1_234_567_890_123_456_789))
    async with connect(core.host) as client:
        put = await client.put(source, tmp_path / "b", sha256=True)
        got = await client.get(tmp_path / "b", tmp_path / "c")
    for done in (put, got):
        assert (done.files, done.bytes, done.sent, done.failed) == (1, 2 * MiB + 5, 2 * MiB + 5, 0)
        assert done.digest == blake3(source.read_bytes()).hexdigest()
    assert len(put.sha256) == 1
    for name in ("b", "c"):
        assert (tmp_path / name).read_bytes() == source.read_bytes()
        assert (tmp_path / name).stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert set(tree(tmp_path)) == {"a", "b", "c"}


async def test_a_directory_is_put_and_got_as_a_whole(core: Service, tmp_path: Path) -> None:
    site, there = sites(tmp_path)
    async with connect(core.host) as client:
        put = await client.put(site, there)
        assert tree(there / "site") == tree(site)
        got = await client.get(f"{there}/site/", tmp_path / "back")
        assert tree(tmp_path / "back") == tree(site)
        assert (put.files, got.files) == (3, 3)
        several = await client.get([f"{there}/site/index*", there / "site/none"], tmp_path / "some")
    assert several.files == 2
    assert set(tree(tmp_path / "some")) == {"index.html", "none"}


async def test_a_sync_transfers_what_differs_and_deletes_the_rest(core: Service, tmp_path: Path) -> None:
    site, there = sites(tmp_path)
    async with connect(core.host) as client:
        first = await client.sync(f"{site}/", Remote(there))
        second = await client.sync(f"{site}/", Remote(there))
        assert (first.files, second.files, second.skipped, second.sent) == (3, 0, 3, 0)
        (site / "index.html").write_text("<p>changed")
        (site / "none").unlink()
        kept = await client.sync(f"{site}/", Remote(there))
        assert (kept.files, kept.skipped, kept.deleted) == (1, 1, 0)
        tried = await client.sync(f"{site}/", Remote(there), delete=True, dry_run=True)
        assert (tried.deleted, (there / "none").exists()) == (1, True)
        cleaned = await client.sync(f"{site}/", Remote(there), delete=True)
        assert cleaned.deleted == 1
        assert tree(there) == tree(site)
        back = await client.sync(Remote(f"{there}/"), tmp_path / "back")
    assert (back.files, tree(tmp_path / "back")) == (2, tree(site))


async def test_open_files_are_read_and_written(core: Service, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    async with connect(core.host) as client:
        await client.put(reading, tmp_path / "piped")
        with (tmp_path / "got").open("wb") as file:
            file.write(b"head, ")
            await client.get(tmp_path / "piped", file)
    os.close(reading)
    assert (tmp_path / "piped").read_bytes() == b"from a pipe"
    assert (tmp_path / "got").read_bytes() == b"head, from a pipe"


async def test_events_say_how_far_it_is(core: Service, tmp_path: Path) -> None:
    site, there = sites(tmp_path)
    async with connect(core.host) as client, client.put(site, there) as transfer:
        events = [event async for event in transfer]
    finished = {event.path: event for event in events if isinstance(event, Finished)}
    assert set(finished) == {b"site/index.html", b"site/none", b"site/deep/er/data"}
    assert finished[b"site/deep/er/data"].blake3 == blake3((site / "deep/er/data").read_bytes()).digest()


async def test_what_cannot_be_transferred_is_an_error_that_names_it_and_the_rest_arrives(
    core: Service, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("a")
    async with connect(core.host) as client:
        for transfer in (
            client.put([tmp_path / "a", tmp_path / "missing"], tmp_path / "put"),
            client.get([tmp_path / "a", tmp_path / "missing"], tmp_path / "get"),
        ):
            with pytest.raises(TransferIncomplete, match="missing") as incomplete:
                await transfer
            assert (incomplete.value.transferred.files, incomplete.value.transferred.failed) == (1, 1)
        done = await client.get([tmp_path / "a", tmp_path / "missing"], tmp_path / "get", check=False)
    assert (done.skipped, done.failed) == (1, 1)
    assert tree(tmp_path / "put") == tree(tmp_path / "get") == {"a": b"a"}


@pytest.mark.parametrize("direction", ["put", "get"])
async def test_a_cancelled_transfer_leaves_the_target_as_it_was(core: Service, tmp_path: Path, direction: str) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_bytes(content(1, BIG))
    old.write_text("old")
    async with connect(core.host) as client:
        method = client.put if direction == "put" else client.get
        task = asyncio.ensure_future(method(new, old, progress=once(BIG // 3, lambda: task.cancel())))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert old.read_text() == "old"
        assert [run.command for run in await client.runs()] == []
        again = await method(new, old)
    assert old.read_bytes() == new.read_bytes()
    assert again.kept > 0, "what had arrived is not sent again"
    assert set(tree(tmp_path)) == {"new", "old"}


async def test_of_two_clients_with_one_target_the_last_whole_file_wins(core: Service, tmp_path: Path) -> None:
    sources = [tmp_path / "one", tmp_path / "two"]
    for seed, source in enumerate(sources):
        source.write_bytes(content(seed, 8 * MiB))

    async def put(source: Path) -> Transferred:
        async with connect(core.host) as client:
            return await client.put(source, tmp_path / "target")

    await asyncio.gather(*map(put, sources))
    assert (tmp_path / "target").read_bytes() in [source.read_bytes() for source in sources]
    assert set(tree(tmp_path)) == {"one", "two", "target"}


async def test_one_client_transfers_in_both_directions_at_once(core: Service, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content(1, 8 * MiB))
    async with connect(core.host) as client:
        await asyncio.gather(
            *(client.put(tmp_path / "a", tmp_path / f"put{n}") for n in range(3)),
            *(client.get(tmp_path / "a", tmp_path / f"get{n}") for n in range(3)),
        )
    assert len(tree(tmp_path)) == 7
    assert {found == (tmp_path / "a").read_bytes() for found in tree(tmp_path).values()} == {True}


def test_the_blocking_api_does_the_same(core: Service, tmp_path: Path) -> None:
    site, there = sites(tmp_path)
    seen: list[Event] = []
    with sync.connect(core.host) as client:
        assert client.put(site, there, progress=seen.append).files == 3
        assert client.get(f"{there}/site/", tmp_path / "back").files == 3
        assert client.sync(f"{site}/", Remote(f"{there}/site")).skipped == 3
    assert tree(tmp_path / "back") == tree(site)
    assert sum(isinstance(event, Finished) for event in seen) == 3


@pytest.mark.parametrize("direction", ["put", "get"])
async def test_a_transfer_goes_on_at_the_byte_through_cuts_of_the_connection(tmp_path: Path, direction: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(content(7, BIG))
    faults = random_faults(7, 6, BIG // 8, {"fin": 2, "rst": 2, "edge": 2}, of_client=direction == "put")
    # An edge that is slow to die may carry the rest: what cuts at once comes first. The service says little of a put.
    faults.sort(key=lambda fault: fault.kind == "edge")
    if direction == "put":
        faults = [fault._replace(of="client") for fault in faults]
    async with network_service(tmp_path) as service, faulty_proxy(service, iter(faults)) as proxy:
        async with client_through(proxy, tmp_path) as client:
            method = client.put if direction == "put" else client.get
            done = await method(source, tmp_path / "target")
        assert len(proxy.made) > 2
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    assert done.sent == BIG, "nothing of a file is sent twice"


@pytest.mark.parametrize("direction", ["put", "get"])
async def test_a_transfer_goes_on_after_its_worker_was_killed(core: Service, tmp_path: Path, direction: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content(3, BIG))
    target.write_text("old")

    def kill() -> None:
        assert target.read_text() == "old"
        for pid in workers(core):
            os.kill(pid, signal.SIGKILL)

    async with connect(core.host) as client:
        method = client.put if direction == "put" else client.get
        done = await method(source, target, progress=once(BIG // 3, kill))
    check_resumed(done, source, target)


@pytest.mark.parametrize("direction", ["put", "get"])
async def test_a_transfer_goes_on_after_the_service_was_killed(tmp_path: Path, direction: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content(4, BIG))
    async with running_service(tmp_path) as first, connect(first.host, reconnect=60) as client:
        method = client.put if direction == "put" else client.get
        task = asyncio.ensure_future(method(source, target, progress=once(BIG // 3, first.process.kill)))
        await first.process.wait()
        assert not target.exists()
        async with running_service(tmp_path):
            done = await task
            await client.close()
    check_resumed(done, source, target)


def workers(service: Service) -> list[int]:
    """Return the pids of the transfer workers that a service has started."""
    found = []
    for pid in children(service.process.pid):
        if b"farhand_server.files" in command_line(pid):
            found.append(pid)
    assert found
    return found


def check_resumed(done: Transferred, source: Path, target: Path) -> None:
    """Check that the file is whole, counts once, and that little of it was sent twice."""
    assert target.read_bytes() == source.read_bytes()
    assert (done.files, done.bytes, done.failed) == (1, BIG, 0)
    assert done.digest == blake3(source.read_bytes()).hexdigest()
    assert BIG <= done.sent <= BIG + 10 * MiB, "only what was under way is sent again"
    assert done.kept == 0
    left = [path.name for path in target.parent.iterdir() if path.name.endswith(".part")]
    assert left == []


@pytest.mark.parametrize("direction", ["put", "get"])
async def test_what_a_client_that_was_killed_has_transferred_is_not_sent_again(
    core: Service, tmp_path: Path, direction: str
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content(5, BIG))
    script = (
        "import os, signal, sys, farhand_client.sync as farhand\n"
        "def progress(event):\n"
        f"    if getattr(event, 'done', 0) >= {BIG // 3}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with farhand.connect(sys.argv[1]) as client:\n"
        "    getattr(client, sys.argv[2])(sys.argv[3], sys.argv[4], progress=progress)\n"
    )
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, core.host, direction, str(source), str(target), env=core.environment
    )
    assert await killed.wait() == -signal.SIGKILL
    assert not target.exists()
    async with connect(core.host) as client:
        method = client.put if direction == "put" else client.get
        done = await method(source, target)
        await ended(client)
    assert done.kept >= BIG // 3 - 8 * CHUNK, "what has arrived, but for what was under way"
    assert done.sent + done.kept == BIG
    assert target.read_bytes() == source.read_bytes()
    assert set(tree(tmp_path)) == {"source", "target"}


async def ended(client: Client) -> None:
    """Stop what a client that was killed has left: the service still waits for it to return."""
    for run in await client.runs():
        await client.stop(run.id)
