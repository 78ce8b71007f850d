"""Clients' regular expressions: refuses expensive ones before they are compiled, and bounds the memory of each."""

from __future__ import annotations

import re
from typing import Any, Final

import re2  # type: ignore[import-untyped]  # it ships no type information

from farhand_protocol.limits import KiB, MiB

MAX_PATTERN_MEMORY: Final = 1 * MiB
"""Bytes that one pattern may use: the compiled pattern and the states that RE2 caches."""

MIN_PATTERN_MEMORY: Final = 64 * KiB
"""What the smallest pattern may use. `listening on port \\d+` needs a quarter of this."""

PATTERN_MEMORY_PER_INSTRUCTION: Final = 1 * KiB
"""What a pattern may use for each instruction of its program. With less, RE2 finds no room for its states with patterns
such as `[^z]*[^y]*[^w]{500}q` and searches a hundred times more slowly."""

MAX_REPETITIONS: Final = 4096
"""Sum of the counts in `{n,m}`. RE2 writes repetitions out, so more would not fit into `MAX_PATTERN_PROGRAM`; but it
compiles 300 times `(x{0,1000})` for 130 ms before it notices, and meanwhile nothing else happens in the service."""

MAX_UNICODE_CLASSES: Final = 64
"""Classes such as `\\pL`. RE2 takes 80 µs to parse one, so these take 5 ms; the 1,365 that fit into a pattern take
100 ms."""

MAX_PATTERN_PROGRAM: Final = 4096
"""Instructions of a compiled pattern: enough for the longest possible text without operators."""

MAX_SEARCH_CHUNK: Final = 256 * KiB
"""Bytes searched at once: nearly every pattern takes half a millisecond for this."""

MAX_SEARCH_WORK: Final = 1 << 23
"""Bytes searched at once, times instructions. If RE2 must follow every path through the pattern, each unit costs about
8 ns, so the searches of other clients wait 70 ms; 300 ms with the largest patterns, whose chunk is `SEARCH_OVERLAP`."""

SEARCH_OVERLAP: Final = 4 * KiB
"""Bytes before new output that are searched again together with it, so that every match up to this length is found
however the output was split. The longest line that a terminal accepts fits (termios(3)). It costs a few microseconds
for each chunk."""


class BadPattern(Exception):
    """The pattern is not valid for RE2 or is too large. The text gives RE2's reason."""


class Pattern:
    """A compiled pattern. `^` and `$` match at line boundaries, `.` and classes match single bytes.

    Raises `BadPattern`.
    """

    def __init__(self, source: bytes) -> None:
        _check_cost(source)
        try:
            compiled = _compile(b"(?m)" + source, MAX_PATTERN_MEMORY)
        except re2.error:
            # The error must refer to the client's text, without our prefix.
            raise BadPattern(f"the pattern cannot be used: {_why(source)}") from None
        size = compiled.programsize
        if size > MAX_PATTERN_PROGRAM:
            raise BadPattern(
                f"the pattern is too large: it compiles to {size} instructions, and at most {MAX_PATTERN_PROGRAM} are "
                "allowed"
            )
        self.memory: Final = min(MAX_PATTERN_MEMORY, max(MIN_PATTERN_MEMORY, size * PATTERN_MEMORY_PER_INSTRUCTION))
        """Bytes that the pattern may use, at most."""
        self._compiled = compiled if self.memory == MAX_PATTERN_MEMORY else _compile(b"(?m)" + source, self.memory)
        self.chunk: Final = max(SEARCH_OVERLAP, min(MAX_SEARCH_CHUNK, MAX_SEARCH_WORK // max(1, size)))
        """How many bytes of new output to search at once."""

    def search(self, before: bytes | None, text: bytes, *, last: bool) -> tuple[int, int] | None:
        """Return the start and end of the first match in `text`, or None. May be called in any thread.

        `before` is the byte before `text`: empty at the start of the stream, None if unknown. Unless `text` is the
        `last` part of its stream, the byte after it is unknown, too. Next to an unknown byte, no line, word or text
        begins or ends.
        """
        if before is None:
            before = _same_class(text[:1])
        after = b"" if last else _same_class(text[-1:] or before)
        at = len(before)
        match = self._compiled.search(before + text + after, at, at + len(text))
        return None if match is None else (match.start() - at, match.end() - at)


_COSTLY: Final = re.compile(rb"(?s)\\([pP])|\\.|\{(\d+)(?:,(\d*))?\}")
"""A Unicode class, any other escape, or a repetition."""


def _check_cost(source: bytes) -> None:
    """Raise `BadPattern` for what would take long to compile."""
    classes = repetitions = 0
    for found in _COSTLY.finditer(source):
        unicode_class, least, most = found.groups()
        classes += unicode_class is not None
        repetitions += max(int(count[:9] or b"0") for count in (least or b"", most or b""))
    if repetitions > MAX_REPETITIONS:
        raise BadPattern(
            f"the pattern is too large: it repeats something {repetitions} times, and at most {MAX_REPETITIONS} "
            "repetitions are allowed"
        )
    if classes > MAX_UNICODE_CLASSES:
        raise BadPattern(
            f"the pattern is too large: it has {classes} Unicode classes (\\p), and at most {MAX_UNICODE_CLASSES} are "
            "allowed"
        )


def _compile(source: bytes, memory: int) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = memory
    options.log_errors = False
    try:
        return re2.compile(source, options)
    finally:
        re2.purge()  # otherwise the Python binding of RE2 caches the last 128 patterns


def _why(source: bytes) -> str:
    try:
        _compile(source, MAX_PATTERN_MEMORY)
    except re2.error as error:
        (words,) = error.args
        # RE2 quotes a pattern of single bytes as Latin-1 encoded in UTF-8.
        return str(words, "utf-8", "replace").encode("latin-1", "replace").decode(errors="replace")
    return "pattern too large"


def _same_class(byte: bytes) -> bytes:
    """Return a byte of the same character class as `byte`, so that no word or line boundary falls between the two."""
    return b"a" if byte.isalnum() or byte == b"_" else b" "
