"""Farhand's client in the benchmarks of forwards: `python -m tests.benchmarks.forwarder HOST KEY TRANSPORT PORT`.

Forwards a port here to PORT of the service's machine, prints which one it is, and ends with its stdin. It runs on
uvloop, as the command line does.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from farhand_client import connect
from farhand_forwards.targets import Transport


async def main(host: str, key: str, transport: str, port: str) -> None:
    """Forward until stdin ends."""
    async with (
        connect(host, identities=[key]) as client,
        client.forward_local(
            "127.0.0.1", int(port), listen_host="127.0.0.1", transport=cast(Transport, transport)
        ) as forward,
    ):
        print(forward.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
