"""tar, scp, sftp and sshfs over Farhand copy what they copy over ssh."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.remote_shells import RemoteShell, RemoteShells
from tests.support.sshd import SFTP_SERVER

pytestmark = pytest.mark.needs("ssh", "sshd", SFTP_SERVER)


def make_files(directory: Path, *, size: int = 200_000) -> Path:
    """Make a directory with files of random bytes, and modes and times of its own."""
    chance = random.Random(4)
    source = directory / "source"
    (source / "below").mkdir(parents=True)
    for name in ("plain", "it's $HOME", "below/large", "below/none"):
        path = source / name
        path.write_bytes(b"" if name.endswith("none") else chance.randbytes(size))
        path.chmod(0o600 if name == "plain" else 0o755)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return source


@pytest.mark.needs("tar", "sh")
async def test_tar_pipes_both_ways(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        make_files(here)
        for name in ("there", "back"):
            (here / name).mkdir()
        await shell.act("sh", "-ec", f'tar -C "$0" -c source | {shell.command} web "tar -C $0/there -x"', here)
        await shell.act("sh", "-ec", f'{shell.command} web "tar -C $0/there -cz source" | tar -C "$0/back" -xz', here)
        return ""

    result = await shells.same(tmp_path, copy)
    assert (result / "back/source/it's $HOME").read_bytes() == (result / "source/it's $HOME").read_bytes()


@pytest.mark.needs("scp")
@pytest.mark.parametrize("protocol", ["-s", pytest.param("-O", marks=pytest.mark.long)])
async def test_scp_copies_both_ways(shells: RemoteShells, tmp_path: Path, protocol: str) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        make_files(here)
        scp = ("scp", "-q", "-p", "-r", protocol, "-S", shell.shim("ssh"))
        await shell.act(*scp, here / "source", f"web:{here}/there")
        await shell.act(*scp, f"web:{here}/there", here / "back")
        return await shell.act(*scp, f"web:{here}/missing", here, code=1)

    await shells.same(tmp_path, copy)


@pytest.mark.long
@pytest.mark.needs("scp", "sftp")
async def test_the_shims_need_no_setting(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        make_files(here)
        shell = shell.having(PATH=f"{shell.shims}:{shell.env['PATH']}")
        await shell.act("scp", "-q", "-p", "-r", here / "source", f"web:{here}/there")
        script = f"get -r {here}/there {here}/back\nrename {here}/there {here}/moved\nls -1 {here}/moved\n"
        listed = await shell.act("sftp", "-q", "-b", "-", "web", input=script.encode())
        return listed, await shell.act("ssh", "web", "echo", "'two  words'", ";", "exit 3", code=3)

    await shells.same(tmp_path, copy)


SFTP = """\
lcd {here}
cd {here}
mkdir there
put -p "source/it's $HOME" there/one
put -r source there/all
chmod 640 there/one
symlink one there/link
ls -1 there
get -r there/all back
rename there/one there/two
rm there/link
df there
"""


@pytest.mark.needs("sftp")
async def test_sftp_does_a_script(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        make_files(here)
        script = SFTP.format(here=here).replace("df there\n", "")
        return await shell.act("sftp", "-q", "-S", shell.shim("ssh"), "-b", "-", "web", input=script.encode())

    await shells.same(tmp_path, copy)


@pytest.mark.long
@pytest.mark.needs("sftp")
async def test_sftp_takes_a_command_instead_of_a_host(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        make_files(here)
        script = SFTP.format(here=here).replace("df there\n", "")
        return await shell.act("sftp", "-q", "-b", "-", "-D", f"{shell.command} -s web sftp", input=script.encode())

    await shells.same(tmp_path, copy)


def has_fuse() -> bool:
    """Whether file systems of users can be mounted here: a container may have the programs and not the device."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return True


@asynccontextmanager
async def mounted(shell: RemoteShell, there: Path, at: Path) -> AsyncIterator[Path]:
    """Mount a directory of `web` with sshfs."""
    at.mkdir()
    before = at.stat().st_dev
    sshfs = ("sshfs", "-f", "-o", f"ssh_command={shell.command},idmap=user", f"web:{there}", at)
    process = await asyncio.create_subprocess_exec(*sshfs, env=dict(shell.env))
    try:
        async with asyncio.timeout(30):
            while at.stat().st_dev == before:  # a mount has no event here
                assert process.returncode is None, "sshfs has ended"
                await asyncio.sleep(0.01)
        yield at
    finally:
        await shell.act("fusermount3", "-u", at)
        assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.needs("sshfs", "fusermount3")
@pytest.mark.skipif(not has_fuse(), reason="this kernel or container lets nobody mount with FUSE")
async def test_sshfs_mounts_a_directory(shells: RemoteShells, tmp_path: Path) -> None:
    async def copy(shell: RemoteShell, here: Path) -> object:
        source = make_files(here)
        async with mounted(shell, source, here / "mounted") as at:
            # In a thread: this process runs both ends of some pipes.
            def work() -> bytes:
                (at / "new").write_bytes((at / "below/large").read_bytes())
                (at / "new").rename(at / "below/new")
                (at / "plain").unlink()
                return (at / "it's $HOME").read_bytes()

            content = await asyncio.to_thread(work)
        return len(content), (source / "it's $HOME").read_bytes() == content

    await shells.same(tmp_path, copy)
