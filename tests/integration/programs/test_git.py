"""git over `farhand rsh` makes the repositories that it makes over ssh."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.support.remote_shells import GIT, RemoteShell, RemoteShells

pytestmark = pytest.mark.needs("git", "ssh", "sshd")


UNCOMPRESSED = (("core.compression", "0"), ("core.bigFileThreshold", "1m"))
"""Settings without which git spends minutes on the compression of random bytes."""


async def make_repository(
    shell: RemoteShell, path: Path, *, commits: int = 3, size: int = 20_000, seed: int = 1
) -> None:
    """Make a bare repository whose commits have the same ids each time."""
    chance = random.Random(seed)
    work = path.with_name("work-private")
    await shell.act("git", "init", "--quiet", "--initial-branch=main", work)
    for setting in UNCOMPRESSED:  # the environment does not reach git-upload-pack
        await shell.act("git", "-C", work, "config", *setting)
    for number in range(commits):
        (work / f"it's {number}").write_bytes(chance.randbytes(size))
        await shell.act("git", "-C", work, "add", ".")
        await shell.act("git", "-C", work, "commit", "--quiet", "-m", f"Add {number}")
    await shell.act("git", "clone", "--quiet", "--bare", "--no-local", work, path)
    for setting in UNCOMPRESSED:
        await shell.act("git", "-C", path, "config", *setting)
    shutil.rmtree(work)


def with_git(shell: RemoteShell) -> RemoteShell:
    """Return the shell with an environment in which git goes that way, and depends on nobody's settings."""
    # "simple" and "ssh" differ in the options that git gives; its default asks by `rsh -G host`.
    settings = {"GIT_CONFIG_COUNT": str(len(UNCOMPRESSED))}
    for number, (name, value) in enumerate(UNCOMPRESSED):
        settings |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return shell.having(**GIT, **settings, GIT_SSH_COMMAND=shell.command)


def urls(path: Path) -> tuple[str, str]:
    """Return both ways to write where a repository is."""
    return f"web:{path}", f"ssh://web{str(path).replace(' ', '%20')}"


async def state(shell: RemoteShell, path: Path) -> list[str]:
    """Return the references of a repository, once every object of it has been checked."""
    await shell.act("git", "-C", path, "fsck", "--full", "--strict")
    return (await shell.act("git", "-C", path, "for-each-ref")).splitlines()


async def test_clone_push_and_fetch(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = with_git(shell)
        remote, one, other = here / "it's remote-private.git", here / "one-private", here / "other-private"
        await make_repository(shell, remote)
        await shell.act("git", "clone", "--quiet", urls(remote)[0], one)
        await shell.act("git", "clone", "--quiet", urls(remote)[1], other)
        (one / "new").write_text("new")
        await shell.act("git", "-C", one, "add", ".")
        await shell.act("git", "-C", one, "commit", "--quiet", "-m", "Add one more")
        await shell.act("git", "-C", one, "push", "--quiet", "origin", "HEAD:main", "HEAD:refs/tags/it's-a-tag")
        await shell.act("git", "-C", other, "pull", "--quiet", "--ff-only", "--tags")
        (here / "seen").write_text((other / "new").read_text())
        return [await state(shell, path) for path in (remote, one, other)]

    await shells.same(tmp_path, work)


@pytest.mark.long
@pytest.mark.parametrize("variant", ["ssh", "simple", "auto"])
async def test_a_setting_of_the_repository_does_the_same(shells: RemoteShells, tmp_path: Path, variant: str) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = shell.having(**GIT)
        remote = here / "remote-private.git"
        await make_repository(shell, remote)
        settings = ("-c", f"core.sshCommand={shell.command}", "-c", f"ssh.variant={variant}")
        await shell.act("git", *settings, "clone", "--quiet", urls(remote)[0], here / "clone-private")
        listed = await shell.act("git", *settings, "ls-remote", urls(remote)[1])
        (here / "listed").write_text(listed)
        return listed, await state(shell, here / "clone-private")

    await shells.same(tmp_path, work)


@pytest.mark.long
async def test_shallow_clones_are_deepened(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = with_git(shell)
        remote, clone = here / "remote-private.git", here / "clone-private"
        await make_repository(shell, remote, commits=8)
        counts = []
        await shell.act("git", "clone", "--quiet", "--depth=1", urls(remote)[0], clone)
        for more in ("--depth=3", "--unshallow"):
            counts.append(await shell.act("git", "-C", clone, "rev-list", "--count", "HEAD"))
            await shell.act("git", "-C", clone, "fetch", "--quiet", more)
        counts.append(await shell.act("git", "-C", clone, "rev-list", "--count", "HEAD"))
        (here / "counts").write_text("".join(counts))
        partial = here / "partial-private"
        await shell.act("git", "-C", remote, "config", "uploadpack.allowFilter", "true")
        await shell.act("git", "-C", remote, "config", "uploadpack.allowAnySHA1InWant", "true")
        await shell.act("git", "clone", "--quiet", "--filter=blob:none", urls(remote)[0], partial)
        return counts, await state(shell, clone), sorted(path.name for path in partial.iterdir())

    await shells.same(tmp_path, work)


@pytest.mark.long
async def test_submodules_are_cloned_the_same_way(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = with_git(shell)
        inner, outer, work = here / "inner-private.git", here / "outer-private", here / "clone-private"
        await make_repository(shell, inner)
        await shell.act("git", "init", "--quiet", "--initial-branch=main", outer)
        await shell.act("git", "-C", outer, "submodule", "--quiet", "add", urls(inner)[0], "inner")
        await shell.act("git", "-C", outer, "commit", "--quiet", "-m", "Have a part")
        await shell.act("git", "clone", "--quiet", "--recurse-submodules", "--jobs=4", urls(outer)[1], work)
        (here / "names").write_text(" ".join(sorted(path.name for path in (work / "inner").iterdir())))
        return await state(shell, work / "inner")

    await shells.same(tmp_path, work)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_pack_of_500_mb(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = with_git(shell)
        remote, clone, again = (here / f"{name}-private" for name in ("remote.git", "clone", "again.git"))
        await make_repository(shell, remote, commits=10, size=50_000_000)
        await shell.act("git", "clone", "--quiet", urls(remote)[0], clone, timeout=250)
        await shell.act("git", "init", "--quiet", "--bare", again)
        await shell.act("git", "-C", clone, "push", "--quiet", urls(again)[0], "main", timeout=250)
        (here / "state").write_text("\n".join(await state(shell, again)))
        for path in (remote, clone, again):
            shutil.rmtree(path)
        return ""

    await shells.same(tmp_path, work)


async def test_its_failures_are_those_over_ssh(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell = with_git(shell)
        (here / "file").write_text("")
        return await shell.act("git", "clone", "--quiet", f"web:{here}/missing", here / "clone", code=128)

    await shells.same(tmp_path, work)
