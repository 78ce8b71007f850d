"""Regular expressions of clients: refused where they would be expensive, and matched beside the loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from weakref import WeakKeyDictionary

import re2  # type: ignore[import-untyped]  # it comes without

from farhand_protocol.limits import KiB, MiB
from farhand_server.runtime import block_all_signals

MAX_PATTERN_MEMORY: Final = 1 * MiB
"""Bytes that one pattern may take, compiled and with the states that RE2 remembers of it: a hundredth of that does for
what people write."""

MAX_PATTERN_PROGRAM: Final = 4096
"""Instructions of a compiled pattern: as many as the longest text without operators has."""

MAX_SEARCH_CHUNK: Final = 256 * KiB
"""Bytes searched at once: half a millisecond for nearly every pattern."""

MAX_SEARCH_WORK: Final = 1 << 24
"""Bytes searched at once times instructions: where RE2 has to follow every way through the pattern, some 8 ns for each
of them, so that nobody else's search waits longer than a seventh of a second."""

SEARCH_OVERLAP: Final = 4 * KiB
"""Bytes before new output that are searched again with it, so that every match up to this length is found however it
came: a line as long as a terminal takes (termios(3)). They cost some microseconds for each piece of output."""


class BadPattern(Exception):
    """The pattern is none of RE2's, or too large; the text says why in RE2's words."""


class Pattern:
    """A compiled pattern. `^` and `$` are the ends of lines, `.` and classes stand for single bytes.

    Raises `BadPattern`.
    """

    def __init__(self, source: bytes) -> None:
        try:
            self._compiled = _compile(b"(?m)" + source)
        except re2.error:
            # The error shall be about what the client has written.
            raise BadPattern(f"the pattern cannot be used: {_why(source)}") from None
        if self._compiled.programsize > MAX_PATTERN_PROGRAM:
            raise BadPattern(
                f"the pattern is too large: it compiles to {self._compiled.programsize} instructions, and at most "
                f"{MAX_PATTERN_PROGRAM} are allowed"
            )
        self.piece: Final = max(
            SEARCH_OVERLAP, min(MAX_SEARCH_CHUNK, MAX_SEARCH_WORK // max(1, self._compiled.programsize))
        )
        """Bytes of new output to search at once."""

    async def search(self, before: bytes | None, text: bytes, *, last: bool) -> tuple[int, int] | None:
        """Return where in `text` the first match is, None without one.

        `before` is the byte in front of it: empty where there is none, None where it is not known. Unless `text` is the
        `last` of its stream, what follows is not known: no line, word or text ends there, and after an unknown
        byte none begins.
        """
        if before is None:
            before = _alike(text[:1])
        after = b"" if last else _alike(text[-1:] or before)
        at = len(before)
        async with _turn():
            matching = asyncio.get_running_loop().run_in_executor(
                _thread, self._compiled.search, before + text + after, at, at + len(text)
            )
            match = await matching
        return None if match is None else (match.start() - at, match.end() - at)


_thread: Final = ThreadPoolExecutor(1, "patterns", initializer=block_all_signals)
"""RE2 lets go of the interpreter while it searches, so the loop goes on meanwhile. One is enough: the processors are
there for what is run."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def _turn() -> asyncio.Lock:
    """Return what lets one search of a loop happen at a time, in the order they came."""
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
        re2.purge()  # it would keep the last 128, for whoever asks for the same again


def _why(source: bytes) -> str:
    try:
        _compile(source)
    except re2.error as error:
        (words,) = error.args
        # It shows a pattern of single bytes as Latin-1, in UTF-8.
        return str(words, "utf-8", "replace").encode("latin-1", "replace").decode(errors="replace")
    return "pattern too large"


def _alike(byte: bytes) -> bytes:
    """Return a byte between which and `byte` no word ends or begins, nor a line."""
    return b"a" if byte.isalnum() or byte == b"_" else b" "
