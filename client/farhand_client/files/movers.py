"""Our side of a transfer: a `Sender` of what is on this machine, or a `Receiver` to it.

Descriptors are duplicated for the time of an attempt: the caller may close its own after a cancellation, while a thread
still uses them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from farhand_files.events import Totals
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.rows import Report
from farhand_files.stream import ByteStream

from .attempt import MakeMover, Mover
from .places import OpenFile


def sending(sources: Sequence[bytes | OpenFile], base: bytes) -> MakeMover:
    """Return what makes a `Sender` of the sources; relative paths begin at `base`."""

    def make(options: TransferOptions, stream: ByteStream, report: Report) -> Mover:
        from farhand_files.sender import Pipe, Sender

        with contextlib.ExitStack() as stack:
            own = [
                Pipe(_duplicate(source, stack), source.name) if isinstance(source, OpenFile) else source
                for source in sources
            ]
            return _Closing(Sender(own, options, Area(None, base), stream, report), stack.pop_all())

    return make


def receiving(destination: bytes | OpenFile, base: bytes) -> MakeMover:
    """Return what makes a `Receiver` to the destination; a relative path begins at `base`."""

    def make(options: TransferOptions, stream: ByteStream, report: Report) -> Mover:
        from farhand_files.receiver import Receiver, Sink

        with contextlib.ExitStack() as stack:
            own = Sink(_duplicate(destination, stack)) if isinstance(destination, OpenFile) else destination
            return _Closing(Receiver(own, options, Area(None, base), stream, report), stack.pop_all())

    return make


def _duplicate(file: OpenFile, stack: contextlib.ExitStack) -> int:
    number = os.dup(file.descriptor)
    stack.callback(os.close, number)
    return number


class _Closing:
    """A mover whose descriptors are closed once it has ended."""

    def __init__(self, mover: Mover, descriptors: contextlib.ExitStack) -> None:
        self._mover = mover
        self._descriptors = descriptors

    def run(self) -> Totals:
        """Do as the mover."""
        with self._descriptors:
            return self._mover.run()

    def cancel(self) -> None:
        """Do as the mover."""
        self._mover.cancel()
