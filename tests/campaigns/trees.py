"""Process trees that do not want to end: whether anything survives their run."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from farhand_client import Client, CommandTimeout
from tests.benchmarks.client import in_flight

from .harness import Campaign, Figure, Setting, none_of
from .services import client_of, network_service

LIFE: Final = 120
"""Seconds after which a survivor ends by itself, so that a failed campaign leaves nothing behind."""

SETTLE: Final = 5.0
"""Seconds after the outcome within which a killed process may still be visible."""

TREE: Final = f"""\
import os, signal, subprocess, sys, time
kind, token = sys.argv[1:3]
until = time.monotonic() + {LIFE}

def stay():
    while time.monotonic() < until:
        time.sleep(1)
    os._exit(0)

def deaf():
    for number in set(signal.Signals) - {{signal.SIGKILL, signal.SIGSTOP}}:
        signal.signal(number, signal.SIG_IGN)

def detached():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            stay()
        os._exit(0)

if kind == "double fork":
    detached()
elif kind == "deaf":
    deaf()
    os.fork()
    stay()
elif kind == "deaf daemons":
    deaf()
    for _ in range(5):
        detached()
elif kind == "storm":
    deaf()
    for _ in range(5):
        os.fork()
    stay()
elif kind == "exec loop":
    deaf()
    os.execv(sys.executable, [sys.executable, "-S", *sys.orig_argv[1:]] if len(sys.orig_argv) < 200 else sys.orig_argv)
elif kind == "chain":
    for _ in range(20_000):
        if os.fork():
            os._exit(0)
        os.setsid()
        if time.monotonic() > until:
            break
elif kind == "nameless":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep({LIFE})", token], env={{}}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
elif kind == "stopped":
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    stay()
"""
"""All processes have the token in their arguments."""

KINDS: Final = ("double fork", "deaf", "deaf daemons", "storm", "exec loop", "chain", "nameless", "stopped")


async def measure(setting: Setting) -> Sequence[Figure]:
    """Run each kind with each end, and look for processes with its token afterwards."""
    count = setting.size(40, 1000)
    directory = setting.subdirectory("service")
    (directory / "tree.py").write_text(TREE)
    survivors: Counter[str] = Counter()
    late: Counter[str] = Counter()
    numbers = iter(range(count))
    async with network_service(directory) as service, client_of(service) as client:

        async def one() -> None:
            number = next(numbers)
            kind, token = KINDS[number % len(KINDS)], f"tree-{uuid.uuid4()}"
            await _run(client, [sys.executable, "-S", str(directory / "tree.py"), kind, token], number)
            late[kind] += bool(_alive(token))
            until = time.monotonic() + SETTLE
            while (alive := _alive(token)) and time.monotonic() < until:  # noqa: ASYNC110  # their ends have no event here
                await asyncio.sleep(0.05)
            survivors[kind] += bool(alive)

        await in_flight(count, 4, one)
    return [
        none_of(f"trees of {len(KINDS)} kinds with survivors", survivors.total(), count, note=_shown(survivors)),
        Figure("trees of which something was there when the outcome arrived", f"{late.total()} {_shown(late)}".strip()),
    ]


async def _run(client: Client, command: list[str], number: int) -> None:
    """Run to the end: by itself or by its timeout, or stopped by the client."""
    if number % 3 == 2:
        async with client.start(command, kill_after=0.2) as run:
            await asyncio.sleep(0.3)
            await run.stop()
    else:
        try:
            await client.run(command, timeout=1.0, kill_after=0.2)
        except CommandTimeout:
            return


def _alive(token: str) -> list[int]:
    """Return the pids of processes with the token in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if token.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


CAMPAIGN = Campaign("trees", "Process trees that do not want to end.", measure, short=90, nightly=3600)
