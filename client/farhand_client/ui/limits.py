"""Says what the limits of a run did not do, or may have done without the outcome showing it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .text import format_size

if TYPE_CHECKING:
    from farhand_client.results import Result
    from farhand_protocol import messages as m

_OUT_OF_MEMORY: Final = frozenset({4, 5, 6, 7, 11})
"""Signals with which programs end when an allocation fails: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGSEGV."""

_NOT_LOADED: Final = 127
"""The exit code of a program whose libraries could not be mapped (ld.so(8))."""


def limit_notes(limits: m.Bounds | None, result: Result) -> list[str]:
    """Return a sentence for each limit of `limits` that was not enforced, or that may be why the command failed."""
    applied = result.applied
    if limits is None or applied is None:
        return []
    notes = []
    for name in type(limits).model_fields:
        if getattr(limits, name) is not None and getattr(applied, name) is None:
            notes.append(f"the limit {name.replace('_', '-')} was not enforced: {_why(name)}")
    if limits.memory is not None and applied.memory == "rlimit" and _may_lack_memory(result):
        notes.append(
            "the command may have lacked memory: each of its processes was limited to "
            f"{format_size(limits.memory)} of address space, as the service has no cgroup that would limit and report "
            "what they really use"
        )
    return notes


def _why(name: str) -> str:
    if name == "processes":
        return "the kernel does not limit root, and the service has no cgroup for it"
    return "the service does not say why"


def _may_lack_memory(result: Result) -> bool:
    from farhand_protocol.outcome import Exited, Signaled

    match result.outcome:
        case Signaled(signal=number):
            return number in _OUT_OF_MEMORY
        case Exited(code=code):
            return code == _NOT_LOADED or code - 128 in _OUT_OF_MEMORY
        case _:
            return False
