"""A listing in messages that its reader takes: runs of any size, in messages of a bounded one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from . import messages as m

_AROUND: Final = len(m.encode(m.Runs(runs=()))) - 1  # each run brings a comma, and there is one less


def pack_runs(runs: Iterable[m.RunInfo], limit: int) -> Iterator[m.Runs]:
    """Yield `runs` in messages of at most `limit` bytes, the peer's `message`; none for no runs.

    Each is made when it is asked for, so that a listing takes the memory of what can go out now and not of it all.
    """
    part: list[m.RunInfo] = []
    size = _AROUND
    for run in runs:
        more = len(run.model_dump_json(exclude_none=True).encode()) + 1
        if part and (len(part) == m.MAX_RUNS or size + more > limit):
            yield m.Runs(runs=tuple(part))
            part, size = [], _AROUND
        part.append(run)
        size += more
    if part:
        yield m.Runs(runs=tuple(part))
