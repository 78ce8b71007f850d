"""Where a program starts: its working directory, opened, and whether the program can be executed there.

Both are looked at by the user's worker, because they may hang. The service's own account also has a worker; but if
nobody else can change what the paths lead to, and nothing on them can hang, the service looks itself.
"""

from __future__ import annotations

import errno as errnos
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple

from farhand_server.credentials import Credentials
from farhand_server.worker.looking import open_start, starting_directory
from farhand_server.worker.messages import NotAnswered, OpenStart, StartOpened
from farhand_server.worker.steady import steady_paths
from farhand_server.worker.workers import NoAnswer, current

from . import slot

MAX_NAME: Final = 256
"""Maximum length in characters of a program's name in an error: a longer name would hide the reason."""


class LaunchError(Exception):
    """The program did not start. `errno` and `what` tell programs why; the text tells people."""

    def __init__(self, errno: int, what: Literal["program", "directory", "process"], sentence: str) -> None:
        super().__init__(sentence)
        self.errno = errno
        self.what = what

    @property
    def name(self) -> str:
        """The name of the errno, such as ENOENT."""
        return errnos.errorcode.get(self.errno, f"E{self.errno}")


class Place(NamedTuple):
    """The result of `look`.

    `cwd` is the working directory's path; `directory` is its descriptor, if it had to be opened. If `quick`, executing
    the program cannot hang the process that does it.
    """

    cwd: bytes
    directory: int | None
    quick: bool

    def close(self) -> None:
        """Close the directory."""
        if self.directory is not None:
            os.close(self.directory)

    @contextmanager
    def entered(self) -> Iterator[tuple[bytes, int | None]]:
        """Yield the path of a directory that asyncio may enter for the program, and the descriptor of the one that the
        program must enter itself, if that is another one. Do not await anything inside but the start.

        The process that enters the directory is still the service's. By its path, it would find whatever the user has
        put there since; a directory that may hang, it must not enter at all.
        """
        if self.directory is None:
            yield self.cwd, None
        elif steady_paths().is_local(self.directory):
            yield b"/proc/self/fd/%d" % self.directory, None
        else:
            with slot.holding(self.directory) as number:
                yield b"/", number


async def look(
    program: bytes,
    *,
    search: bytes,
    cwd: bytes,
    home: bytes = b"",
    judged: bool = False,
    credentials: Credentials | None,
    opened: bool,
) -> Place:
    """Return where `program` starts. Raises `LaunchError` as its start would, if it cannot be executed.

    A name without a slash is searched for in the PATH `search`, as `subprocess` does. If `home` cannot be entered, `/`
    takes its place in `cwd`. If `judged`, the path of the directory without symbolic links must still be `cwd`. With
    `opened`, the directory is opened and the program is judged in any case; without, only if executing it might hang.

    Not detected are an ELF file for another machine or without its loader, and errors that only the start itself shows
    (E2BIG, EAGAIN, ENOMEM).
    """
    question = OpenStart(program, search, cwd, home)
    quick = credentials is None and steady_paths().can_start(program, search, cwd, home)
    if quick and not opened:
        return Place(starting_directory(cwd, home), None, True)
    if quick:
        answer, directory = open_start(question)
    else:
        answer, directory = await _asked(credentials, question)
    try:
        if answer.at_directory or directory is None:
            raise directory_error(answer.errno, answer.cwd)
        if answer.errno:
            raise program_error(answer.errno, program)
        if judged and answer.directory != cwd:
            raise LaunchError(
                errnos.ESTALE,
                "directory",
                f"the directory {os.fsdecode(cwd)!r} has become another one since the policy has judged it; try again",
            )
    except BaseException:
        if directory is not None:
            os.close(directory)
        raise
    return Place(answer.cwd, directory, quick)


async def _asked(credentials: Credentials | None, question: OpenStart) -> tuple[StartOpened, int | None]:
    try:
        answer, directory = await current().ask(credentials, question)
    except NoAnswer as error:
        where = f"{shown(question.program)} in {os.fsdecode(question.cwd)!r}"
        sentence = f"cannot look at the program {where}: {error}"
        raise LaunchError(error.errno or errnos.EIO, "process", sentence) from None
    if isinstance(answer, StartOpened):
        return answer, directory
    assert isinstance(answer, NotAnswered)  # ANSWER_TO
    number = answer.errno or errnos.EPROTO
    raise LaunchError(number, "process", f"cannot look at the program {shown(question.program)}: {os.strerror(number)}")


def shown(program: bytes) -> str:
    """Return a program's name for a sentence."""
    return repr(os.fsdecode(program)[:MAX_NAME])


def directory_error(number: int, cwd: bytes) -> LaunchError:
    """Return the error for a directory in which nothing can be started."""
    reason = os.strerror(number)
    return LaunchError(number, "directory", f"cannot start in the directory {os.fsdecode(cwd)!r}: {reason}")


def program_error(number: int, program: bytes) -> LaunchError:
    """Return the error for a program that cannot be executed."""
    return LaunchError(number, "program", f"cannot run the program {shown(program)}: {os.strerror(number)}")
