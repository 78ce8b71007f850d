"""Running `farhand` as a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support import warm
from tests.support.warm import FARHAND

__all__ = ["FARHAND", "Finished", "farhand", "json_lines", "running"]


@dataclass(frozen=True)
class Finished:
    """Exit code and output of a process."""

    code: int
    stdout: bytes
    stderr: bytes


@contextlib.asynccontextmanager
async def running(
    *arguments: str | bytes, env: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start `farhand`; kill it at the end if it still runs."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = await warm.start(*FARHAND, *arguments, env=env, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def farhand(
    *arguments: str | bytes, input: bytes | None = None, env: Mapping[str, str] | None = None, **options: Any
) -> Finished:
    """Run `farhand` and wait for its exit."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    async with running(*arguments, env=env, **options) as process:
        stdout, stderr = await process.communicate(input)
        assert process.returncode is not None
        return Finished(process.returncode, stdout or b"", stderr or b"")


def json_lines(data: bytes) -> list[dict[str, Any]]:
    """Parse the JSON lines that a command printed."""
    return [json.loads(line) for line in data.splitlines()]
