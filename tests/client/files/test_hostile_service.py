"""A service that sends what was not requested, or to somewhere else, changes nothing outside of the destination."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from blake3 import blake3

from farhand_client import TransferInterrupted, Transferred
from farhand_files import wire
from farhand_protocol import messages as m
from tests.support.fake_runs import STOPPED
from tests.support.fake_service import Behaviour, FakeRun
from tests.support.fake_transfer_worker import agree, del_stdin, received, transferring

CONTENT = b"of the service"


class Sent(NamedTuple):
    """An entry, as the service sends it."""

    path: bytes
    kind: int = wire.REGULAR
    target: bytes = b""
    mode: int = 0o644


def link(path: bytes, target: bytes) -> Sent:
    return Sent(path, wire.SYMLINK, target)


def directory(path: bytes) -> Sent:
    return Sent(path, wire.DIRECTORY, mode=0o755)


async def next_frame(run: FakeRun) -> wire.Frame:
    """Return the next frame of the client."""
    await received(run, wire.TRANSFER_HEADER.size)
    size, kind = wire.check_header(run.stdin[: wire.TRANSFER_HEADER.size])
    whole = wire.TRANSFER_HEADER.size + size
    await received(run, whole)
    payload = run.stdin[wire.TRANSFER_HEADER.size : whole]
    del_stdin(run, whole)
    return wire.decode(kind, memoryview(payload))


def sending(entries: Sequence[Sent]) -> Behaviour:
    """Return the behaviour of a worker that sends these entries, each once the one before has its answer."""

    async def behave(run: FakeRun) -> None:
        await agree(run)
        for number, (path, kind, target, mode) in enumerate(entries):
            size = len(CONTENT) if kind == wire.REGULAR else 0
            await run.write("stdout", wire.encode(wire.Entry(number, kind, mode, 0, 0, 10**18, size, path, target)))
            while kind == wire.REGULAR and not isinstance(frame := await next_frame(run), wire.FileDone | wire.Skip):
                if isinstance(frame, wire.Failed) and frame.number == number:
                    break
                if isinstance(frame, wire.Want):
                    end = wire.FileEnd(number, size, 10**18, mode, blake3(CONTENT).digest())
                    await run.write("stdout", wire.encode(wire.Data(number, 0, CONTENT)) + wire.encode(end))
        await run.write("stdout", wire.encode(wire.Walked(len(entries), 0, 1)) + wire.encode(wire.Finish()))
        while not isinstance(await next_frame(run), wire.Summary):
            pass
        run.ended()

    return behave


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """A directory with a link that leads out of it; what it leads to must stay as it is."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_text("precious")
    (tmp_path / "in/site").mkdir(parents=True)
    (tmp_path / "in/site/own").symlink_to(tmp_path / "outside")
    return tmp_path / "in"


async def get(destination: Path, source: str, *entries: Sent, **options: bool) -> Transferred:
    """Get a source from a service that sends these entries."""
    async with transferring(destination.parent, sending(entries)) as (client, _):
        return await client.get(source, destination, check=False, **options)  # type: ignore[arg-type]  # of their types


def below(top: Path) -> dict[str, str]:
    """Return all files and links below a directory, with their content."""
    found = {}
    for path in top.rglob("*"):
        if path.is_symlink() or path.is_file():
            found[str(path.relative_to(top))] = str(path.readlink()) if path.is_symlink() else path.read_text()
    return found


OUT = b"../../outside"

ESCAPES = [
    [Sent(b"../outside/new")],
    [directory(b".."), Sent(b"../new")],
    [Sent(b"site/../../outside/precious")],
    [Sent(b"site/./new")],
    [Sent(b"site//new")],
    [Sent(b"site/new\0")],
    [Sent(b"site/")],
    [Sent(b"")],
    [link(b"", b"outside")],
    [Sent(b"/ABSOLUTE/precious")],
    [Sent(b".bashrc")],
    [directory(b"other"), Sent(b"other/new")],
    [Sent(b"sitemap")],
    [Sent(b"SITE")],
    [Sent(b"site/own/new")],
    [Sent(b"site/own/precious")],
    [directory(b"site/own"), Sent(b"site/own/precious")],
    [Sent(b"site/.farhand-0123456789abcdef-01234567.part")],
]
"""Each with at least one entry that has to fail, and without one that may be in the destination."""


@pytest.mark.parametrize("entries", ESCAPES)
async def test_an_escape_fails_and_changes_nothing(destination: Path, entries: list[Sent]) -> None:
    outside = destination.parent / "outside"
    sent = [each._replace(path=each.path.replace(b"/ABSOLUTE", os.fsencode(outside))) for each in entries]
    before = below(destination)
    done = await get(destination, "/srv/site", *sent)
    assert done.failed
    assert done.files == 0
    assert (below(destination), below(outside)) == (before, {"precious": "precious"})
    assert {path.name for path in destination.parent.iterdir()} - {"fake.sock"} == {"in", "outside"}


@pytest.mark.parametrize(
    "entries",
    [
        [link(b"site/way", OUT), Sent(b"site/way/new")],
        [link(b"site/way", OUT), directory(b"site/way"), Sent(b"site/way/precious")],
        [directory(b"site/way"), link(b"site/way", OUT), Sent(b"site/way/precious")],
        [link(b"site/way", OUT + b"/precious"), Sent(b"site/way")],
        [link(b"site/a", b"b"), link(b"site/b", OUT), Sent(b"site/a/new")],
        [link(b"site/way", OUT), Sent(b"site/hard", wire.HARDLINK, b"0"), Sent(b"site/hard/new")],
        [Sent(b"site/file"), link(b"site/file", OUT), Sent(b"site/name", wire.HARDLINK, b"0"), Sent(b"site/name/new")],
    ],
)
async def test_nothing_is_written_through_a_link_that_was_sent_before(destination: Path, entries: list[Sent]) -> None:
    (destination / "site/own").unlink()
    await get(destination, "/srv/site", *entries)
    assert below(destination.parent / "outside") == {"precious": "precious"}


async def test_a_new_name_is_given_to_one_entry_only(destination: Path) -> None:
    new = destination / "new"
    done = await get(new, "/srv/site", link(b"site", OUT), Sent(b"site/new"), Sent(b"site"))
    assert done.failed
    assert below(destination.parent / "outside") == {"precious": "precious"}


async def test_neither_owner_nor_setuid_bit_comes_from_the_service(destination: Path) -> None:
    done = await get(destination, "/srv/site", Sent(b"site/tool", mode=0o6755))
    status = (destination / "site/tool").stat()
    assert (done.files, status.st_mode & 0o7777, status.st_uid) == (1, 0o755, os.getuid())


@pytest.mark.parametrize(
    "frames",
    [
        [wire.Deleted(b"site/own")],
        [wire.Summary(b"{}")],
        [wire.Entry(7, wire.REGULAR, 0o644, 0, 0, 0, 1, b"site/new")],
        [wire.Data(0, 0, b"not wanted")],
        [wire.Walked(9, 0, 1), wire.Finish()],
        [wire.Finish()],
        [wire.OptionsFrame(b"{}")],
    ],
)
async def test_what_no_transfer_allows_ends_it(destination: Path, frames: list[wire.Frame]) -> None:
    async def behave(run: FakeRun) -> None:
        await agree(run)
        await run.write("stdout", b"".join(map(wire.encode, frames)))
        await run.until(m.Stop)
        run.ended(STOPPED)

    before = below(destination)
    async with transferring(destination.parent, behave) as (client, _):
        with pytest.raises(TransferInterrupted, match="what no transfer allows"):
            await client.get("/srv/site", destination)
    assert below(destination) == before
