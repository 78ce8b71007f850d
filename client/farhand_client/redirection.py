"""What the arguments `input`, `stdin`, `stdout` and `stderr` of `Client.run` stand for, checked beforehand."""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import AsyncIterable
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from .arguments import shortened
from .options import DEVNULL, PIPE, STDOUT, RunOptions
from .stdin import Buffer, Source
from .text_codec import TextCodec


class SupportsFileno(Protocol):
    """A file, socket or pipe of the operating system."""

    def fileno(self) -> int:
        """Return its descriptor."""


Destination: TypeAlias = "int | SupportsFileno"
"""PIPE, DEVNULL, for stderr also STDOUT, or where the output goes: a descriptor, or an object that has one."""

Delivery: TypeAlias = "Literal['capture', 'discard'] | int"
"""What happens to an output stream: it is returned, thrown away, or written to a descriptor."""


class Redirections(NamedTuple):
    """Where a run's output goes, and where its stdin comes from: bytes, a source, or neither."""

    input: bytes | None
    source: Source | None
    stdout: Delivery
    stderr: Delivery
    merge_stderr: bool
    stderr_given: bool

    @classmethod
    def of(
        cls,
        *,
        input: Buffer | str | None,
        stdin: Any,
        stdout: Destination | None,
        stderr: Destination | None,
        capture_output: bool | None,
        codec: TextCodec | None,
    ) -> Redirections:
        """Return what these arguments stand for. Raises ValueError and TypeError."""
        if input is not None and stdin is not None:
            raise ValueError("input and stdin cannot be combined")
        if capture_output and (stdout is not None or stderr is not None):
            raise ValueError("capture_output cannot be combined with stdout or stderr; it means PIPE for both")
        inherit = capture_output is not None and not capture_output
        merged = _is_constant(stderr, STDOUT)
        return cls(
            input=None if input is None else _input(input, codec),
            source=_source(stdin),
            stdout=_delivery(stdout, "stdout", 1 if inherit else None),
            stderr="capture" if merged else _delivery(stderr, "stderr", 2 if inherit else None),
            merge_stderr=merged,
            stderr_given=stderr is not None,
        )


def check_pipes(stdin: object, stdout: object, stderr: object) -> None:
    """Raise ValueError unless `Client.start` can connect the streams like this."""
    if stdin is not None and not _is_constant(stdin, PIPE, DEVNULL):
        raise ValueError("start accepts stdin=PIPE, or DEVNULL, the default; run can read a file")
    if stdout is not None and not _is_constant(stdout, PIPE, DEVNULL):
        raise ValueError("start accepts stdout=PIPE, the default, or DEVNULL; run can write to a file")
    if stderr is not None and not _is_constant(stderr, PIPE, DEVNULL, STDOUT):
        raise ValueError("start accepts stderr=PIPE, the default, STDOUT or DEVNULL; run can write to a file")


def merging_stderr(options: RunOptions, redirections: Redirections) -> RunOptions:
    """Return `options` with `merge_stderr` if stderr=STDOUT says so. Raises ValueError if stderr goes elsewhere too."""
    if redirections.merge_stderr:
        return options.changed(merge_stderr=True)
    if options.merge_stderr and redirections.stderr_given:
        raise ValueError("merge_stderr and stderr contradict each other; stderr=STDOUT is merge_stderr")
    return options


def _is_constant(value: object, *constants: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in constants


def _input(value: Any, codec: TextCodec | None) -> bytes:
    if isinstance(value, str):
        if codec is None:
            raise TypeError("input is str; pass bytes, or set text or encoding")
        return codec.encode(value)
    try:
        return bytes(memoryview(value))
    except TypeError:
        raise TypeError(f"input is {type(value).__name__}; it must be bytes, or str with text or encoding") from None


def _delivery(value: Any, where: str, inherited: int | None) -> Delivery:
    if value is None:
        return "capture" if inherited is None else _checked(inherited, where, os.O_WRONLY)
    if _is_constant(value, PIPE):
        return "capture"
    if _is_constant(value, DEVNULL):
        return "discard"
    if _is_constant(value, STDOUT):
        raise ValueError(f"{where} cannot be STDOUT, which is for stderr")
    return _checked(_descriptor(value, where), where, os.O_WRONLY)


def _source(value: Any) -> Source | None:
    if value is None or _is_constant(value, DEVNULL):
        return None
    if _is_constant(value, PIPE):
        raise ValueError("run does not accept stdin=PIPE; use start, or pass input")
    if _is_constant(value, STDOUT):
        raise ValueError("stdin cannot be STDOUT, which is for stderr")
    if isinstance(value, AsyncIterable):
        return value
    if hasattr(value, "read"):
        return _file(value)
    if isinstance(value, bytes | bytearray | memoryview | list | tuple):
        raise TypeError(f"stdin is {type(value).__name__}; pass bytes as input")
    return _checked(_descriptor(value, "stdin"), "stdin", os.O_RDONLY)


def _file(file: Any) -> Source:
    """Return the binary file of a Python file object, or the descriptor of an object that has only that."""
    if getattr(file, "closed", False):
        raise ValueError("stdin is a closed file")
    if isinstance(file, io.TextIOBase):
        binary = getattr(file, "buffer", None)
        if binary is None:
            raise TypeError(f"stdin is {type(file).__name__}, which has no bytes; pass input=…, text=True")
        file = binary
    readable = getattr(file, "readable", None)
    if readable is not None and not readable():
        raise ValueError("stdin is a file that was not opened for reading")
    try:
        number = file.fileno()
    except (AttributeError, OSError):  # io.UnsupportedOperation: not a file of the operating system
        source: Source = file
        return source
    _checked(number, "stdin", os.O_RDONLY)
    return file if hasattr(file, "seekable") else int(number)


def _descriptor(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str | bytes | os.PathLike):
        mode = "rb" if where == "stdin" else "wb"
        raise TypeError(f"{where} is {type(value).__name__}; to use a file, open it: open(path, {mode!r})")
    try:
        number = value.fileno()
    except (AttributeError, OSError, ValueError):  # ValueError: it is closed
        number = None
    if type(number) is not int:
        raise TypeError(f"{where} is {type(value).__name__}; it must be PIPE, DEVNULL, or have a file descriptor")
    return number


_ACCESS: Final = {os.O_RDONLY: "reading", os.O_WRONLY: "writing"}


def _checked(number: int, where: str, access: int) -> int:
    """Return `number` if it is an open descriptor with this access."""
    try:
        is_directory = stat.S_ISDIR(os.fstat(number).st_mode)
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except (OSError, OverflowError):
        raise ValueError(f"{where} is {shortened(number)}, which is not an open file descriptor") from None
    if is_directory:
        raise ValueError(f"{where} is a directory")
    if mode not in (access, os.O_RDWR):
        raise ValueError(f"{where} is descriptor {number}, which was not opened for {_ACCESS[access]}")
    return number
