"""A run's terminal, and the recording of a run: what came when."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from farhand_protocol.model import Base64, Count, Message, RunId

MAX_MARKS: Final = 500
"""Marks in one message: at most some 60 KB without stdin, less than a data frame."""

MAX_MARK_STDIN: Final = 1024
"""Bytes of stdin in one mark: so that one mark fits the smallest message limit."""

Cells = Annotated[int, Field(ge=0, le=0xFFFF)]
"""Columns or rows, what `struct winsize` holds (ioctl_tty(2)); 0 is unknown."""

TermName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.+_-]{1,64}$")]
"""A name of terminfo's, for TERM. No slash: programs look for a file of that name."""

ModeName: TypeAlias = Literal[
    "VINTR", "VQUIT", "VERASE", "VKILL", "VEOF", "VEOL", "VEOL2", "VSTART", "VSTOP", "VSUSP", "VREPRINT", "VWERASE",
    "VLNEXT", "VDISCARD",
    "IGNPAR", "PARMRK", "INPCK", "ISTRIP", "INLCR", "IGNCR", "ICRNL", "IXON", "IXANY", "IXOFF", "IMAXBEL", "IUTF8",
    "ISIG", "ICANON", "ECHO", "ECHOE", "ECHOK", "ECHONL", "NOFLSH", "TOSTOP", "IEXTEN", "ECHOCTL", "ECHOKE",
    "OPOST", "ONLCR", "OCRNL", "ONOCR", "ONLRET",
]  # fmt: skip
"""Modes of termios(3) under the names that SSH has for them (RFC 4254, 8): first the characters, then the flags."""

ModeValue = Annotated[int, Field(ge=0, le=255)]
"""Of a character its code, 255 where it is switched off; of a flag 0 or 1."""


class WindowSize(BaseModel):
    """How many characters a terminal shows."""

    model_config = Message.model_config
    columns: Cells
    rows: Cells


class TerminalRequest(BaseModel):
    """The terminal that a program is to find: its `name` for TERM, its first size, the modes that differ from what the
    system gives. All of it is in place before the program starts."""

    model_config = Message.model_config
    name: TermName
    size: WindowSize
    modes: Annotated[tuple[tuple[ModeName, ModeValue], ...], Field(max_length=64, fail_fast=True)] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({name for name, _ in self.modes}) != len(self.modes):
            raise PydanticCustomError("invalid_field", "a mode stands twice in modes")
        if any(value > 1 for name, value in self.modes if not name.startswith("V")):
            raise PydanticCustomError("invalid_field", "a flag in modes is 0 or 1")
        return self


class Resize(Message):
    """From the client: this attachment shows the terminal in so many characters. From the service: the terminal has
    this size now, the smallest of those that attachments who feed it have; also the first thing after `started`."""

    type: Literal["resize"] = "resize"
    columns: Cells
    rows: Cells


class RecordingRequest(Message):
    """Opens a channel and asks when the output of the run `id` came: `marks` messages, then `done`."""

    type: Literal["recording"] = "recording"
    id: RunId


class OutputMark(BaseModel):
    """What had come `at` milliseconds after the run's start: output up to the offsets `stdout` and `stderr`, a new
    `size` of the terminal, or `stdin` that was typed then, where the run records that; with `cut` more was typed, and
    is not recorded."""

    model_config = Message.model_config
    at: Count
    stdout: Count | None = None
    stderr: Count | None = None
    size: WindowSize | None = None
    stdin: Annotated[Base64, Field(max_length=MAX_MARK_STDIN)] | None = None
    cut: bool | None = None


class OutputMarks(Message):
    """Some of the marks of a run, in the order of time."""

    ordered: ClassVar[bool] = True
    type: Literal["marks"] = "marks"
    marks: Annotated[tuple[OutputMark, ...], Field(max_length=MAX_MARKS)]
