"""Which parts of a file the other side has already, wherever they are in its older file.

Both sides cut their file into chunks whose ends depend on the content around them (FastCDC): after bytes were inserted
somewhere, the chunks behind them are the same as before, at other offsets. The receiver sends the digests of its chunks
(`WANT`, `BASIS`), and the sender what it does not find among them. No digest is trusted with a file: that of the whole
content is compared at its end.

It costs 0.045 % of the file's size for digests (up to 4 GiB; less beyond), and each difference some two chunks: 1 MiB
inserted into 1 GiB costs less than 2 MiB. Memory is bounded for any size: a chunk is at most `wire.CHUNK`, two are
read at a time, and what `Matcher` keeps for a chunk of the other side is 52 bytes, 10 MiB for a file of 100 GiB.

pyfastcdc is an extra of the distribution. Without it, files are sent whole. It has no rolling checksum as rsync has: a
sender would have to compute one at every byte, ten times as slowly.
"""

from __future__ import annotations

import os
import warnings
from array import array
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from blake3 import blake3

from . import wire

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

MIN_AVERAGE: Final = 64 * 1024
"""Bytes of an average chunk of files up to `MIN_AVERAGE_UP_TO`. Smaller ones find more, but have more digests."""

MAX_AVERAGE: Final = 512 * 1024
"""The same of the largest files: twice as many bytes are a chunk's maximum."""

MIN_AVERAGE_UP_TO: Final = 4 << 30
"""Bytes of a file from which on chunks become larger in proportion, so that there are no more than some 60,000."""

MAX_COPY: Final = 64 * wire.CHUNK
"""Bytes in one difference that the other side has, so that progress is reported while a large file is compared."""


class FileSource(Protocol):
    """What is cut into chunks."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read up to as many bytes as fit, and return how many; 0 at the end. Raises OSError."""


class FileChunk(NamedTuple):
    """A chunk of a file, which its content has defined. `data` is valid until the next chunk is taken."""

    length: int
    digest: bytes
    data: memoryview


class Difference(NamedTuple):
    """A part of a file: `data`, valid until the next one is taken; or if None, what the other side has at `source`."""

    offset: int
    length: int
    data: memoryview | None = None
    source: int = -1


class DescriptorSource:
    """A `FileSource`: an open file from its beginning. Its offset (lseek(2)) is not used."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """See `FileSource`."""
        got = os.preadv(self._fd, [buffer], self._at)
        self._at += got
        return got


@cache
def available() -> bool:
    """Return whether files can be cut here: pyfastcdc is installed, and compiled. Written in Python it is 200 times as
    slow, and whole files are quicker."""
    try:
        with warnings.catch_warnings(action="ignore"):  # pyfastcdc warns if it is not compiled
            from pyfastcdc import FastCDC
    except ImportError:
        return False
    return not FastCDC.__module__.startswith("pyfastcdc.py")


def average_chunk(size: int) -> int:
    """Return the average size of chunks of a file of `size` bytes, as the sender has announced it."""
    average = MIN_AVERAGE
    while average < MAX_AVERAGE and size > MIN_AVERAGE_UP_TO * (average // MIN_AVERAGE):
        average *= 2
    return average


def chunks_of(source: FileSource, size: int, announced: int) -> Iterator[FileChunk]:
    """Yield the chunks of the first `size` bytes of `source`, fewer if it ends before. `announced` is the size of the
    file in its `ENTRY`: chunks are only the same on both sides if it is. Raises what `source` raises."""
    for chunk in _cutter(average_chunk(announced)).cut_stream(_Beginning(source, size)):
        yield FileChunk(chunk.length, blake3(chunk.data).digest(), chunk.data)


def differences(chunks: Iterable[FileChunk], have: bytes) -> Iterator[Difference]:
    """Yield a file's parts, in order: those that the other side has, by `have` of its `wire.Want`, and the others."""
    matcher = Matcher(have)
    offset = start = length = source = 0
    for chunk in chunks:
        found = matcher.find(chunk.length, chunk.digest)
        if length and (found != source + length or length + chunk.length > MAX_COPY):
            yield Difference(start, length, None, source)
            length = 0
        if found < 0:
            yield Difference(offset, chunk.length, chunk.data)
        elif length:
            length += chunk.length
        else:
            start, length, source = offset, chunk.length, found
        offset += chunk.length
    if length:
        yield Difference(start, length, None, source)


class Matcher:
    """Knows where the other side has which chunk. A hash table in three arrays; a dictionary would take four times the
    memory."""

    def __init__(self, have: bytes) -> None:
        """`have` is that of a complete `wire.Want`."""
        self._have = have
        count = len(have) // wire.CHUNK_SIZE
        self._mask = (1 << (2 * count).bit_length()) - 1
        self._slots = array("I", bytes(4 * (self._mask + 1)))
        self._offsets = array("Q", bytes(8 * count))
        self._following = 0
        offset = 0
        for number, (length, digest) in enumerate(wire.unpack_chunks(have)):
            self._offsets[number] = offset
            offset += length
            slot = self._slot(digest)
            if not self._slots[slot]:  # the first of several that are equal
                self._slots[slot] = number + 1

    def find(self, length: int, digest: bytes) -> int:
        """Return the offset of a chunk, -1 if the other side does not have it. If it has several, the one that follows
        the chunk found last."""
        number = self._following
        if number >= len(self._offsets) or self._digest(number) != digest:
            number = self._slots[self._slot(digest)] - 1
        if number < 0 or self._length(number) != length:
            self._following = len(self._offsets)
            return -1
        self._following = number + 1
        return self._offsets[number]

    def _slot(self, digest: bytes) -> int:
        """Return the slot of a digest, or the free one where it belongs."""
        slot = hash(digest) & self._mask  # keyed: nobody can choose digests that share a slot
        while (number := self._slots[slot]) and self._digest(number - 1) != digest:
            slot = (slot + 1) & self._mask
        return slot

    def _digest(self, number: int) -> bytes:
        end = (number + 1) * wire.CHUNK_SIZE
        return self._have[end - wire.DIGEST : end]

    def _length(self, number: int) -> int:
        start = number * wire.CHUNK_SIZE
        return int.from_bytes(self._have[start : start + wire.CHUNK_SIZE - wire.DIGEST])


class _Beginning:
    """The first bytes of a source."""

    def __init__(self, source: FileSource, size: int) -> None:
        self._source = source
        self._left = size

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._left:
            return 0
        got = self._source.readinto(buffer[: self._left])
        self._left -= got
        return got


def _cutter(average: int) -> FastCDC:
    from pyfastcdc import FastCDC

    return FastCDC(average, min_size=average // 4, max_size=min(4 * average, wire.CHUNK))
