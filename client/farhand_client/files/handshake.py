"""How a transfer begins: the client sends the options, and the worker answers that it serves them, or why not."""

from __future__ import annotations

from farhand_files import wire
from farhand_files.options import Ready, TransferOptions
from farhand_files.stream import ByteStream, read_exactly_one


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
    match read_exactly_one(stream):
        case wire.ReadyFrame(text=text):
            return options._replace(delta=options.delta and Ready.from_json(text).delta)
        case wire.Problem() as problem:
            sentence = problem.sentence.decode(errors="replace")
            named = problem.path.decode(errors="replace")
            raise OptionsRefused(f"{named}: {sentence}" if named else sentence, problem.errno)
        case frame:
            raise wire.WireError(f"the answer to the options is a {type(frame).__name__}")
