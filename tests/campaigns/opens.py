"""Connections that say nothing, from very many sources: whether people still get in, known and unknown ones.

sshd gets the same connections, and its client the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import farhand_client
from farhand_client import FarhandError
from tests.benchmarks.servers import Servers, running_servers
from tests.support.sshd import LOOPBACK

from .harness import Campaign, Figure, Setting, at_least, at_most, none_of, quantile
from .raw import Key, RawTLSClient, RefusedError
from .services import service_pids

HELD: Final = 6000
"""Connections that the attacker holds at once, the newest; a process has 20,000 descriptors."""

TIMEOUT: Final = 10.0
"""Seconds after which somebody who wants to log in gives up."""

GAP: Final = 0.1
"""Seconds between two logins of one kind."""


@dataclass
class Logins:
    """The logins of one kind: what each took, and how many failed."""

    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def all(self) -> int:
        """How many there were."""
        return len(self.took) + len(self.failed)

    @property
    def share(self) -> float:
        """The share of these, in percent, that succeeded."""
        return 100 * len(self.took) / max(1, self.all)


async def measure(setting: Setting) -> Sequence[Figure]:
    """Attack Farhand, then sshd, and log in meanwhile."""
    seconds, rate, sources = setting.size(10, 300), setting.size(400, 1700), setting.size(2000, 10_000)
    directory = setting.subdirectory("servers")
    figures: list[Figure] = []
    async with running_servers(directory) as servers:
        assert servers.farhand.address is not None
        pids = service_pids(servers.farhand)
        known, unknown = Logins(), Logins()
        await _known(servers)  # from now on the service has seen this client
        opened = await _attack(
            servers.farhand.address[1],
            rate,
            sources,
            seconds,
            setting.seed,
            _again(known, lambda: _known(servers)),
            _again(unknown, lambda: asyncio.to_thread(_unknown, servers, setting.chance)),
        )
        alive = set(pids) <= set(service_pids(servers.farhand))
        ssh = Logins()
        against_ssh = await _attack(
            servers.ssh.port, rate, sources, seconds, setting.seed, _again(ssh, lambda: _ssh(servers))
        )
    beside = f"sshd: {ssh.share:.1f} % of {ssh.all}, p99 {_p99(ssh)}; {against_ssh / seconds * 60:,.0f} opens a minute"
    figures += [
        Figure("hostile opens a minute", f"{opened / seconds * 60:,.0f} from {sources:,} sources"),
        at_least(f"of {known.all} known clients, logged in", known.share, 99.9, "%", beside=beside),
        at_most("what that took them, 99 of 100", quantile(known.took or [TIMEOUT], 0.99), 1, "s"),
        at_least(f"of {unknown.all} unknown clients, logged in", unknown.share, 95, "%"),
        Figure("what that took them, 99 of 100", _p99(unknown)),
        none_of("ends of core or edge", int(not alive), 1),
    ]
    for text in sorted({*known.failed, *unknown.failed})[:5]:
        print(f"opens: {text}")
    return figures


def _p99(logins: Logins) -> str:
    return f"{quantile(logins.took, 0.99):.2f} s" if logins.took else "never"


async def _attack(
    port: int, rate: int, sources: int, seconds: float, seed: int, *others: Callable[[], Awaitable[None]]
) -> int:
    """Let a process of its own open connections, and call `others` meanwhile; return how many were opened."""
    attacker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.campaigns.opens"),
        *map(str, (port, rate, sources, seconds, seed)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    calls = [asyncio.ensure_future(each()) for each in others]
    try:
        output, _ = await asyncio.wait_for(attacker.communicate(), 3 * seconds + 60)
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        if attacker.returncode is None:
            attacker.kill()
            await attacker.wait()
    return int(output)


def _again(logins: Logins, log_in: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Return a function that logs in again and again until it is cancelled, and keeps count."""

    async def go_on() -> None:
        while True:
            start_time = time.monotonic()
            try:
                async with asyncio.timeout(TIMEOUT):
                    await log_in()
                logins.took.append(time.monotonic() - start_time)
            except (FarhandError, OSError, RefusedError, RuntimeError) as error:
                logins.failed.append(f"{type(error).__name__}: {error}".splitlines()[0][:150])
            await asyncio.sleep(GAP)

    return go_on


async def _known(servers: Servers) -> None:
    """Log in from an address, and with a client, that the service has seen before."""
    known_hosts = servers.bench.directory / "config" / "farhand" / "known_hosts"
    async with farhand_client.connect(
        servers.host, identities=[servers.bench.key], known_hosts=known_hosts, reconnect=0, timeout=TIMEOUT
    ) as client:
        await client.run(["true"])


def _unknown(servers: Servers, chance: random.Random) -> None:
    """Log in from an address that the service has never seen, without a ticket."""
    assert servers.farhand.address is not None
    with RawTLSClient(servers.farhand.address, source=_address(chance), timeout=TIMEOUT) as client:
        client.log_in(servers.bench.user, Key(servers.bench.key))


async def _ssh(servers: Servers) -> None:
    process = await asyncio.create_subprocess_exec(
        *("ssh", "-F", str(servers.ssh_config), "bench", "true"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=servers.bench.environment,
    )
    try:
        if await process.wait() != 0:
            raise RuntimeError("ssh could not log in")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _address(chance: random.Random) -> str:
    return f"127.{chance.randrange(1, 250)}.{chance.randrange(250)}.{chance.randrange(1, 250)}"


def attack(port: int, rate: int, sources: int, seconds: float, seed: int) -> int:
    """Open connections at this rate from random sources and say nothing on them; return how many."""
    chance = random.Random(seed)
    addresses = [_address(chance) for _ in range(sources)]
    held: deque[socket.socket] = deque()
    began, opened = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        if opened >= rate * passed:
            time.sleep(0.001)
            continue
        connection = socket.socket()
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.bind((chance.choice(addresses), 0))
            connection.connect((LOOPBACK, port))
        held.append(connection)
        opened += 1
        if len(held) > HELD:
            held.popleft().close()
    return opened


CAMPAIGN = Campaign("opens", "Connections that say nothing, from many sources.", measure, short=120, nightly=1800)

if __name__ == "__main__":
    number, each_second, how_many = map(int, sys.argv[1:4])
    print(attack(number, each_second, how_many, float(sys.argv[4]), int(sys.argv[5])))
