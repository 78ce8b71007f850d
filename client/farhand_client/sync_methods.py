"""The signatures of the blocking methods whose results depend on their arguments, for type checkers.

A decorator that makes a method block would keep only the first of its overloads.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias, TypeVar, Unpack, overload

from . import run_keywords as k
from .options import Args
from .results import Completed
from .run_keywords import Options

_Run_co = TypeVar("_Run_co", covariant=True)
_RunWithStdin_co = TypeVar("_RunWithStdin_co", covariant=True)

_MaybeBytes: TypeAlias = Completed[bytes | None]
_MaybeText: TypeAlias = Completed[str | None]


class RunMethod(Protocol):
    """`Client.run`."""

    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.CapturedBytes]) -> Completed[bytes]: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.CapturedText]) -> Completed[str]: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.CapturedEncoded]) -> Completed[str]: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.CapturedWithErrors]) -> Completed[str]: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.CapturedTranslated]) -> Completed[str]: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.RedirectedBytes]) -> _MaybeBytes: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.RedirectedText]) -> _MaybeText: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.RedirectedEncoded]) -> _MaybeText: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.RedirectedWithErrors]) -> _MaybeText: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.RedirectedTranslated]) -> _MaybeText: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.AnyOutput]) -> Completed[Any]: ...


class StartMethod(Protocol[_Run_co, _RunWithStdin_co]):
    """`Client.start`."""

    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.StartWithStdin]) -> _RunWithStdin_co: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.StartOnTerminal]) -> _RunWithStdin_co: ...
    @overload
    def __call__(self, args: Args, options: Options = None, **_: Unpack[k.StartAny]) -> _Run_co: ...


class AttachMethod(Protocol[_Run_co, _RunWithStdin_co]):
    """`Client.attach`."""

    @overload
    def __call__(self, run_id: str, *, stdin: Literal[True], **_: Unpack[k.AttachKeywords]) -> _RunWithStdin_co: ...
    @overload
    def __call__(self, run_id: str, *, stdin: bool | int = False, **_: Unpack[k.AttachKeywords]) -> _Run_co: ...
