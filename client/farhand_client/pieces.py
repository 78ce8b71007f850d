"""What an attachment's output is made of: bytes with their place, and gaps where bytes are no longer kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

Output: TypeAlias = Literal["stdout", "stderr"]


class Chunk(NamedTuple):
    """`data` of `stream`, the first byte of which has the offset `offset` in that stream."""

    stream: Output
    offset: int
    data: bytes


class Gap(NamedTuple):
    """`bytes` bytes of `stream` from `offset` on are no longer kept by the service."""

    stream: Output
    offset: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.bytes} bytes of {self.stream} from offset {self.offset} on are no longer kept"


OnGap: TypeAlias = Callable[[Gap], None]
"""Called where a reader comes to a gap, between the bytes before it and those behind."""
