"""Random commands by `farhand run` and by `ssh`: the same bytes and the same status."""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.client import in_flight
from tests.benchmarks.servers import running_servers
from tests.support import warm
from tests.support.warm import FARHAND

from .harness import Campaign, Figure, Setting, none_of

TIMEOUT: Final = 60.0
AT_ONCE: Final = 2

ANSWER: Final = """\
import os, signal, sys
sys.stdout.buffer.write(b"\\0".join(os.fsencode(each) for each in sys.argv[3:]) + b"\\n")
sys.stdout.buffer.write(sys.stdin.buffer.read())
sys.stderr.buffer.write(b"x" * int(sys.argv[2]))
sys.stdout.flush(), sys.stderr.flush()
code = int(sys.argv[1])
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
"""Prints its arguments and its stdin, and ends with a status or by a signal."""

SIGNALED: Final = "ssh says 255 where the program was ended by a signal; farhand says 128 and the signal's number"


@dataclass(frozen=True)
class Done:
    """What a client passed on."""

    stdout: bytes
    stderr: bytes
    status: int


async def measure(setting: Setting) -> Sequence[Figure]:
    """Give both clients the same commands."""
    count = setting.size(25, 10_000)
    chance = setting.chance
    cases = iter([_case(chance) for _ in range(count)])
    differences: list[str] = []
    signals = 0
    async with running_servers(setting.subdirectory("servers")) as servers:
        environment = servers.bench.environment
        # One login serves all: a thousand times as many commands fit into a night.
        control = f"-oControlPath={servers.bench.directory}/control"
        ssh = ("ssh", "-F", str(servers.ssh_config), control)
        master = await asyncio.create_subprocess_exec(*ssh, "-MN", "bench", stdin=asyncio.subprocess.DEVNULL)

        async def one() -> None:
            nonlocal signals
            command, data = next(cases)
            farhand: list[str | bytes] = [
                *FARHAND,
                "run",
                "-i",
                "-I",
                str(servers.bench.key),
                servers.host,
                "--",
                *command,
            ]
            ours = await _done(farhand, data, environment)
            ssh = ["ssh", "-F", str(servers.ssh_config), "bench", shlex.join(map(os.fsdecode, command))]
            theirs = await _done(ssh, data, environment)
            if ours != theirs:
                if ours.status > 128 and theirs.status == 255 and ours.stdout == theirs.stdout:
                    signals += 1
                    return
                sizes = [len(each) for each in command[6:]]
                given = f"code {command[4]!r}, arguments of {sizes} bytes, stdin of {len(data)}"
                differences.append(f"{given}: {_short(ours)}, ssh {_short(theirs)}")
                print(f"openssh: {differences[-1]}")

        try:
            await in_flight(count, AT_ONCE, one)
        finally:
            master.terminate()
            await master.wait()
    return [
        none_of("commands with another result than by ssh", len(differences), count, note="; ".join(differences[:3])),
        Figure("expected differences", f"{signals}: {SIGNALED}"),
    ]


def _case(chance: random.Random) -> tuple[list[bytes], bytes]:
    """Return a command and its stdin."""
    code = chance.choice([0, 1, 2, 7, 126, 127, 128, 200, -15, -9, -6, chance.randrange(255)])
    arguments = [
        bytes(chance.randrange(1, 256) for _ in range(chance.choice([0, 1, 5, 40, 1000])))
        for _ in range(chance.randrange(5))
    ]
    words = [sys.executable, "-S", "-c", ANSWER, str(code), str(chance.choice([0, 1, 70_000]))]
    data = chance.randbytes(chance.choice([0, 1, 100, 70_000, 300_000]))
    return [*map(os.fsencode, words), *arguments], data


async def _done(command: Sequence[object], data: bytes, environment: Mapping[str, str]) -> Done:
    process = await warm.start(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(data), TIMEOUT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Done(stdout or b"", stderr or b"", process.returncode)


def _short(done: Done) -> str:
    return f"status {done.status}, {len(done.stdout)} and {len(done.stderr)} bytes {done.stderr[:80]!r}"


CAMPAIGN = Campaign("openssh", "Random commands, as ssh runs them.", measure, short=120, nightly=3 * 3600)
