"""A run's terminal, and the recording of a run, which tells when each part of the output was written."""

from typing import Annotated, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, Field, model_validator

from farhand_protocol.model import Base64, Count, Message, RunId, refuse
from farhand_protocol.values import terminal_fault

MAX_MARKS: Final = 500
"""Marks in one message: at most about 60 KB without stdin, less than a data frame."""

MAX_MARK_STDIN: Final = 1024
"""Bytes of stdin in one mark, so that any mark fits the smallest message limit."""

Cells = Annotated[int, Field(ge=0, le=0xFFFF)]
"""Columns or rows, with the range of `struct winsize` (ioctl_tty(2)); 0 means unknown."""

TermName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.+_-]{1,64}$")]
"""A terminfo name, for TERM. It must not contain a slash, because programs look for a file of that name."""

ModeName: TypeAlias = Literal[
    "VINTR", "VQUIT", "VERASE", "VKILL", "VEOF", "VEOL", "VEOL2", "VSTART", "VSTOP", "VSUSP", "VREPRINT", "VWERASE",
    "VLNEXT", "VDISCARD",
    "IGNPAR", "PARMRK", "INPCK", "ISTRIP", "INLCR", "IGNCR", "ICRNL", "IXON", "IXANY", "IXOFF", "IMAXBEL", "IUTF8",
    "ISIG", "ICANON", "ECHO", "ECHOE", "ECHOK", "ECHONL", "NOFLSH", "TOSTOP", "IEXTEN", "ECHOCTL", "ECHOKE",
    "OPOST", "ONLCR", "OCRNL", "ONOCR", "ONLRET",
]  # fmt: skip
"""Modes of termios(3) under their SSH names (RFC 4254, section 8): first the characters, then the flags."""

ModeValue = Annotated[int, Field(ge=0, le=255)]
"""A character's code, or 255 if it is disabled; 0 or 1 for a flag."""


class WindowSize(BaseModel):
    """The size of a terminal in characters."""

    model_config = Message.model_config
    columns: Cells
    rows: Cells


class TerminalRequest(BaseModel):
    """The terminal that a program gets: its `name` for TERM, its initial size, and the modes that differ from the
    system's defaults. All of these are set before the program starts."""

    model_config = Message.model_config
    name: TermName
    size: WindowSize
    modes: Annotated[tuple[tuple[ModeName, ModeValue], ...], Field(max_length=64, fail_fast=True)] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        refuse(terminal_fault(self.__dict__))
        return self


class Resize(Message):
    """From the client: this attachment now shows the terminal at this size. From the service: the terminal now has this
    size, the smallest of the attachments that type; also sent directly after `started`."""

    type: Literal["resize"] = "resize"
    columns: Cells
    rows: Cells


class RecordingRequest(Message):
    """Opens a channel and asks when the output of run `id` was written. The answer is `marks` messages, then `done`."""

    type: Literal["recording"] = "recording"
    id: RunId


class OutputMark(BaseModel):
    """What had happened `at` milliseconds after the run's start: output up to the offsets `stdout` and `stderr`, a new
    terminal `size`, or `stdin` typed at that time, if the run records input. `cut` is true if more was typed than
    recorded."""

    model_config = Message.model_config
    at: Count
    stdout: Count | None = None
    stderr: Count | None = None
    size: WindowSize | None = None
    stdin: Annotated[Base64, Field(max_length=MAX_MARK_STDIN)] | None = None
    cut: bool | None = None


class OutputMarks(Message):
    """Some of the marks of a run, in chronological order."""

    ordered: ClassVar[bool] = True
    type: Literal["marks"] = "marks"
    marks: Annotated[tuple[OutputMark, ...], Field(max_length=MAX_MARKS)]
