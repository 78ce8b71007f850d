"""The compared services: each in its own process, on loopback, with all files below one directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.openssh import make_key
from tests.support.service import Service, environment, running_service
from tests.support.sshd import LOOPBACK, Sshd, free_port, running_sshd

from .workload import ASYNCSSH, OPENSSH

START = 30.0
"""Timeout, in seconds, for a server to report that it listens; the slowest takes one."""

CONFIG = "[runs]\nmax_runs = 2400\nmax_runs_per_connection = 2400\n"
"""The service's configuration: its defaults, but 2,000 runs at once are measured, too."""

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"

DROPBEAR_SERVER = shutil.which("dropbear", path=_PATH) if os.geteuid() == 0 else None
"""Dropbear's server; None if it is not installed, or cannot have a home directory of its own."""


@dataclass(frozen=True)
class BenchmarkDirectory:
    """The directory of a benchmark and its keys. All servers accept the client's key."""

    directory: Path
    user: str

    @property
    def key(self) -> Path:
        """The client's private key."""
        return self.directory / "key"

    @property
    def known_hosts(self) -> Path:
        """Farhand's list of host keys."""
        return self.directory / "config" / "farhand" / "known_hosts"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of all clients: Farhand's directories below this one, no agent, and the helper as it is
        for users."""
        return environment(self.directory) | {"FARHAND_MUX": "auto"}


@dataclass(frozen=True)
class Servers:
    """The running servers."""

    bench: BenchmarkDirectory
    farhand: Service
    ssh: Sshd
    asyncssh: int
    """The asyncssh server's port."""
    dropbear: int | None
    """Dropbear's port; None if it is not installed."""
    pids: Mapping[str, int]
    """The pids of sshd and of the asyncssh server by the contestant's name."""

    @property
    def ssh_config(self) -> Path:
        """ssh's complete configuration, for `ssh -F`; the host is called `bench`."""
        return self.ssh.client_config

    @property
    def sshd_config(self) -> Path:
        """sshd's complete configuration."""
        return self.ssh.server_config

    @property
    def host(self) -> str:
        """The HOST argument for Farhand over TLS."""
        assert self.farhand.address is not None
        return f"{self.farhand.address[0]}:{self.farhand.address[1]}"


def make_directory(directory: Path) -> BenchmarkDirectory:
    """Create the keys and directories that the servers and clients share."""
    make_key(directory / "key")
    make_key(directory / "host_key")
    public = (directory / "key.pub").read_text()
    allowed = directory / "config" / "farhand" / "authorized_keys"
    allowed.parent.mkdir(parents=True)
    allowed.write_text(public)
    allowed.chmod(0o600)
    return BenchmarkDirectory(directory, pwd.getpwuid(os.getuid()).pw_name)


@contextlib.asynccontextmanager
async def running_servers(directory: Path) -> AsyncIterator[Servers]:
    """Start all servers below the empty `directory`; stop them at the end."""
    bench = make_directory(directory)
    async with contextlib.AsyncExitStack() as stack:
        farhand = await stack.enter_async_context(running_service(directory, listen=True, config=CONFIG))
        ssh = await stack.enter_async_context(running_sshd(directory, "bench", bench.environment))
        asyncssh, asyncssh_pid = await stack.enter_async_context(_asyncssh(bench))
        dropbear = await stack.enter_async_context(_dropbear(bench)) if DROPBEAR_SERVER is not None else None
        pids = {OPENSSH: ssh.pid, ASYNCSSH: asyncssh_pid}
        servers = Servers(bench, farhand, ssh, asyncssh, dropbear, pids)
        _write_known_hosts(servers)
        yield servers


@contextlib.asynccontextmanager
async def _dropbear(bench: BenchmarkDirectory) -> AsyncIterator[int]:
    """Run Dropbear in a mount namespace with another home: it reads authorized keys from the account's home alone."""
    port, home = free_port(), bench.directory / "dropbear"
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    home.chmod(0o700)
    shutil.copy(bench.directory / "authorized_keys", home / ".ssh" / "authorized_keys")
    for name in ("key", "host_key"):
        file = bench.directory / name
        await _checked("dropbearconvert", "openssh", "dropbear", str(file), f"{file}.dropbear")
    assert DROPBEAR_SERVER is not None
    in_home = ("unshare", "--mount", "sh", "-ec", 'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh")
    where = (str(home), pwd.getpwuid(os.getuid()).pw_dir)
    options = ("-F", "-E", "-s", "-r", f"{bench.directory}/host_key.dropbear", "-p", f"{LOOPBACK}:{port}")
    command = (*in_home, *where, DROPBEAR_SERVER, *options, "-P", str(home / "pid"))
    async with _process(command, bench.environment, lambda line: "Not backgrounding" in line):
        yield port


@contextlib.asynccontextmanager
async def _asyncssh(bench: BenchmarkDirectory) -> AsyncIterator[tuple[int, int]]:
    ready = ""

    def listens(line: str) -> bool:
        nonlocal ready
        ready = line
        return line.startswith("ready ")

    command = (
        sys.executable,
        "-m",
        "tests.benchmarks.asyncssh_server",
        str(bench.directory / "host_key"),
        str(bench.directory / "authorized_keys"),
    )
    async with _process(command, bench.environment, listens) as process:
        yield int(ready.split()[1]), process.pid


@contextlib.asynccontextmanager
async def _process(
    command: tuple[str, ...], env: Mapping[str, str], listens: Callable[[str], bool]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a server that reports on stderr when it listens; its later output is read, so that it never blocks."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=dict(env)
    )
    assert process.stderr is not None
    output: list[str] = []

    async def read(stream: asyncio.StreamReader) -> None:
        while line := (await stream.readline()).decode(errors="replace"):
            output.append(line)
            if listens(line):
                return
        raise RuntimeError(f"{command[0]} did not start: {''.join(output)}")

    async def read_on(stream: asyncio.StreamReader) -> None:
        while await stream.read(1 << 16):
            pass

    try:
        await asyncio.wait_for(read(process.stderr), START)
        reading = asyncio.create_task(read_on(process.stderr))
        try:
            yield process
        finally:
            reading.cancel()
            await asyncio.wait([reading])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _checked(*command: str) -> None:
    """Run a command to its end. Raises RuntimeError with what it wrote if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {out.decode(errors='replace')}")


def _write_known_hosts(servers: Servers) -> None:
    host, _, port = servers.host.partition(":")
    key = (servers.bench.directory / "state" / "farhand" / "host_key.pub").read_text()
    servers.bench.known_hosts.write_text(f"[{host}]:{port} {key}")
