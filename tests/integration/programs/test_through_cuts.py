"""rsync and git go on over a connection that is cut again and again, and end with what they were to copy."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.programs.test_git import make_repository, state, with_git
from tests.support.cut_programs import LONG, QUICK, MiB, faults_of, fill
from tests.support.faulty_proxy import Kind, check_nothing_is_left, faulty_proxy, network_service
from tests.support.remote_shells import RemoteShell, client_environment, farhand_shell


@asynccontextmanager
async def cut_shell(directory: Path, kinds: dict[Kind, int], size: int, *, push: bool) -> AsyncIterator[RemoteShell]:
    """Run a service that `web` reaches through as many cuts as `kinds` has, or a few more."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    faults = faults_of(seed, kinds, size, push=push)
    async with network_service(directory) as service, faulty_proxy(service, iter(faults)) as line:
        shell = farhand_shell(directory, service, line.port, client_environment(service, mux="off"))
        # Vanished packets are noticed after three intervals of keep-alive.
        yield replace(shell, words=(*shell.words, "-o", "ServerAliveInterval=1", "-o", "ConnectTimeout=5"))
        print(f"cuts {dict(Counter(fault.kind for fault in line.made))}")
        assert len(line.made) >= sum(kinds.values())
        await check_nothing_is_left(service)


CASES = [
    pytest.param(64 * MiB, QUICK, id="10 cuts"),
    pytest.param(1024 * MiB, LONG, id="50 cuts", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
]


async def digest_of(shell: RemoteShell, path: Path) -> str:
    return (await shell.act("b2sum", path)).split()[0]


@pytest.mark.needs("rsync", "ssh-keygen", "b2sum")
@pytest.mark.parametrize(("size", "kinds"), CASES)
@pytest.mark.parametrize("way", ["push", "pull"])
async def test_rsync_goes_on(tmp_path: Path, size: int, kinds: dict[Kind, int], way: str) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    await asyncio.to_thread(fill, source, size, 1)
    async with cut_shell(tmp_path, kinds, size, push=way == "push") as shell:
        between = (source, f"web:{copy}") if way == "push" else (f"web:{source}", copy)
        await shell.act("rsync", "-a", "--whole-file", "-e", shell.command, *between, timeout=500)
        assert await digest_of(shell, copy) == await digest_of(shell, source)
    source.unlink()
    copy.unlink()


@pytest.mark.needs("git", "ssh-keygen")
@pytest.mark.parametrize(
    ("size", "kinds"),
    [
        pytest.param(16 * MiB, QUICK, id="10 cuts"),
        pytest.param(200 * MiB, LONG, id="50 cuts", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
async def test_git_clone_goes_on(tmp_path: Path, size: int, kinds: dict[Kind, int]) -> None:
    remote, clone = tmp_path / "remote.git", tmp_path / "clone"
    async with cut_shell(tmp_path, kinds, size, push=False) as shell:
        shell = with_git(shell)
        await make_repository(shell, remote, commits=8, size=size // 8)
        await shell.act("git", "clone", "--quiet", f"web:{remote}", clone, timeout=500)
        assert await state(shell, clone)
    shutil.rmtree(remote)
    shutil.rmtree(clone)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.needs("git", "ssh-keygen")
async def test_git_push_goes_on(tmp_path: Path) -> None:
    size = 200 * MiB
    local, remote = tmp_path / "local.git", tmp_path / "remote.git"
    async with cut_shell(tmp_path, LONG, size, push=True) as shell:
        shell = with_git(shell)
        await make_repository(shell, local, commits=8, size=size // 8)
        await shell.act("git", "init", "--quiet", "--bare", remote)
        await shell.act("git", "-C", local, "push", "--quiet", f"web:{remote}", "main", timeout=500)
        assert await state(shell, remote) == await state(shell, local)
    shutil.rmtree(local)
    shutil.rmtree(remote)
