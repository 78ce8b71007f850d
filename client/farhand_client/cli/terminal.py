"""Questions to the person at the terminal, while the connection goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from typing import Final

from farhand_client.errors import HostKeyUnknown

LINE: Final = 4096
"""Bytes of an answer: what a terminal gives at once (termios(3))."""


def attended() -> bool:
    """Whether a person sees what is asked and can answer: not so in a script, even one that has a terminal."""
    return os.isatty(0) and os.isatty(2)


async def ask(prompt: str, *, echo: bool = True) -> str | None:
    """Show `prompt` on the terminal and return the line that is typed; None where there is no terminal or no line."""
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
        line = os.read(tty, LINE)
    except OSError:
        return None
    finally:
        loop.remove_reader(tty)
        if not echo:
            termios.tcsetattr(tty, termios.TCSAFLUSH, before)
            os.write(tty, b"\n")
        os.close(tty)
    return line.decode(errors="replace").rstrip("\n") if line else None


async def confirm(unknown: HostKeyUnknown) -> bool:
    """Ask whether a key is the right one; without a person there, it is not."""
    if not attended():
        return False
    answer = await ask(
        f"The key of {unknown.name} is not known. Its fingerprint is\n  {unknown.fingerprint}\n"
        "`farhandd host-key` prints it on that machine. Is it the same? (yes/no) "
    )
    return answer is not None and answer.strip().lower() == "yes"


async def passphrase(prompt: str) -> str | None:
    """Ask for a passphrase, unseen."""
    return await ask(prompt, echo=False) if os.isatty(sys.stderr.fileno()) else None
