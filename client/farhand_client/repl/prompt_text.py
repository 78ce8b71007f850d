"""What the prompt says. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from farhand_client.ui.text import printable

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

    from .hosts import Host
    from .shell_state import State

WORTH_SAYING: Final = 1.0
"""Seconds from which on it is said how long a line took."""

NAME: Final = "bold"
PLACE: Final = "ansiblue"
BRANCH: Final = "ansigreen"
FAILED: Final = "ansired"
QUIET: Final = "ansibrightblack"


def connecting(name: str) -> StyleAndTextTuples:
    """Return the prompt before it is known who one is at the host `name`."""
    return [(QUIET, printable(name)), ("", "… ")]


def message(hosts: Sequence[Host]) -> StyleAndTextTuples:
    """Return the prompt: where lines go to, and how the last one ended if not well, or not soon."""
    parts: StyleAndTextTuples = _one(hosts[0]) if len(hosts) == 1 else _several(hosts)
    down = [host.name for host in hosts if host.link.down]
    if down:
        whose = "" if len(hosts) == 1 else f"{', '.join(map(printable, down))}: "
        parts.append((FAILED, f" ({whose}line down)"))
    parts.append(("", "# " if any(host.link.user == "root" for host in hosts) else "$ "))
    return parts


def _one(host: Host) -> StyleAndTextTuples:
    parts: StyleAndTextTuples = [
        (NAME, printable(f"{host.link.user}@{host.link.host}")),
        ("", ":"),
        (PLACE, printable(host.state.where)),
    ]
    if host.branch is not None:
        parts.append((BRANCH, f" ({host.branch})"))
    ended = _ended(host.state)
    if host.state.took >= WORTH_SAYING:
        ended = f"{ended}, {_time(host.state.took)}" if ended else _time(host.state.took)
    if ended:
        parts.append((FAILED if host.state.code else QUIET, f" [{ended}]"))
    return parts


def _several(hosts: Sequence[Host]) -> StyleAndTextTuples:
    parts: StyleAndTextTuples = []
    places = {host.state.where for host in hosts}
    if len(places) == 1:
        parts += [(NAME, printable(",".join(host.name for host in hosts))), ("", ":"), (PLACE, printable(places.pop()))]
    else:
        for host in hosts:
            parts += [("", " ")] if parts else []
            parts += [(NAME, printable(host.name)), ("", ":"), (PLACE, printable(host.state.where))]
    failed = [f"{printable(host.name)} {_ended(host.state)}" for host in hosts if host.state.code]
    took = max(host.state.took for host in hosts)
    words = [*failed, _time(took)] if took >= WORTH_SAYING else failed
    if words:
        parts.append((FAILED if failed else QUIET, f" [{', '.join(words)}]"))
    return parts


def _ended(state: State) -> str:
    return printable(state.ended) or (str(state.code) if state.code else "")


def _time(seconds: float) -> str:
    from farhand_client.ui.text import format_time

    return format_time(seconds)
