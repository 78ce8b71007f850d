"""A run to its end: what feeds its stdin, its output as text, or its end alone."""

from __future__ import annotations

from .attachment import ClientAttachment
from .options import DEVNULL, PIPE
from .results import Result
from .stdin import Source, feed_until


async def communicate(attachment: ClientAttachment, input: bytes | None, source: Source | None) -> Result:
    """Give the run its stdin and wait for its end."""
    if attachment.stdin is not None:
        if source is not None:
            return await feed_until(attachment.stdin, source, attachment.result())
        if input:
            attachment.stdin.write(input)
        attachment.stdin.close()
    return await attachment.result()


def stdin_source(
    input: bytes | str | None, stdin: Source | None, codec: str | None
) -> tuple[bytes | None, Source | None]:
    """Return what is written to stdin, or where it comes from. Raises ValueError and TypeError."""
    if input is not None and stdin is not None:
        raise ValueError("input and stdin cannot both be given")
    if isinstance(input, str):
        if codec is None:
            raise TypeError("input is str: give bytes, or ask for text")
        input = input.encode(codec)
    if stdin == PIPE:
        raise ValueError("run cannot give you a pipe to write to; use start, or input")
    return input, None if stdin == DEVNULL else stdin


def decode_output(data: bytes, codec: str, truncated: bool) -> str:
    """Return output as text. Raises UnicodeDecodeError, but not for a last character that was cut."""
    if not truncated:
        return data.decode(codec)
    import codecs

    # Where output was cut, the last character may be cut too.
    return codecs.getincrementaldecoder(codec)().decode(data, final=False)


async def await_end(attachment: ClientAttachment) -> Result:
    """Wait for the end of a run of which nothing else is wanted."""
    attachment.begin()
    try:
        return await attachment.result()
    finally:
        attachment.detach()
