"""From the arguments of `run` and `start` to the message that asks for a run; wrong ones are refused here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from farhand_protocol import messages as m
from farhand_protocol.limits import MIN_SPOOL, TERMINAL_WINDOW

from .ids import checked_id, new_key, uuid7

PIPE: Final = subprocess.PIPE
DEVNULL: Final = subprocess.DEVNULL

Argument: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
Args: TypeAlias = "Argument | Sequence[Argument]"
OnDisconnect: TypeAlias = Literal["kill", "keep"]
Limits: TypeAlias = "m.Bounds | Mapping[str, Any]"
"""What a run may use: `memory`, `file_size`, `output` (bytes), `cpu` (seconds), `processes`, `files` (counts)."""


def build(
    args: Args | None,
    *,
    shell: bool,
    stdin: bool,
    cwd: Argument | None,
    env: Mapping[str, str] | Mapping[bytes, bytes] | None,
    timeout: float | None,
    kill_after: float | None,
    merge_stderr: bool,
    run_id: str | None = None,
    on_disconnect: OnDisconnect = "kill",
    grace: float | None = None,
    idle_timeout: float | None = None,
    limits: Limits | None = None,
    spool: int | None = None,
    terminal: m.TerminalRequest | None = None,
    record_input: bool = False,
) -> m.RunRequest:
    """Return the request, with an id of its own unless one is given. Without `args` it is for a login shell.

    Raises TypeError and ValueError for what no service would take.
    """
    if on_disconnect not in ("kill", "keep"):
        raise ValueError(f"on_disconnect is {on_disconnect!r}; it can be 'kill' or 'keep'")
    if spool is not None and not MIN_SPOOL <= spool < 1 << 63:
        raise ValueError(f"spool is {spool!r}; it has {MIN_SPOOL} bytes or more, or is None")
    on_terminal = terminal is not None
    return m.RunRequest(
        id=uuid7() if run_id is None else checked_id(str(run_id)),
        attachment=new_key(),
        argv=None if shell or args is None else _argv(args),
        shell=_script(args) if shell and args is not None else None,
        login=args is None,
        cwd=None if cwd is None else _bytes(cwd, "cwd"),
        env=_environment(env or {}),
        stdin=stdin or on_terminal,
        merge_stderr=merge_stderr or on_terminal,
        timeout=_seconds(timeout, "timeout", least=1e-6),
        kill_after=_seconds(kill_after, "kill_after", least=0.0),
        on_disconnect=on_disconnect,
        grace=_seconds(grace, "grace", least=0.0),
        idle_timeout=_seconds(idle_timeout, "idle_timeout", least=1e-6),
        bounds=None if limits is None else _bounds(limits),
        spool=spool,
        window=TERMINAL_WINDOW if on_terminal else None,
        terminal=terminal,
        record_input=record_input,
    )


def _bounds(limits: Limits) -> m.Bounds:
    if isinstance(limits, m.Bounds):
        return limits
    unknown = [name for name in limits if name not in m.Bounds.model_fields]
    if unknown:
        raise ValueError(f"limits: there is no limit on {unknown[0]!r}; there are {', '.join(m.Bounds.model_fields)}")
    for name, value in limits.items():
        if value is None:
            continue
        if type(value) is not int and (name != "cpu" or type(value) is not float):
            raise TypeError(f"limits: {name} is {type(value).__name__}; a number is needed")
        least = 0 if name in ("file_size", "output") else 1
        if name == "cpu":
            _seconds(value, "limits: cpu", least=1e-6)
        elif not least <= value < 1 << 63:
            raise ValueError(f"limits: {name} is {value!r}; {least} or more is possible")
    return m.Bounds(**limits)


def _argv(args: Args) -> tuple[bytes, ...]:
    if isinstance(args, str | bytes | os.PathLike):
        # As subprocess on POSIX: a lone string is the program's name, never split.
        return (_bytes(args, "args"),)
    argv = tuple(_bytes(argument, f"args[{at}]") for at, argument in enumerate(args))
    if not argv:
        raise ValueError("args is empty: the first one names the program")
    return argv


def _script(args: Args) -> bytes:
    if not isinstance(args, str | bytes):
        raise TypeError("with shell=True, args is the script: one str or bytes")
    return _bytes(args, "args")


def _environment(env: Mapping[Any, Any]) -> tuple[tuple[bytes, bytes], ...]:
    pairs = []
    for name, value in env.items():
        encoded = _bytes(name, "a name in env")
        if not encoded or b"=" in encoded:
            raise ValueError(f"env: {name!r} cannot name a variable: it is empty or has an equals sign")
        pairs.append((encoded, _bytes(value, f"env[{name!r}]")))
    return tuple(pairs)


def _bytes(value: Argument, where: str) -> bytes:
    try:
        encoded = os.fsencode(value)
    except TypeError:
        raise TypeError(f"{where} is {type(value).__name__}; str, bytes or a path is needed") from None
    if b"\0" in encoded:
        raise ValueError(f"{where} has a NUL byte, which cannot be passed to a program")
    return encoded


def _seconds(value: float | None, where: str, *, least: float) -> float | None:
    if value is None:
        return None
    seconds = float(value)
    if not least <= seconds <= m.MAX_SECONDS:
        above = "more than " if least else ""
        raise ValueError(f"{where} is {value!r}; {above}0 to {m.MAX_SECONDS} seconds are possible")
    return seconds
