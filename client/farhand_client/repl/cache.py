"""Names that were asked for a moment ago: what is typed on narrows them, and nobody is asked again. No I/O."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

LIFETIME: Final = 5.0
"""Seconds: as long as somebody takes to type a word. What a line changes is seen at once: it empties the cache."""

MOST: Final = 16
"""Answers that are kept, of 256 KiB at the most each."""

Key: TypeAlias = tuple[str, ...]
"""Of whom was asked, for what, where."""


class _Answer(NamedTuple):
    begin: bytes
    entries: tuple[bytes, ...]
    whole: bool
    until: float


class Cache:
    """Keeps what was printed: entries that end in NUL, of a kind's character and a name. Times are in seconds."""

    def __init__(self) -> None:
        self._answers: dict[Key, _Answer] = {}

    def put(self, key: Key, begin: str, printed: bytes, now: float, *, whole: bool) -> None:
        """Remember the names that begin with `begin`; without `whole` there are more than those."""
        self._answers.pop(key, None)
        while len(self._answers) >= MOST:
            del self._answers[next(iter(self._answers))]
        entries = tuple(printed.split(b"\0")[:-1])
        self._answers[key] = _Answer(_encoded(begin), entries, whole, now + LIFETIME)

    def get(self, key: Key, begin: str, now: float) -> bytes | None:
        """Return what would be printed for names that begin with `begin`; None where somebody has to be asked."""
        answer = self._answers.get(key)
        wanted = _encoded(begin)
        if answer is None or now >= answer.until:
            return None
        # Hidden files are no answer unless they are asked for.
        narrower = answer.whole and wanted.startswith(answer.begin) and (answer.begin or not wanted.startswith(b"."))
        if not narrower and wanted != answer.begin:
            return None
        return b"".join(entry + b"\0" for entry in answer.entries if entry[1:].startswith(wanted))

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
