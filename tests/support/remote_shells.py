"""Farhand and OpenSSH as the transport of other programs: the same job over both, and the results compared.

Both call the other machine `web`, which is this one: what a job leaves on either side is below its directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.support.faulty_proxy import network_service
from tests.support.openssh import make_key
from tests.support.service import Service
from tests.support.sshd import Sshd, running_sshd

HOST: Final = "web"

TIMEOUT: Final = 100.0
"""Seconds for one program, unless a test says otherwise: under the timeout of a test, so that its output is shown."""

GIT: Final = {
    **{f"GIT_{role}_{what}": "ada@web" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    **{f"GIT_{role}_DATE": "2026-01-01T00:00:00Z" for role in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
"""The same commits, whoever runs the tests and wherever."""


@dataclass(frozen=True)
class RemoteShell:
    """A program that is called as ssh is: its first words, and the environment in which it knows `web`.

    `shims` has programs called `ssh`, `scp` and `sftp` that go the same way, for what takes no command of words.
    """

    name: str
    words: tuple[str, ...]
    env: Mapping[str, str]
    shims: Path

    @property
    def command(self) -> str:
        """The words as one setting, such as `RSYNC_RSH`."""
        return shlex.join(self.words)

    def shim(self, program: str) -> str:
        """Return the path of `ssh`, `scp` or `sftp`."""
        return str(self.shims / program)

    def having(self, **more: str) -> RemoteShell:
        """Return the same with these variables for what it starts."""
        return replace(self, env={**self.env, **more})

    async def act(
        self,
        *command: str | Path,
        input: bytes | None = None,
        code: int | None = 0,
        timeout: float = TIMEOUT,
        **options: Any,
    ) -> str:
        """Run a program to its end and return what it printed. It has to exit with `code`, unless that is None."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command,
            **{"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": dict(self.env), **options},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout):
                out, error = await process.communicate(input)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started, which has its pipes
                await process.wait()
        said = f"{self.name}: {' '.join(map(str, command))}\n{(error or b'').decode(errors='replace')}"
        assert code is None or process.returncode == code, f"{said}\n{(out or b'').decode(errors='replace')}"
        return (out or b"").decode(errors="surrogateescape")

    async def run(self, *words: str, **options: Any) -> str:
        """Execute `rsh WORD…`: options, the host, the words of a command."""
        return await self.act(*self.words, *words, **options)


Job: TypeAlias = Callable[[RemoteShell, Path], Awaitable[object]]
"""What is done over each: all files are below the directory, which is empty; what it returns is compared, too."""


@dataclass(frozen=True)
class RemoteShells:
    """Both, to the same machine."""

    farhand: RemoteShell
    ssh: RemoteShell
    service: Service
    sshd: Sshd

    async def same(self, directory: Path, job: Job) -> Path:
        """Do a job over each and check that the same files and the same answers come out; return Farhand's files."""
        results = []
        for shell in (self.ssh, self.farhand):
            # Names of the same length: programs that print paths pad them, and put them into files.
            place = directory / ("over-ssh" if shell is self.ssh else "over-far")
            place.mkdir()
            answer = await job(shell, place)
            results.append((tree(place), str(answer).replace(str(place), "DIRECTORY")))
        (theirs, said), (ours, answered) = results
        assert theirs, "the job leaves nothing that could be compared"
        wrong = {name: (theirs.get(name), ours.get(name)) for name in differing(theirs, ours)}
        assert not wrong, f"over ssh, and over Farhand: {wrong}"
        assert answered == said, f"over ssh: {said}\nover Farhand: {answered}"
        return place


def tree(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return what is in a directory: type, mode, owner, the time of change in seconds and a digest of each file.

    `.git/index` and files named `…-private` are left out: the one has times in nanoseconds, the others are for what
    differs, such as logs.
    """
    found: dict[str, tuple[object, ...]] = {}
    for parent, directories, names in os.walk(directory):
        for name in (*directories, *names):
            path = Path(parent, name)
            relative = str(path.relative_to(directory))
            if relative.endswith(".git/index") or "-private" in relative:
                continue
            found[relative] = _described(path)
    return found


def _described(path: Path) -> tuple[object, ...]:
    about = path.lstat()
    kind = stat.S_IFMT(about.st_mode)
    if kind == stat.S_IFLNK:
        return ("link", str(path.readlink()))
    owner = (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid)
    if kind != stat.S_IFREG:
        return (kind, *owner)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return ("file", *owner, digest.hexdigest())


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Return the names whose values differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@contextlib.asynccontextmanager
async def remote_shells(directory: Path, config: str = "") -> AsyncIterator[RemoteShells]:
    """Run farhandd, reached over TLS with a login by key, and sshd, reached with the same key.

    Commands of both have an empty HOME: what the account's .bashrc writes has no part."""
    make_key(directory / "host_key")
    async with network_service(directory, config) as service:
        home = directory / "run-home"
        home.mkdir()
        allowed = directory / "config" / "farhand" / "authorized_keys"
        allowed.write_text(f'environment="HOME={home}" {allowed.read_text()}')
        env = client_environment(service)
        async with running_sshd(directory, HOST, env) as sshd:
            assert service.address is not None
            farhand = farhand_shell(directory, service, service.address[1], env)
            programs = {name: f'/usr/bin/{name} -F {sshd.client_config} "$@"' for name in ("ssh", "scp", "sftp")}
            shims = _make_shims(directory / "ssh-shims", **programs)
            ssh = RemoteShell("ssh", ("ssh", "-F", str(sshd.client_config)), env, shims)
            try:
                yield RemoteShells(farhand, ssh, service, sshd)
            finally:
                # In a session's fixture, asyncio can start no process any more: its watcher belongs to another loop.
                stop = ("farhand", "helper", "stop", "--json")
                quiet = subprocess.DEVNULL
                subprocess.run(stop, env=dict(farhand.env), stdin=quiet, stdout=quiet, stderr=quiet, check=False)


def client_environment(service: Service, *, mux: str = "auto") -> dict[str, str]:
    """Return an environment in which programs find `farhand`, and which has the helper, as people do, or none."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return service.environment | {"PATH": path, "FARHAND_MUX": mux}


def farhand_shell(directory: Path, service: Service, port: int, env: Mapping[str, str]) -> RemoteShell:
    """Return Farhand's remote shell with a configuration below `directory` in which `web` is that port of loopback."""
    config = directory / "client" / "farhand"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(
        f'[hosts.{HOST}]\naddress = "127.0.0.1:{port}"\nidentities = ["{service.directory}/key"]\n'
    )
    key = (service.directory / "state/farhand/host_key.pub").read_text()
    (config / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
    shims = directory / "farhand-shims"
    env = {**env, "XDG_CONFIG_HOME": str(config.parent)}
    subprocess.run(["farhand", "install-shims", shims], env=env, check=True, stdout=subprocess.DEVNULL)
    return RemoteShell("farhand", ("farhand", "rsh"), env, shims)


def _make_shims(directory: Path, **commands: str) -> Path:
    directory.mkdir()
    for program, command in commands.items():
        shim = directory / program
        shim.write_text(f"#!/bin/sh\nexec {command}\n")
        shim.chmod(0o755)
    return directory
