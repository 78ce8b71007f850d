"""`farhand ping`: round trips, versions, features, and who one is there."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from farhand_client.ui.printing import print_output

from .connection import open_connection
from .options import add_connection_options


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="farhand ping", description="Measure round trips and say who answers.", allow_abbrev=False
    )
    add_connection_options(parser)
    parser.add_argument("-c", "--count", metavar="N", type=_count, default=3, help="how many (1 to 1000, default 3)")
    parser.add_argument("host", metavar="HOST")
    return asyncio.run(_ping(parser.parse_args(arguments)))


async def _ping(options: argparse.Namespace) -> int:
    async with open_connection(options.host, options) as client:
        features = ", ".join(client.features) or "none"
        print_output(f"{client.name}: {client.user} on {client.host}")
        print_output(f"{client.software}, protocol {client.version}, features: {features}")
        times = []
        for _ in range(options.count):
            times.append(1000 * await client.ping())
            print_output(f"round trip {times[-1]:.3f} ms")
        print_output(f"least {min(times):.3f} ms, mean {sum(times) / len(times):.3f} ms, most {max(times):.3f} ms")
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:5]) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)
