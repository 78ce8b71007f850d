"""Our side of a transfer: a `Sender` of what is on this machine, or a `Receiver` to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from farhand_files.events import Event
from farhand_files.options import TransferOptions
from farhand_files.stream import ByteStream

from .attempt import MakeMover, Mover
from .places import OpenFile


def sending(sources: Sequence[bytes | OpenFile], base: bytes) -> MakeMover:
    """Return what makes a `Sender` of the sources; relative paths begin at `base`."""

    def make(options: TransferOptions, stream: ByteStream, report: Callable[[Event], None]) -> Mover:
        raise NotImplementedError(f"{sources} {base!r}")

    return make


def receiving(destination: bytes | OpenFile, base: bytes) -> MakeMover:
    """Return what makes a `Receiver` to the destination; a relative path begins at `base`."""

    def make(options: TransferOptions, stream: ByteStream, report: Callable[[Event], None]) -> Mover:
        raise NotImplementedError(f"{destination!r} {base!r}")

    return make
