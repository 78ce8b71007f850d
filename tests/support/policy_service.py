"""A service with a policy file, and clients that log in over TLS, each with its own key."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Client, connect
from tests.support import openssh, warm
from tests.support.client import TIMEOUT
from tests.support.service import Service, running_service

ME = pwd.getpwuid(os.getuid()).pw_name


class PolicyService:
    """The service, and the fingerprints of the keys that `authorized_keys` admits, by name."""

    def __init__(self, directory: Path, manager: socket.socket) -> None:
        self.directory = directory
        self.keys: dict[str, str] = {}
        self.service: Service
        self._manager = manager

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.directory / "policy.toml"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state/farhand"

    def key(self, name: str, options: str = "") -> str:
        """Create a key, add it to authorized_keys with these options, and return its fingerprint."""
        made = openssh.make_key(self.directory / name)
        authorized = self.directory / "config/farhand/authorized_keys"
        authorized.parent.mkdir(parents=True, exist_ok=True)
        with authorized.open("a") as file:
            file.write(f"{options} {(self.directory / name).with_suffix('.pub').read_text()}")
        self.keys[name] = made.fingerprint
        return made.fingerprint

    @contextlib.asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[Client]:
        """Log in with the key called `name`."""
        assert self.service.address is not None
        host, port = self.service.address
        async with connect(
            host,
            user=ME,
            port=port,
            identities=[self.directory / name],
            known_hosts=self.directory / "known_hosts",
            accept_new=True,
            reconnect=None,
        ) as client:
            yield client

    async def reload(self, policy: str) -> str:
        """Replace the policy and reload; return the status that the service reports to its manager."""
        self.policy.write_text(policy)
        self.service.process.send_signal(signal.SIGHUP)
        await self._notified("RELOADING=1")
        return await self._notified("READY=1")

    async def _notified(self, text: str) -> str:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT):
            while text not in (state := (await loop.sock_recv(self._manager, 4096)).decode()):
                pass
        return state

    def audited(self, *events: str) -> list[dict[str, Any]]:
        """Return the entries of the audit log; if events are given, only theirs."""
        entries = [json.loads(line) for line in (self.state / "audit.jsonl").read_text().splitlines()]
        return [entry for entry in entries if not events or entry["event"] in events]


@contextlib.asynccontextmanager
async def policy_service(
    directory: Path, monkeypatch: pytest.MonkeyPatch, policy: str, *, config: str = "", **keys: str
) -> AsyncIterator[PolicyService]:
    """Run a service with a policy; `{me}` in it is this account, `{NAME}` the fingerprint of the key of that name.

    `keys` maps the keys' names to their options in authorized_keys.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
        guard = PolicyService(directory, manager)
        for name, options in keys.items():
            guard.key(name, options)
        guard.policy.write_text(policy.format(me=ME, **guard.keys))
        config = f'{config}\n[policy]\nfile = "{guard.policy}"\n'
        async with running_service(directory, listen=True, config=config) as guard.service:
            yield guard


async def farhandd(guard: PolicyService, *arguments: str) -> tuple[int, str]:
    """Run `farhandd` with the service's configuration; return its exit code and output."""
    process = await warm.start(
        *warm.FARHANDD,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=guard.service.environment,
    )
    output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert process.returncode is not None
    return process.returncode, output.decode()
