"""Questions to the person at the terminal. The event loop keeps running meanwhile, so the connection stays alive."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from typing import Final

from farhand_client.errors import HostKeyUnknown

MAX_TYPED: Final = 4096
"""Bytes of an answer: the most a terminal returns for one line (termios(3))."""


def can_ask() -> bool:
    """Return whether a person sees questions and can answer them: never in a script, even one that has a terminal."""
    return os.isatty(0) and os.isatty(2)


async def ask(prompt: str, *, echo: bool = True) -> str | None:
    """Show `prompt` on the terminal and return the line that is typed; None without a terminal or at end of input."""
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    loop = asyncio.get_running_loop()
    typed = asyncio.Event()
    before = termios.tcgetattr(tty)
    try:
        if not echo:
            silent = [*before]
            silent[3] &= ~termios.ECHO
            termios.tcsetattr(tty, termios.TCSAFLUSH, silent)
        os.write(tty, prompt.encode(errors="replace"))
        loop.add_reader(tty, typed.set)
        await typed.wait()
        line = os.read(tty, MAX_TYPED)
    except OSError:
        return None
    finally:
        loop.remove_reader(tty)
        if not echo:
            termios.tcsetattr(tty, termios.TCSAFLUSH, before)
            os.write(tty, b"\n")
        os.close(tty)
    return line.decode(errors="replace").rstrip("\n") if line else None


async def confirm_host_key(unknown: HostKeyUnknown) -> bool:
    """Ask whether an unknown host key is the right one; return False if nobody can be asked."""
    if not can_ask():
        return False
    answer = await ask(
        f"The host key of {unknown.name} is not known. Its fingerprint is\n  {unknown.fingerprint}\n"
        "Run `farhandd host-key` on that machine to see its fingerprint. Is it the same? (yes/no) "
    )
    return answer is not None and answer.strip().lower() == "yes"


async def ask_passphrase(prompt: str) -> str | None:
    """Ask for a passphrase without echoing it; None if stderr is not a terminal."""
    return await ask(prompt, echo=False) if os.isatty(sys.stderr.fileno()) else None
