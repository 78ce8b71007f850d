"""Questions to the person at the terminal. The event loop keeps running meanwhile, so the connection stays alive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from farhand_client import job
from farhand_client.caller import before_asking, job_of_front
from farhand_client.errors import HostKeyUnknown

from .printing import print_message

MAX_TYPED: Final = 4096
"""Bytes of an answer: the most a terminal returns for one line (termios(3))."""

ASKPASS_TIMEOUT: Final = 120.0
"""Seconds that the program of SSH_ASKPASS may take: as long as sshd waits for a login (LoginGraceTime). At a terminal
somebody can press Ctrl-C; this program may show its question where nobody looks."""


def can_ask() -> bool:
    """Return whether a person sees questions and can answer them: never in a script, even one that has a terminal."""
    return os.isatty(0) and os.isatty(2)


async def ask(prompt: str, *, echo: bool = True) -> str | None:
    """Show `prompt` on the terminal and return the line that is typed, empty at end of input.

    Returns None without a terminal. A background job has none: it would be stopped, and perhaps nobody would know.
    """
    before_asking()
    try:
        tty = job.open_terminal()
    except OSError:
        return None
    if job.in_background(tty):
        os.close(tty)
        return None
    loop = asyncio.get_running_loop()
    typed = asyncio.Event()
    before: list[Any] = []
    try:
        before = termios.tcgetattr(tty)
        if not echo:
            silent = [*before]
            silent[3] &= ~termios.ECHO
            termios.tcsetattr(tty, termios.TCSAFLUSH, silent)
        os.write(tty, prompt.encode(errors="replace"))
        loop.add_reader(tty, typed.set)
        await typed.wait()
        line = os.read(tty, MAX_TYPED)
    except (OSError, termios.error):  # it has hung up
        return None
    finally:
        loop.remove_reader(tty)
        if before and not echo:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(tty, termios.TCSAFLUSH, before)
                os.write(tty, b"\n")
        os.close(tty)
    # A passphrase may hold any bytes.
    return line.decode(errors="surrogateescape").rstrip("\n")


async def lend_terminal(use: Callable[[bool], Awaitable[None]]) -> None:
    """Call `use`, and wait for it, with whether a program may ask the user at the terminal meanwhile.

    The terminal has its modes again afterwards, however that program ends.
    """
    before_asking()
    if job_of_front() is not None:  # here, a program has no controlling terminal
        await use(False)
        return
    try:
        tty = job.open_terminal()
    except OSError:
        await use(False)
        return
    try:
        if job.in_background(tty):
            await use(False)
            return
        before = termios.tcgetattr(tty)
        try:
            await use(True)
        finally:
            with contextlib.suppress(OSError, termios.error):
                if termios.tcgetattr(tty) != before:
                    termios.tcsetattr(tty, termios.TCSADRAIN, before)
    finally:
        os.close(tty)


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
    """Ask for a passphrase without echoing it: at the terminal, or else through the program of SSH_ASKPASS.

    Returns an empty string if none is given, and None if there is neither. As with ssh(1), SSH_ASKPASS is used only
    where a display is set (DISPLAY or WAYLAND_DISPLAY), and SSH_ASKPASS_REQUIRE changes that: `never`; `prefer`, even
    at a terminal; `force`, even without a display.
    """
    program, preferred = _askpass_program(os.environ)
    if program is not None and preferred:
        return await _run_askpass(program, prompt)
    answer = await ask(prompt, echo=False)
    return await _run_askpass(program, prompt) if answer is None and program is not None else answer


def _askpass_program(environment: Mapping[str, str]) -> tuple[str | None, bool]:
    """Return the program to ask by, if one may be used, and whether it is preferred to the terminal."""
    require = environment.get("SSH_ASKPASS_REQUIRE", "").lower()
    display = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    if require == "never" or not (display or require == "force"):
        return None, False
    return environment.get("SSH_ASKPASS") or None, require in ("prefer", "force")


async def _run_askpass(program: str, prompt: str) -> str | None:
    try:
        process = await asyncio.create_subprocess_exec(program, prompt, stdin=DEVNULL, stdout=PIPE)
    except OSError as error:
        print_message(f"cannot run SSH_ASKPASS={program}: {error.strerror}")
        return None
    try:
        async with asyncio.timeout(ASKPASS_TIMEOUT):
            assert process.stdout is not None
            answer = await process.stdout.read(MAX_TYPED)
            await process.wait()
    except TimeoutError:
        print_message(f"SSH_ASKPASS={program} was ended: it did not answer within {ASKPASS_TIMEOUT:g} seconds")
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return answer.decode(errors="surrogateescape").partition("\n")[0] if process.returncode == 0 else ""
