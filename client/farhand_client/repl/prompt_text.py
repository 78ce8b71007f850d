"""The text of the prompt: where lines are sent, and how the last one ended. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from farhand_protocol.sentences import printable

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

    from .hosts import ReplHost
    from .shell_state import ShellState

MIN_SHOWN_DURATION: Final = 1.0
"""Seconds from which on the duration of a line is shown."""

HOST_STYLE: Final = "bold"
DIRECTORY_STYLE: Final = "ansiblue"
BRANCH_STYLE: Final = "ansigreen"
FAILURE_STYLE: Final = "ansired"
FAINT_STYLE: Final = "ansibrightblack"


def connecting_prompt(name: str) -> StyleAndTextTuples:
    """Return the prompt for the host `name` before the service has reported account and host name."""
    return [(FAINT_STYLE, printable(name)), ("", "… ")]


def connected_prompt(hosts: Sequence[ReplHost]) -> StyleAndTextTuples:
    """Return the prompt: the active hosts, and how the last line ended if it failed or took long."""
    parts: StyleAndTextTuples = _for_one(hosts[0]) if len(hosts) == 1 else _for_several(hosts)
    lost = [host.name for host in hosts if host.connection.lost]
    if lost:
        names = "" if len(hosts) == 1 else f"{', '.join(map(printable, lost))}: "
        parts.append((FAILURE_STYLE, f" ({names}connection lost)"))
    parts.append(("", "# " if any(host.connection.user == "root" for host in hosts) else "$ "))
    return parts


def _for_one(host: ReplHost) -> StyleAndTextTuples:
    parts: StyleAndTextTuples = [
        (HOST_STYLE, printable(f"{host.connection.user}@{host.connection.host}")),
        ("", ":"),
        (DIRECTORY_STYLE, printable(host.state.shown_directory)),
    ]
    if host.branch is not None:
        parts.append((BRANCH_STYLE, f" ({host.branch})"))
    notes = [_failure(host.state)] if host.state.code or host.state.outcome else []
    notes += _durations([host])
    if notes:
        parts.append((FAILURE_STYLE if host.state.code else FAINT_STYLE, f" [{', '.join(notes)}]"))
    return parts


def _for_several(hosts: Sequence[ReplHost]) -> StyleAndTextTuples:
    parts: StyleAndTextTuples = []
    directories = {host.state.shown_directory for host in hosts}
    if len(directories) == 1:
        names = ",".join(host.name for host in hosts)
        parts += [(HOST_STYLE, printable(names)), ("", ":"), (DIRECTORY_STYLE, printable(directories.pop()))]
    else:
        for host in hosts:
            parts += [("", " ")] if parts else []
            parts += [(HOST_STYLE, printable(host.name)), ("", ":")]
            parts += [(DIRECTORY_STYLE, printable(host.state.shown_directory))]
    failures = [f"{printable(host.name)} {_failure(host.state)}" for host in hosts if host.state.code]
    notes = [*failures, *_durations(hosts)]
    if notes:
        parts.append((FAILURE_STYLE if failures else FAINT_STYLE, f" [{', '.join(notes)}]"))
    return parts


def _failure(state: ShellState) -> str:
    return printable(state.outcome) or str(state.code)


def _durations(hosts: Sequence[ReplHost]) -> list[str]:
    """Return the longest duration of the last line if it is worth showing."""
    from farhand_client.ui.text import format_time

    duration = max(host.state.duration for host in hosts)
    return [format_time(duration)] if duration >= MIN_SHOWN_DURATION else []
