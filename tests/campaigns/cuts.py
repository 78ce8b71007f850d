"""Connections cut at random bytes, in both directions, while commands run: nothing is lost, doubled or made up."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from farhand_client import Client, FarhandError
from tests.support.faulty_proxy import (
    Fault,
    Kind,
    check_nothing_is_left,
    client_through,
    faulty_proxy,
    network_service,
    random_faults,
)

from .harness import Campaign, Figure, Setting, none_of

SHARES: dict[Kind, int] = {"fin": 5, "rst": 5, "vanish": 1, "edge": 1}


async def measure(setting: Setting) -> Sequence[Figure]:
    """Send each command's stdin back through a line that is cut again and again, until enough cuts were made."""
    cuts, size = setting.size(40, 1000), 300_000
    directory = setting.subdirectory("service")
    marks = directory / "marks"
    chance = setting.chance
    runs: Counter[str] = Counter()
    async with network_service(directory) as service, faulty_proxy(service, _faults(setting, size)) as line:
        async with client_through(line, directory) as client:
            while len(line.made) < cuts:
                data, code = chance.randbytes(chance.randrange(size)), chance.randrange(256)
                runs[await _echo(client, data, code, str(marks))] += 1
            line.sound = True
        await check_nothing_is_left(service)
        started = marks.read_bytes().count(b"\n")
    total = runs.total()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(each.kind for each in line.made).items()))
    return [
        none_of("successes with other bytes or another status", runs["wrong"], total),
        none_of("commands that ran twice or not at all", abs(started - total), total),
        none_of("errors instead of a result", runs["error"], total),
        Figure("cuts", f"{len(line.made)}: {kinds}", f"≥ {cuts}", met=len(line.made) >= cuts),
    ]


def _faults(setting: Setting, size: int) -> Iterator[Fault]:
    for number in itertools.count():
        yield from random_faults(setting.seed + number, 24, 2 * size, SHARES, of_client=True)


async def _echo(client: Client, data: bytes, code: int, marks: str) -> str:
    """Run `cat` through the line, and let it leave a mark; return whether the result is right."""
    script = 'echo ran >> "$1"; cat; exit "$2"'
    try:
        done = await client.run(["sh", "-c", script, "sh", marks, str(code)], input=data)
    except FarhandError as error:
        print(f"cuts: {type(error).__name__}: {error}")
        return "error"
    return "right" if (done.stdout, done.returncode) == (data, code) else "wrong"


CAMPAIGN = Campaign("cuts", "Connections cut at random bytes.", measure, short=90, nightly=3600)
