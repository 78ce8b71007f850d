"""Runs on terminals, started over the bare protocol."""

from __future__ import annotations

from typing import Any

from farhand_protocol import messages as m
from farhand_protocol.limits import TERMINAL_WINDOW

from .client import RawClient, RemoteRun

PROMPT = b"[0-9]+> "
"""The prompt of `shell` as a regular expression: the number of the next command."""


def terminal(
    columns: int = 80, rows: int = 24, *modes: tuple[str, int], name: str = "xterm-256color"
) -> m.TerminalRequest:
    """Return a terminal request with this size and these modes."""
    return m.TerminalRequest.model_validate({"name": name, "size": size(columns, rows), "modes": modes})


def size(columns: int, rows: int) -> m.WindowSize:
    """Return a window size in characters."""
    return m.WindowSize(columns=columns, rows=rows)


def on_terminal(client: RawClient, *argv: str, shown: m.TerminalRequest | None = None, **fields: Any) -> RemoteRun:
    """Start a command on a terminal."""
    given: dict[str, Any] = {"terminal": shown or terminal(), "stdin": True, "merge_stderr": True}
    return client.start(*argv, **({"window": TERMINAL_WINDOW} | given | fields))


async def shell(client: RawClient, **fields: Any) -> RemoteRun:
    """Start an interactive bash without user configuration; wait for its first prompt."""
    env = ((b"PS1", b"\\#> "), (b"HISTFILE", b""), (b"LC_ALL", b"C.UTF-8"))
    run = on_terminal(client, "bash", "--norc", "--noprofile", "-i", env=env, **fields)
    await run.match(PROMPT)
    return run


async def answer(run: RemoteRun, command: str, pattern: bytes, *, prompt: bool = True) -> bytes:
    """Run a command in the shell, wait for the next prompt; return the first match of `pattern` after the echo."""
    begin = len(run.stdout)
    run.write(command.encode() + b"\r")
    line = await run.match(rb"\r\n", begin)
    found = await run.match(pattern, line.end())
    if prompt:
        await run.match(PROMPT, found.end())
    return found[0]
