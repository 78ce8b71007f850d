"""borg and restic over Farhand keep what they keep over ssh."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.remote_shells import RemoteShell, RemoteShells, tree

from .test_copying import make_files

pytestmark = pytest.mark.needs("ssh", "sshd")


@pytest.mark.needs("borg")
async def test_borg_makes_and_restores_an_archive(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        source, back = make_files(here), here / "back"
        back.mkdir()
        shell = shell.having(
            BORG_BASE_DIR=str(here / "borg-private"),
            BORG_RSH=shell.command,
            BORG_REPO=f"ssh://web{here}/repository-private",
            BORG_RELOCATED_REPO_ACCESS_IS_OK="yes",
            BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes",
        )
        await shell.act("borg", "init", "--encryption=none")
        await shell.act("borg", "create", "::first", "source", cwd=here)
        await shell.act("borg", "extract", "::first", cwd=back)
        assert {f"source/{name}" for name in tree(source)} | {"source"} == set(tree(back))
        listed = await shell.act("borg", "list", "::first", "--format={mode} {size} {path}{NL}")
        return sorted(listed.splitlines())  # an archive has files in the order in which the directory has them

    await shells.same(tmp_path, work)


def with_restic(shell: RemoteShell, here: Path) -> tuple[RemoteShell, tuple[str, ...]]:
    """Return the shell with restic's environment, and the words before its command."""
    shell = shell.having(
        RESTIC_REPOSITORY=f"sftp:web:{here}/repository-private",
        RESTIC_PASSWORD="of a test",
        RESTIC_CACHE_DIR=str(here / "cache-private"),
    )
    return shell, ("restic", "--quiet", "-o", f"sftp.command={shell.command} web -s sftp")


@pytest.mark.needs("restic")
async def test_restic_makes_a_repository(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        shell, restic = with_restic(shell, here)
        await shell.act(*restic, "init")
        (here / "names").write_text("\n".join(sorted(path.name for path in (here / "repository-private").iterdir())))
        return ""

    await shells.same(tmp_path, work)


@pytest.mark.long
@pytest.mark.needs("restic")
async def test_restic_restores_a_snapshot(shells: RemoteShells, tmp_path: Path) -> None:
    async def work(shell: RemoteShell, here: Path) -> object:
        source, back = make_files(here), here / "back"
        shell, restic = with_restic(shell, here)
        await shell.act(*restic, "init")
        await shell.act(*restic, "backup", "source", cwd=here)
        await shell.act(*restic, "check", "--read-data")
        await shell.act(*restic, "restore", "latest", "--target", back)
        assert tree(back / "source") == tree(source)
        return ""

    await shells.same(tmp_path, work)
