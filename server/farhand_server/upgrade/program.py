"""The program that is to replace this one: tried first, then executed in this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import Final

TRIAL_TIMEOUT: Final = 30.0
"""Seconds the new program has to read the state in the trial; it takes one on an idle machine."""

MAX_TRIAL_OUTPUT: Final = 64 << 10
"""Bytes of what the trial may say, of which the last line counts."""

_BLOCKED_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD})
"""Signals that wait while no handler is there: by default the first four would end the new program."""

_SIGNAL_TURNS: Final = 3
"""Turns of asyncio's loop until a signal that has come is acted on: one reads of it, the next calls the handler."""


class UpgradeRefused(Exception):
    """The old program stays; the text says why."""


def resumed_command(hidden: str, fd: int) -> list[str]:
    """Return what this process was started with, as a start of the program that is there now."""
    given = sys.orig_argv[1:]
    if "--resume" in given:
        at = given.index("--resume")
        del given[at : at + 2]
    return [sys.executable, *given, hidden, str(fd)]


async def try_program(fd: int) -> str:
    """Have the new program read configuration and state without acting on them; return its version.

    Raises `UpgradeRefused` where it does not.
    """
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        process = await asyncio.create_subprocess_exec(
            *resumed_command("--check-resume", fd),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(fd,),
            start_new_session=True,
            limit=MAX_TRIAL_OUTPUT,
        )
    except OSError as error:
        raise UpgradeRefused(f"the new program cannot be started: {error.strerror}") from None
    try:
        async with asyncio.timeout(TRIAL_TIMEOUT):
            said, complaint = await process.communicate()
    except TimeoutError:
        raise UpgradeRefused(f"the new program has not tried the state within {TRIAL_TIMEOUT:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    word, _, version = said.decode(errors="replace").strip().partition(" ")
    if process.returncode != 0 or word != "resumable":
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2][:1000]
        raise UpgradeRefused(f"the new program does not do: {last or f'it ended with {process.returncode}'}")
    return version


async def block_signals() -> set[signal.Signals]:
    """Let no more signals in, and return once those that came are acted on; returns the mask before.

    Mask and pending signals survive execve(2), what has come and was not acted on does not. `reset_signals` lets them
    in once the next program has its handlers.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED_SIGNALS)
    try:
        for _ in range(_SIGNAL_TURNS):
            await asyncio.sleep(0)
    except BaseException:
        unblock_signals(before)
        raise
    return {signal.Signals(number) for number in before}


def unblock_signals(before: Iterable[int]) -> None:
    """Undo `block_signals`."""
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def execute(fd: int, descriptors: Iterable[int], environment: Mapping[str, str]) -> None:
    """Become the new program, which resumes from the state in `fd` with these descriptors open, after `block_signals`.

    Raises OSError where it cannot be executed; then all is as before.
    """
    kept = (*descriptors, fd)
    try:
        for number in kept:
            os.set_inheritable(number, True)
        os.execve(sys.executable, resumed_command("--resume", fd), environment)
    finally:
        for number in kept:
            os.set_inheritable(number, False)
