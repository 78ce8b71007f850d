"""`rsync -e 'farhand rsh'` leaves what `rsync -e ssh` does."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.support.remote_shells import RemoteShell, RemoteShells

pytestmark = pytest.mark.needs("rsync", "ssh", "sshd")

WHEN = 1_700_000_000
"""Seconds since the epoch. rsync compares times in whole seconds: what it says of two changes at nearly the same time
would depend on when the second ends."""

ITEMS = ("rsync", "-a", "--out-format=%i %n")
"""As `-i` does, without the line `sending incremental file list`."""


def make_source(directory: Path, *, seed: int = 1, files: int = 20, size: int = 30_000) -> Path:
    """Make a directory with what usually is in one: names, sizes and modes that go wrong where text is assumed."""
    chance = random.Random(seed)
    source = directory / "source"
    (source / "it's below" / "empty").mkdir(parents=True)
    for number in range(files):
        file = source / ("it's below" if number % 3 else "") / f"file {number} $HOME \\ ; é"
        file.write_bytes(chance.randbytes(chance.randrange(size)))
        file.chmod(0o755 if number % 5 == 0 else 0o640)
    (source / "a link").symlink_to("it's below/nowhere")
    for path in (*sorted(source.rglob("*"), reverse=True), source):
        os.utime(path, (WHEN, WHEN), follow_symlinks=False)
    return source


async def test_push_pull_and_delete(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        source, there, back = make_source(here), here / "there", here / "back"
        rsync = (*ITEMS, "-e", shell.command)
        said = [await shell.act(*rsync, f"{source}/", f"web:{there}/")]
        (source / "a link").unlink()
        shutil.rmtree(source / "it's below")
        os.utime(source, (WHEN + 1, WHEN + 1))
        said.append(await shell.act(*rsync, "--delete", "-s", f"{source}/", f"web:{there}/"))
        said.append(await shell.act(*rsync, f"web:{there}/", f"{back}/"))
        # The receiver reports what it has deleted while the sender names what it sends.
        return [sorted(text.splitlines()) for text in said]

    result = await shells.same(tmp_path, copy)
    assert sorted(path.name for path in (result / "back").iterdir()) == sorted(
        path.name for path in (result / "source").iterdir()
    )


@pytest.mark.long
async def test_a_partial_file_is_continued(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        content = random.Random(2).randbytes(3_000_000)
        source, there = here / "large", here / "there"
        source.write_bytes(content)
        there.mkdir()
        (there / "large").write_bytes(content[:1_700_000])
        rsync = ("rsync", "--partial", "--append-verify", "--stats", "-e", shell.command)
        stats = await shell.act(*rsync, source, f"web:{there}/")
        assert (there / "large").read_bytes() == content
        return [line for line in stats.splitlines() if line.startswith(("Literal data", "Matched data"))]

    await shells.same(tmp_path, copy)


@pytest.mark.long
async def test_what_differs_of_a_file_is_sent(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        content = bytearray(random.Random(3).randbytes(5_000_000))
        source, there = here / "large", here / "there"
        there.mkdir()
        (there / "large").write_bytes(content)
        content[2_000_000:2_000_010] = b"0123456789"
        source.write_bytes(content)
        stats = await shell.act("rsync", "-zt", "--stats", "-e", shell.command, source, f"web:{there}/large")
        return [line for line in stats.splitlines() if line.startswith(("Literal data", "Matched data"))]

    await shells.same(tmp_path, copy)


@pytest.mark.long
async def test_a_daemon_is_started_over_the_remote_shell(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        source = make_source(here)
        config = here / "rsyncd-private.conf"
        user = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""  # otherwise root's daemon becomes nobody
        config.write_text(f"use chroot = no\n{user}[module]\npath = {source}\nread only = no\ncomment = files\n")
        daemon = ("rsync", "-e", shell.command, f"--rsync-path=rsync --config={config}")
        listed = await shell.act(*daemon, "web::")
        await shell.act(*daemon, "-a", "web::module/", f"{here}/back/")
        (here / "new").write_text("new")
        await shell.act(*daemon, here / "new", "web::module/")
        return listed, (source / "new").read_text()

    await shells.same(tmp_path, copy)


@pytest.mark.long
async def test_many_small_files_and_limits_of_speed(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        source = make_source(here, files=2000, size=300)
        said = await shell.act(*ITEMS, "--bwlimit=4m", "-e", shell.command, f"{source}/", f"web:{here}/there/")
        return sorted(said.splitlines())

    await shells.same(tmp_path, copy)


async def test_its_failures_are_those_over_ssh(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        (here / "file").write_text("left")
        return await shell.act("rsync", "-a", "-e", shell.command, f"web:{here}/missing", here, code=23)

    await shells.same(tmp_path, copy)
