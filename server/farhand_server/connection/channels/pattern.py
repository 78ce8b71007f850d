"""Clients' regular expressions: refuses expensive ones, and searches in a thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from weakref import WeakKeyDictionary

import re2  # type: ignore[import-untyped]  # it ships no type information

from farhand_protocol.limits import KiB, MiB
from farhand_server.runtime import block_all_signals

MAX_PATTERN_MEMORY: Final = 1 * MiB
"""Bytes that one pattern may use: the compiled pattern and the states that RE2 caches. Typical patterns use a hundredth
of this."""

MAX_PATTERN_PROGRAM: Final = 4096
"""Instructions of a compiled pattern: enough for the longest possible text without operators."""

MAX_SEARCH_CHUNK: Final = 256 * KiB
"""Bytes searched at once: nearly every pattern takes half a millisecond for this."""

MAX_SEARCH_WORK: Final = 1 << 24
"""Bytes searched at once, times instructions. If RE2 must follow every path through the pattern, each unit costs about
8 ns, so the searches of other clients wait a seventh of a second at most."""

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
        try:
            self._compiled = _compile(b"(?m)" + source)
        except re2.error:
            # The error must refer to the client's text, without our prefix.
            raise BadPattern(f"the pattern cannot be used: {_why(source)}") from None
        if self._compiled.programsize > MAX_PATTERN_PROGRAM:
            raise BadPattern(
                f"the pattern is too large: it compiles to {self._compiled.programsize} instructions, and at most "
                f"{MAX_PATTERN_PROGRAM} are allowed"
            )
        self.chunk: Final = max(
            SEARCH_OVERLAP, min(MAX_SEARCH_CHUNK, MAX_SEARCH_WORK // max(1, self._compiled.programsize))
        )
        """How many bytes of new output to search at once."""

    async def search(self, before: bytes | None, text: bytes, *, last: bool) -> tuple[int, int] | None:
        """Return the start and end of the first match in `text`, or None.

        `before` is the byte before `text`: empty at the start of the stream, None if unknown. Unless `text` is the
        `last` part of its stream, the byte after it is unknown, too. Next to an unknown byte, no line, word or text
        begins or ends.
        """
        if before is None:
            before = _same_class(text[:1])
        after = b"" if last else _same_class(text[-1:] or before)
        at = len(before)
        async with _turn():
            matching = asyncio.get_running_loop().run_in_executor(
                _thread, self._compiled.search, before + text + after, at, at + len(text)
            )
            match = await matching
        return None if match is None else (match.start() - at, match.end() - at)


_thread: Final = ThreadPoolExecutor(1, "patterns", initializer=block_all_signals)
"""RE2 releases the interpreter lock while it searches, so the loop continues. One thread is enough: the processors are
for the runs."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def _turn() -> asyncio.Lock:
    """Return the lock that serializes the searches of this loop in the order of their requests."""
    loop = asyncio.get_running_loop()
    if loop not in _turns:
        _turns[loop] = asyncio.Lock()
    return _turns[loop]


def _compile(source: bytes) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = MAX_PATTERN_MEMORY
    options.log_errors = False
    try:
        return re2.compile(source, options)
    finally:
        re2.purge()  # otherwise the Python binding of RE2 caches the last 128 patterns


def _why(source: bytes) -> str:
    try:
        _compile(source)
    except re2.error as error:
        (words,) = error.args
        # RE2 quotes a pattern of single bytes as Latin-1 encoded in UTF-8.
        return str(words, "utf-8", "replace").encode("latin-1", "replace").decode(errors="replace")
    return "pattern too large"


def _same_class(byte: bytes) -> bytes:
    """Return a byte of the same character class as `byte`, so that no word or line boundary falls between the two."""
    return b"a" if byte.isalnum() or byte == b"_" else b" "
