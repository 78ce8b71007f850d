"""From the arguments of `run` and `start` to the message that asks for a run; wrong ones are refused here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from farhand_protocol import messages as m

from .uuid7 import uuid7

PIPE: Final = subprocess.PIPE
DEVNULL: Final = subprocess.DEVNULL

Argument: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
Args: TypeAlias = "Argument | Sequence[Argument]"


def build(
    args: Args,
    *,
    shell: bool,
    stdin: bool,
    cwd: Argument | None,
    env: Mapping[str, str] | Mapping[bytes, bytes] | None,
    timeout: float | None,
    kill_after: float | None,
    merge_stderr: bool,
) -> m.Run:
    """Return the request with an id of its own. Raises TypeError and ValueError for what no service would take."""
    return m.Run(
        id=uuid7(),
        argv=None if shell else _argv(args),
        shell=_script(args) if shell else None,
        cwd=None if cwd is None else _bytes(cwd, "cwd"),
        env=_environment(env or {}),
        stdin=stdin,
        merge_stderr=merge_stderr,
        timeout=_seconds(timeout, "timeout", least=1e-6),
        kill_after=_seconds(kill_after, "kill_after", least=0.0),
    )


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
