"""The table of runs that `farhand ps` and the REPL's `:jobs` print."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from farhand_client.signals import signal_name
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, SpawnFailed, TimedOut
from farhand_protocol.sentences import printable

from .left import process_names
from .text import display_width, format_size, format_time, truncate

MIN_ID_PREFIX: Final = 4
"""The fewest characters of an id that a user may type: as in git, fewer are more likely a mistake."""

MIN_ID_SHOWN: Final = 13
"""Characters of an id that are shown at least. In an id made by farhand they encode the creation time to the
millisecond, which is nearly always unique; otherwise more are shown."""

MIN_COMMAND_COLUMNS: Final = 16
"""Columns for the command, however narrow the terminal is."""


def run_table(runs: Sequence[m.RunInfo], *, user: str, now: float, columns: int | None) -> list[str]:
    """Return the lines of the table, each cut to `columns` columns where possible.

    The owner is shown if any run belongs to another account than `user`, the terminal and the attached clients if any
    run has them. `now` is in seconds since the epoch.
    """
    shown = unique_prefix_length(sorted(run.id for run in runs))
    rows = [["ID", "OWNER", "STATE", "AGE", "TIME", "OUTPUT", "TTY", "CLIENTS", "COMMAND"]]
    for run in runs:
        age = run.duration if run.outcome is None else max(now - run.began, run.duration)
        output = format_size(run.stdout + run.stderr)
        words = [run.id[:shown], run.owner, _state(run), format_time(age), format_time(run.duration), output]
        rows.append([printable(word) for word in (*words, run.tty or "-", _clients(run), _command(run))])
    shows = {
        "OWNER": any(run.owner != user for run in runs),
        "TTY": any(run.tty is not None for run in runs),
        "CLIENTS": any(run.clients for run in runs),
    }
    rows = [[word for word, name in zip(row, rows[0], strict=True) if shows.get(name, True)] for row in rows]
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for *words, command in rows:
        line = "".join(word + " " * (wide - display_width(word) + 2) for word, wide in zip(words, widths, strict=False))
        left = None if columns is None else max(MIN_COMMAND_COLUMNS, columns - display_width(line))
        lines.append(line + (command if left is None else truncate(command, left)))
    return [
        line for at, first in enumerate(lines) for line in (first, *(_left_lines(runs[at - 1], columns) if at else ()))
    ]


def _command(run: m.RunInfo) -> str:
    notes = [note for note, applies in (("login shell", run.login), ("internal", run.internal)) if applies]
    return f"{run.command} ({', '.join(notes)})" if notes else run.command


def _clients(run: m.RunInfo) -> str:
    """Return who is attached, such as `ada, bob@192.0.2.7`; the same client twice is `ada*2`."""
    if not run.clients:
        return str(run.attachments) if run.attachments else "-"
    names = [_client_name(client) for client in run.clients]
    each = [name if names.count(name) == 1 else f"{name}*{names.count(name)}" for name in dict.fromkeys(names)]
    more = run.attachments - len(names)
    return ", ".join([*each, *([f"+{more}"] if more > 0 else [])])


def _client_name(client: m.ClientInfo) -> str:
    """Return the account of a client and, for one on another machine, the address without its port."""
    if client.address is None:
        return client.user or "?"
    return f"{client.user}@{client.address.rpartition(':')[0].strip('[]') or client.address}"


def _state(run: m.RunInfo) -> str:
    running = _running_left(run)
    state = run_state(run.outcome)
    return state if running is None else f"{state}, left {running.number}"


def _running_left(run: m.RunInfo) -> m.LeftProcesses | None:
    left = run.left_processes
    return left if left is not None and left.pids else None


def _left_lines(run: m.RunInfo, columns: int | None) -> list[str]:
    """Return a line about the processes that a run has left running, if there are any."""
    left = _running_left(run)
    if left is None:
        return []
    more = ", …" if len(left.pids) < left.count else ""
    pids = f"{'process' if left.count == 1 else 'processes'} {', '.join(map(str, left.pids))}{more}"
    line = printable(f"  left running: {process_names(left)} ({pids})")
    return [line if columns is None else truncate(line, max(columns, MIN_COMMAND_COLUMNS))]


def unique_prefix_length(ids: Sequence[str]) -> int:
    """Return how many characters tell the sorted `ids` apart; at least `MIN_ID_SHOWN`."""
    same = (next(at for at, pair in enumerate(zip(*two, strict=True)) if pair[0] != pair[1]) for two in pairwise(ids))
    return max(MIN_ID_SHOWN, 1 + max(same, default=0))


def run_state(outcome: Outcome | None) -> str:
    """Return the state of a run in a word or two; `outcome` is None while it is running."""
    match outcome:
        case None:
            return "running"
        case Exited():
            return f"exited {outcome.code}"
        case Signaled():
            return signal_name(outcome.signal)
        case TimedOut():
            return "timed out"
        case Killed(reason="requested"):
            return "stopped"
        case Killed():
            return f"killed: {outcome.reason}"
        case SpawnFailed():
            return "never ran"
        case _:
            return "lost"
