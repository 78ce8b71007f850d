"""A recording in messages that its reader takes: marks of any size, in messages of a bounded one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from . import messages as m

_AROUND: Final = len(m.encode(m.OutputMarks(marks=()))) - 1  # each mark brings a comma, and there is one less


def pack_marks(marks: Iterable[m.OutputMark], limit: int) -> Iterator[m.OutputMarks]:
    """Yield `marks` in messages of at most `limit` bytes, the peer's `message`, and of at most `MAX_MARKS`; none for
    no marks.

    Each is made when it is asked for, so that a recording takes the memory of what can go out now and not of it all.
    """
    part: list[m.OutputMark] = []
    size = _AROUND
    for mark in marks:
        more = len(mark.model_dump_json(exclude_none=True)) + 1
        if part and (len(part) == m.MAX_MARKS or size + more > limit):
            yield m.OutputMarks(marks=tuple(part))
            part, size = [], _AROUND
        part.append(mark)
        size += more
    if part:
        yield m.OutputMarks(marks=tuple(part))
