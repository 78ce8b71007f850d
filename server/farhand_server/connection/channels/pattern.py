"""Regular expressions of clients: refused if they would be expensive, and searched for in a thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from weakref import WeakKeyDictionary

import re2  # type: ignore[import-untyped]  # it comes without

from farhand_protocol.limits import KiB, MiB
from farhand_server.runtime import block_all_signals

MAX_PATTERN_MEMORY: Final = 1 * MiB
"""Bytes that one pattern may take, compiled and with the states that RE2 caches. What people write takes a
hundredth of that."""

MAX_PATTERN_PROGRAM: Final = 4096
"""Instructions of a compiled pattern: as many as the longest possible text without operators needs."""

MAX_SEARCH_CHUNK: Final = 256 * KiB
"""Bytes searched at once: half a millisecond for nearly every pattern."""

MAX_SEARCH_WORK: Final = 1 << 24
"""Bytes searched at once times instructions. Where RE2 has to follow every path through the pattern, that costs some
8 ns each, so the searches of others wait for a seventh of a second at most."""

SEARCH_OVERLAP: Final = 4 * KiB
"""Bytes before new output that are searched again with it, so that every match up to this length is found however the
output was split: a line as long as a terminal accepts (termios(3)). It costs some microseconds for each chunk."""


class BadPattern(Exception):
    """The pattern is not valid for RE2 or too large; the text says why, in RE2's words."""


class Pattern:
    """A compiled pattern. `^` and `$` match at line boundaries, `.` and classes match single bytes.

    Raises `BadPattern`.
    """

    def __init__(self, source: bytes) -> None:
        try:
            self._compiled = _compile(b"(?m)" + source)
        except re2.error:
            # The error must be about what the client has written, without the prefix.
            raise BadPattern(f"the pattern cannot be used: {_why(source)}") from None
        if self._compiled.programsize > MAX_PATTERN_PROGRAM:
            raise BadPattern(
                f"the pattern is too large: it compiles to {self._compiled.programsize} instructions, and at most "
                f"{MAX_PATTERN_PROGRAM} are allowed"
            )
        self.chunk: Final = max(
            SEARCH_OVERLAP, min(MAX_SEARCH_CHUNK, MAX_SEARCH_WORK // max(1, self._compiled.programsize))
        )
        """Bytes of new output to search at once."""

    async def search(self, before: bytes | None, text: bytes, *, last: bool) -> tuple[int, int] | None:
        """Return start and end of the first match in `text`, or None.

        `before` is the byte in front of `text`: empty at the start of the stream, None if it is not known. Unless
        `text` is the `last` of its stream, the byte behind it is not known either. Next to an unknown byte no line,
        word or text begins or ends.
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
meant for what is run."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def _turn() -> asyncio.Lock:
    """Return the lock that serializes the searches of this loop, first come, first served."""
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
        re2.purge()  # RE2 for Python would cache the last 128


def _why(source: bytes) -> str:
    try:
        _compile(source)
    except re2.error as error:
        (words,) = error.args
        # It shows a pattern of single bytes as Latin-1, in UTF-8.
        return str(words, "utf-8", "replace").encode("latin-1", "replace").decode(errors="replace")
    return "pattern too large"


def _same_class(byte: bytes) -> bytes:
    """Return a byte of the same character class as `byte`, so that no word or line boundary falls between the two."""
    return b"a" if byte.isalnum() or byte == b"_" else b" "
