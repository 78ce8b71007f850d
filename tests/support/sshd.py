"""OpenSSH's server as people have it, on a free port of loopback, with all of its files below one directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import random
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START: Final = 30.0
"""Timeout, in seconds, for sshd to report that it listens; it takes a tenth."""

LOOPBACK: Final = "127.0.0.1"

SEPARATION: Final = Path("/run/sshd")
"""sshd's privilege separation directory: compiled in by Debian, created by the unit, missing if that never ran."""

SSHD: Final = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin") or "/usr/sbin/sshd"

SFTP_SERVER: Final = "/usr/lib/openssh/sftp-server"
"""Where Debian has the program of the subsystem `sftp`."""


@dataclass(frozen=True)
class Sshd:
    """A running sshd, and the configurations of both sides."""

    directory: Path
    port: int
    pid: int

    @property
    def server_config(self) -> Path:
        """sshd's complete configuration."""
        return self.directory / "sshd_config"

    @property
    def client_config(self) -> Path:
        """ssh's complete configuration, for `ssh -F`."""
        return self.directory / "ssh_config"


@contextlib.asynccontextmanager
async def running_sshd(
    directory: Path, name: str, env: Mapping[str, str], *, session: Mapping[str, str] | None = None
) -> AsyncIterator[Sshd]:
    """Run sshd with its defaults for the key `directory`/key and with the host key `directory`/host_key, which the
    caller has made; ssh's configuration calls the host `name`.

    `session` are variables of its sessions. Unless it has another, HOME is the empty directory `directory`/home, so
    that no .bashrc of the account that runs the tests has a part.
    """
    if os.geteuid() == 0:
        SEPARATION.mkdir(exist_ok=True)
    (directory / "home").mkdir(exist_ok=True)
    allowed = directory / "authorized_keys"
    allowed.write_text((directory / "key.pub").read_text())
    allowed.chmod(0o600)
    variables = {"HOME": f"{directory}/home", **(session or {})}
    port = free_port()
    config = directory / "sshd_config"
    config.write_text(
        f"""\
Port {port}
ListenAddress {LOOPBACK}
HostKey {directory}/host_key
AuthorizedKeysFile {allowed}
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
MaxSessions 128
MaxStartups 100
Subsystem sftp {SFTP_SERVER}
AcceptEnv *
SetEnv {" ".join(f'{name}="{value}"' for name, value in variables.items())}
"""
    )
    _write_client_config(directory, name, port)
    process = await asyncio.create_subprocess_exec(
        *(SSHD, "-D", "-e", "-f", config),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START):
            lines = []
            while b"Server listening" not in (line := await process.stderr.readline()):
                lines.append(line)
                if not line:
                    raise RuntimeError(f"sshd did not start: {b''.join(lines).decode(errors='replace')}")
        reading = asyncio.ensure_future(_read_on(process.stderr))
        try:
            yield Sshd(directory, port, process.pid)
        finally:
            reading.cancel()
            await asyncio.wait([reading])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _read_on(stream: asyncio.StreamReader) -> None:
    # What it logs is not wanted, but it would wait for somebody to read it.
    while await stream.read(1 << 16):
        pass


def _write_client_config(directory: Path, name: str, port: int) -> None:
    host_key = (directory / "host_key.pub").read_text()
    (directory / "ssh_known_hosts").write_text(f"[{LOOPBACK}]:{port} {host_key}{name} {host_key}")
    (directory / "ssh_config").write_text(
        f"""\
Host {name}
  HostName {LOOPBACK}
  Port {port}
  User {pwd.getpwuid(os.getuid()).pw_name}
  IdentityFile {directory}/key
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile {directory}/ssh_known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
"""
    )


def free_port() -> int:
    """Return a port that was free a moment ago, for servers that accept no port 0.

    It is below those that the kernel gives to clients and for port 0 (ip_local_port_range in ip(7)), of which another
    program may be given any at that moment.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server((LOOPBACK, port)):
            return port
