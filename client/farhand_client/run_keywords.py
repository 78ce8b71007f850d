"""The keyword arguments of `Client.run` and `Client.start`, in the combinations that decide about the result's type.

Without redirection, output is bytes; each of `text`, `encoding`, `errors` and `universal_newlines` makes it str. A
stream that is redirected, or merged into the other, is None in the result. Type checkers choose the first combination
that fits a call; those with a `Required` argument need it.
"""

from __future__ import annotations

from typing import Literal, Required, TypeAlias, TypedDict

from farhand_protocol import messages as m

from .attach_request import Offsets
from .options import Argument, CommandKeywords, RunKeywords, RunOptions
from .output import OnGap
from .redirection import Destination
from .stdin import Buffer, Source

Options: TypeAlias = RunOptions | None

_Pipe: TypeAlias = Literal[-1]  # PIPE


class _CallKeywords(CommandKeywords, total=False):
    stdin: Source | None
    check: bool
    max_output: int
    on_gap: OnGap | None


class _Captured(_CallKeywords, total=False):
    stdout: _Pipe | None
    stderr: _Pipe | None
    capture_output: Literal[True] | None
    merge_stderr: Literal[False]


class _Redirected(_CallKeywords, total=False):
    stdout: Destination | None
    stderr: Destination | None
    capture_output: bool | None
    merge_stderr: bool


class _AsBytes(TypedDict, total=False):
    input: Buffer | None
    text: Literal[False] | None
    encoding: None
    errors: None
    universal_newlines: Literal[False] | None


class _AsText(TypedDict, total=False):
    input: Buffer | str | None
    text: Required[Literal[True]]
    encoding: str | None
    errors: str | None
    universal_newlines: bool | None


class _Encoded(TypedDict, total=False):
    input: Buffer | str | None
    text: bool | None
    encoding: Required[str]
    errors: str | None
    universal_newlines: bool | None


class _WithErrors(TypedDict, total=False):
    input: Buffer | str | None
    text: bool | None
    encoding: str | None
    errors: Required[str]
    universal_newlines: bool | None


class _Translated(TypedDict, total=False):
    input: Buffer | str | None
    text: bool | None
    encoding: str | None
    errors: str | None
    universal_newlines: Required[Literal[True]]


class CapturedBytes(_Captured, _AsBytes, total=False):
    """Both streams are returned as bytes."""


class CapturedText(_Captured, _AsText, total=False):
    """Both streams are returned as str, because of `text`."""


class CapturedEncoded(_Captured, _Encoded, total=False):
    """Both streams are returned as str, because of `encoding`."""


class CapturedWithErrors(_Captured, _WithErrors, total=False):
    """Both streams are returned as str, because of `errors`."""


class CapturedTranslated(_Captured, _Translated, total=False):
    """Both streams are returned as str, because of `universal_newlines`."""


class RedirectedBytes(_Redirected, _AsBytes, total=False):
    """A stream is returned as bytes, or None."""


class RedirectedText(_Redirected, _AsText, total=False):
    """A stream is returned as str, or None, because of `text`."""


class RedirectedEncoded(_Redirected, _Encoded, total=False):
    """A stream is returned as str, or None, because of `encoding`."""


class RedirectedWithErrors(_Redirected, _WithErrors, total=False):
    """A stream is returned as str, or None, because of `errors`."""


class RedirectedTranslated(_Redirected, _Translated, total=False):
    """A stream is returned as str, or None, because of `universal_newlines`."""


class AnyOutput(_Redirected, total=False):
    """What is returned is not known before the program runs."""

    input: Buffer | str | None
    text: bool | None
    encoding: str | None
    errors: str | None
    universal_newlines: bool | None


class _StartKeywords(RunKeywords, total=False):
    prelude: Argument | None
    stdout: int | None
    stderr: int | None
    on_gap: OnGap | None
    record_input: bool
    internal: bool
    ssh_variables: bool


class StartWithStdin(_StartKeywords, total=False):
    """The run has a stdin, because of `stdin=PIPE`."""

    stdin: Required[_Pipe]
    terminal: m.TerminalRequest | None


class StartOnTerminal(_StartKeywords, total=False):
    """The run has a stdin, because it has a terminal."""

    stdin: int | None
    terminal: Required[m.TerminalRequest]


class AttachKeywords(TypedDict, total=False):
    """Keyword arguments of `Client.attach`, but for `stdin`."""

    offset: Offsets
    hold: bool | None
    follow: bool
    read_only: bool
    size: m.WindowSize | None
    share: bool
    on_gap: OnGap | None


class StartAny(_StartKeywords, total=False):
    """The run may have a stdin."""

    stdin: int | None
    terminal: m.TerminalRequest | None
