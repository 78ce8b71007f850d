"""Says which processes a run has left behind, in a sentence for people. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from farhand_client.results import Result
    from farhand_protocol import messages as m


OPTION: Final = "--leave-processes"
"""The option that leaves such processes running, for commands that have it."""

OPTION_ON_TERMINAL: Final = f"nohup with {OPTION}"
"""The same on a terminal, which is hung up when the command ends: that ends all that does not ignore SIGHUP."""

OPTION_OF_RUN: Final = f"farhand run {OPTION}"
"""The same for other commands."""


def stopped_sentence(result: Result, option: str | None = OPTION) -> str | None:
    """Return what to say about processes that were stopped because the program had ended; None if there were none.

    `option` is the option that would have kept them; None if there is none, because the service is private.
    """
    left = result.left_processes
    if left is None or not left.stopped:
        return None
    were, them = ("was", "it") if left.count == 1 else ("were", "them")
    keeping = f"; {option} or policy keeps {them}" if option is not None else ""
    return f"{left.counted} left behind {were} stopped{_named(left)}{keeping}"


def process_names(left: m.LeftProcesses) -> str:
    """Return the names of the processes, separated by commas; an ellipsis stands for names that are not known."""
    from farhand_protocol.messages import MAX_PROCESS_NAMES
    from farhand_protocol.sentences import printable

    more = len(left.names) == MAX_PROCESS_NAMES < left.count
    return ", ".join([*map(printable, left.names), *(["…"] if more else [])])


def _named(left: m.LeftProcesses) -> str:
    return f": {process_names(left)}" if left.names else ""
