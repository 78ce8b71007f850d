"""Reads files with keys before a login, with the rights of the account's user.

Anybody may name any account. So at most `MAX_READERS` of these files are read at once, the others wait for their turn,
and only few workers are kept for it (`workers.MAX_BEFORE_LOGIN`). Logins to the same account share one reading, so a
file that hangs never takes more than one of these places.

Files that only root can change, as those of /etc/farhand, the service reads itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farhand_server.credentials import Credentials

from .keyfile import (
    FileIdentity,
    KeyFileContents,
    KeyFileError,
    KeyFileUnavailable,
    contents,
    may_have_written,
    open_key_file,
)
from .messages import KeyFileRead, NotAnswered, ReadKeyFile
from .steady import steady_paths
from .workers import NoAnswer, current

MAX_READERS: Final = 16
"""Files that are read at once before a login. Forking a worker and reading takes some ten milliseconds, so this is
hundreds of logins a second, and as many accounts with files that hang before others wait."""

MAX_REMEMBERED: Final = 4096
"""Paths of which the last identity is remembered, some 300 bytes each."""

_Asked = tuple[Credentials | None, Path, int, Path]
"""Who reads which file, for which account's uid and home. Only logins that ask for the same may share an answer."""


@dataclass(frozen=True, slots=True)
class AcceptedKeyFile:
    """A file that may grant access. `by_user` tells whether the user could have written it."""

    contents: KeyFileContents
    by_user: bool


class KeyFiles:
    """Opens the files of all accounts."""

    def __init__(self) -> None:
        self._readers = asyncio.Semaphore(MAX_READERS)
        self._reading: dict[_Asked, asyncio.Task[AcceptedKeyFile | None]] = {}
        self._identities: OrderedDict[_Asked, FileIdentity] = OrderedDict()

    async def open(
        self,
        path: Path,
        *,
        reader: Credentials | None,
        uid: int,
        home: Path,
        max_size: int,
        known: Container[FileIdentity],
    ) -> AcceptedKeyFile | None:
        """Return a file, None if it does not exist. It is read with the rights of `reader` (None: the service's own).

        Contents with a `known` identity may be missing. Raises `KeyFileError`. For the other parameters see `keyfile`.
        """
        if reader is None and steady_paths().is_steady(bytes(path)) and steady_paths().is_steady(bytes(home)):
            opened = open_key_file(path, uid=uid, home=home, max_size=max_size, known=known)
            return None if opened is None else AcceptedKeyFile(opened, may_have_written(path, uid))
        asked = (reader, path, uid, home)
        task = self._reading.get(asked)
        if task is None:
            identity = self._identities.get(asked)
            question = ReadKeyFile(
                bytes(path),
                bytes(home),
                uid,
                max_size,
                identity if identity is not None and identity in known else (),
                int(reader is None),
            )
            task = self._reading[asked] = asyncio.create_task(self._read(asked, question), name="key file")
            task.add_done_callback(lambda task: self._read_ended(asked, task))
        return await asyncio.shield(task)

    def _read_ended(self, asked: _Asked, task: asyncio.Task[AcceptedKeyFile | None]) -> None:
        del self._reading[asked]
        if not task.cancelled():
            task.exception()  # perhaps nobody waits for it any more

    async def _read(self, asked: _Asked, question: ReadKeyFile) -> AcceptedKeyFile | None:
        reader, path = asked[:2]
        try:
            async with self._readers:
                answer, fd = await current().ask(reader, question, before_login=reader is not None)
        except NoAnswer as error:
            # Whatever it is, it says nothing about the key. That this account exists, the time has told already.
            raise KeyFileUnavailable(f"{path}: cannot be read", str(error)) from None
        try:
            return self._accepted(asked, answer, fd, question)
        finally:
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)

    def _accepted(self, asked: _Asked, answer: object, fd: int | None, question: ReadKeyFile) -> AcceptedKeyFile | None:
        reader, path = asked[:2]
        if isinstance(answer, NotAnswered):
            raise _cannot_be_read(path, reader, os.strerror(answer.errno))
        if not isinstance(answer, KeyFileRead) or (answer.found and len(answer.identity) != len(FileIdentity._fields)):
            raise _cannot_be_read(path, reader, "the worker has answered another question")
        if answer.fault:
            raise KeyFileUnavailable(os.fsdecode(answer.problem), os.fsdecode(answer.fault))
        if answer.problem:
            raise KeyFileError(os.fsdecode(answer.problem))
        if not answer.found:
            return None
        try:
            data = None if fd is None else contents(fd, question.max_size)
        except OSError as error:  # also EINVAL for a file without seals (fcntl(2))
            raise _cannot_be_read(path, reader, error.strerror or str(error)) from None
        identity = FileIdentity(*answer.identity)
        if data is None and identity != question.known:
            raise _cannot_be_read(path, reader, "the worker has answered without the contents")
        self._identities[asked] = identity
        self._identities.move_to_end(asked)
        if len(self._identities) > MAX_REMEMBERED:
            self._identities.popitem(last=False)
        return AcceptedKeyFile(KeyFileContents(identity, data), bool(answer.by_user))


def _cannot_be_read(path: Path, reader: Credentials | None, why: str) -> KeyFileError:
    if reader is None:
        return KeyFileUnavailable(f"{path}: cannot be read", why)
    return KeyFileError(f"{path}: cannot be read: {why}")
