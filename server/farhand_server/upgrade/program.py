"""The program that will replace this one. It is first tried in a child process, then executed in this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import Final

TRIAL_TIMEOUT: Final = 30.0
"""Seconds that the new program has to read the snapshot in the trial. It takes one second on an idle machine."""

MAX_TRIAL_OUTPUT: Final = 64 << 10
"""Maximum bytes of output from the trial. If the trial fails, its last line is the reason."""

_BLOCKED_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD})
"""Signals that remain pending while no handler is installed. By default, the first four would end the new program."""

_SIGNAL_TURNS: Final = 3
"""Turns of asyncio's loop until a received signal has been handled: one reads it, the next calls the handler."""


class UpgradeRefused(Exception):
    """The upgrade is refused, and the old program continues. The text says why."""


def resumed_command(hidden: str, fd: int) -> list[str]:
    """Return this process's command line for the currently installed program, with the option `hidden`."""
    given = sys.orig_argv[1:]
    if "--resume" in given:
        at = given.index("--resume")
        del given[at : at + 2]
    return [sys.executable, *given, hidden, str(fd)]


async def try_program(fd: int) -> str:
    """Let the new program read the configuration and the snapshot without acting on them, and return its version.

    Raises `UpgradeRefused` if the program cannot read them.
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
        raise UpgradeRefused(f"the new program did not read the snapshot within {TRIAL_TIMEOUT:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    word, _, version = said.decode(errors="replace").strip().partition(" ")
    if process.returncode != 0 or word != "resumable":
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2][:1000]
        raise UpgradeRefused(
            f"the new program cannot continue this service: {last or f'it exited with {process.returncode}'}"
        )
    return version


async def block_signals() -> set[signal.Signals]:
    """Block signals, and return the previous mask once signals that had already arrived have been handled.

    The mask and pending signals survive execve(2); signals that Python has received but not handled do not. The new
    program unblocks signals with `reset_signals` once it has installed its handlers.
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
    """Undo `block_signals`. `before` is the mask that it returned."""
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def execute(fd: int, descriptors: Iterable[int], environment: Mapping[str, str]) -> None:
    """Execute the new program in this process. The program resumes from the snapshot in `fd` and inherits
    `descriptors`.

    Call `block_signals` first. Raises OSError, and changes nothing, if the program cannot be executed.
    """
    kept = (*descriptors, fd)
    try:
        for number in kept:
            os.set_inheritable(number, True)
        os.execve(sys.executable, resumed_command("--resume", fd), environment)
    finally:
        for number in kept:
            os.set_inheritable(number, False)
