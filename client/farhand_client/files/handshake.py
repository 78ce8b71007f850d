"""How a transfer begins: the client sends the options, and the worker answers that it serves them, or why not.

A receiver has to know the answer before it begins. What a sender does first does not depend on it, so that it begins at
once, a round trip earlier; it finds out when it reads the first of the receiver's frames.
"""

from __future__ import annotations

import contextlib
import threading

from farhand_files import wire
from farhand_files.options import Ready, TransferOptions
from farhand_files.stream import ByteStream, StreamEnded, read_exactly_one


class OptionsRefused(Exception):
    """The worker does not do the transfer. The text is its sentence, `errno` that of the system call that failed."""

    def __init__(self, sentence: str, errno: int = 0) -> None:
        super().__init__(sentence)
        self.errno = errno


def agree(options: TransferOptions, stream: ByteStream) -> TransferOptions:
    """Send the options, wait for the answer, and return those under which both sides transfer.

    Raises `OptionsRefused`, `StreamEnded`, `WireError`, OSError.
    """
    stream.write(wire.encode(wire.OptionsFrame(options.to_json())))
    ready = _answer(stream)
    return options._replace(delta=options.delta and ready.delta)


class OfferedStream:
    """A `ByteStream` for a sender: the options are sent, and their answer is read before the first bytes."""

    def __init__(self, options: TransferOptions, stream: ByteStream) -> None:
        """Send the options. Raises OSError if that fails."""
        self._stream = stream
        self._lock = threading.Lock()
        self._answered = False
        self._failed: Exception | None = None
        stream.write(wire.encode(wire.OptionsFrame(options.to_json())))

    def readinto(self, buffer: memoryview) -> int:
        """Read as from any stream. Raises what `agree` raises, too."""
        if not self._answered:
            self._take_answer()
        return self._stream.readinto(buffer)

    def write(self, data: bytes | memoryview) -> None:
        """Write as to any stream. A worker that has refused the options has gone: then that is what is raised."""
        try:
            self._stream.write(data)
        except OSError:
            with contextlib.suppress(StreamEnded, OSError):
                self._take_answer()
            raise

    def _take_answer(self) -> None:
        """Read the answer, or wait for the thread that does: it ends with the stream."""
        with self._lock:
            if not self._answered:
                try:
                    _answer(self._stream)
                except Exception as error:
                    self._failed = error
                    raise
                finally:
                    self._answered = True
        if self._failed is not None:
            raise self._failed


def _answer(stream: ByteStream) -> Ready:
    match read_exactly_one(stream):
        case wire.ReadyFrame(text=text):
            return Ready.from_json(text)
        case wire.Problem() as problem:
            sentence = problem.sentence.decode(errors="replace")
            named = problem.path.decode(errors="replace")
            raise OptionsRefused(f"{named}: {sentence}" if named else sentence, problem.errno)
        case frame:
            raise wire.WireError(f"the answer to the options is a {type(frame).__name__}")
