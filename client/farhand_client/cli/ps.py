"""`farhand ps`: the runs of a service, as a table or as JSON."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from farhand_client.client import Client
from farhand_client.signals import signal_name
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, SpawnFailed, TimedOut

from .carry import tell
from .options import parser
from .printable import cut, printable, width
from .show import show
from .status import of_outcome
from .working import add_common, asked

SHOWN: Final = 13
"""Characters of an id at the least: of one that farhand has made they say the millisecond, so nearly always whose it
is. Where they do not, more are shown."""

LEAST: Final = 16
"""Columns that the command gets, however narrow the terminal."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    given = parser("ps", "HOST", "List the runs that go on, the newest first.")
    given.add_argument("-a", "--all", action="store_true", help="also those that are over and still known")
    add_common(given, reconnect=False)
    options = given.parse_args(arguments)

    async def listed(client: Client) -> int:
        return _print(options, client.user, await client.runs(ended=options.all))

    return asked(options, listed)


def _print(options: argparse.Namespace, user: str, runs: list[m.RunInfo]) -> int:
    if options.json:
        for run in runs:
            tell(as_json(run))
        return 0
    columns = os.get_terminal_size(1).columns if os.isatty(1) else None
    show("\n".join(table(runs, user=user, now=time.time(), columns=columns)))
    return 0


def as_json(run: m.RunInfo) -> dict[str, Any]:
    """Return what is known of a run, for programs: a run that goes on has no outcome."""
    values = run.model_dump(mode="json")
    outcome = None if run.outcome is None else of_outcome(run.outcome)
    return {"run_id": values.pop("id"), **values, "outcome": outcome}


def table(runs: Sequence[m.RunInfo], *, user: str, now: float, columns: int | None) -> list[str]:
    """Return the lines, no longer than `columns` where that is possible.

    The owner is shown where somebody else than `user` has a run there. `now` is in seconds since the epoch.
    """
    shown = unique(sorted(run.id for run in runs))
    rows = [["ID", "OWNER", "STATE", "AGE", "TIME", "OUTPUT", "COMMAND"]]
    for run in runs:
        age = run.duration if run.outcome is None else max(now - run.began, run.duration)
        output = bytes_for_people(run.stdout + run.stderr)
        words = [run.id[:shown], run.owner, state(run.outcome), time_for_people(age), time_for_people(run.duration)]
        rows.append([printable(word) for word in (*words, output, run.command)])
    if all(run.owner == user for run in runs):
        for row in rows:
            del row[1]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for *words, command in rows:
        line = "".join(word + " " * (wide - width(word) + 2) for word, wide in zip(words, widths, strict=False))
        left = None if columns is None else max(LEAST, columns - width(line))
        lines.append(line + (command if left is None else cut(command, left)))
    return lines


def unique(ids: Sequence[str]) -> int:
    """Return how many characters tell these sorted ids apart, `SHOWN` at the least."""
    same = (next(at for at, pair in enumerate(zip(*two, strict=True)) if pair[0] != pair[1]) for two in pairwise(ids))
    return max(SHOWN, 1 + max(same, default=0))


def state(outcome: Outcome | None) -> str:
    """Return how it goes, in a word or two."""
    match outcome:
        case None:
            return "running"
        case Exited():
            return f"exited {outcome.code}"
        case Signaled():
            return signal_name(outcome.signal)
        case TimedOut():
            return "timed out"
        case Killed(reason="requested"):
            return "stopped"
        case Killed():
            return f"killed: {outcome.reason}"
        case SpawnFailed():
            return "never ran"
        case _:
            return "lost"


def time_for_people(seconds: float) -> str:
    """Return a time in at most six characters: `0.25s`, `42s`, `3m07s`, `2h05m`, `12d03h`."""
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    for size, name, below, under in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{name}{whole % size // below:02d}{under}"
    return f"{whole}s"


def bytes_for_people(count: int) -> str:
    """Return a size in at most five characters, in powers of 1024: `900`, `1.5K`, `12M`."""
    if count < 1024:
        return str(count)
    size, units = count / 1024, iter("KMGTPE")
    unit = next(units)
    while size >= 999.5:
        size, unit = size / 1024, next(units)
    return f"{size:.1f}{unit}" if size < 9.95 else f"{size:.0f}{unit}"
