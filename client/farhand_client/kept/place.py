"""Where the files of a kept process are: its socket and its lock in the runtime directory, its log with the state.

The lock is held as long as the process lives, and is free after any death. So a socket without a locked lock is stale,
and whoever finds it removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from farhand_client.config import state_directory
from farhand_client.errors import FarhandError
from farhand_client.mux.place import MAX_HELPER_PATH, runtime_directory

_NAME: Final = "forward-{}"
_TAG: Final = re.compile(r"forward-([0-9a-f]{16})\.sock")

MAX_LOG_NAME: Final = 40
"""Characters of HOST that are part of a log's name: enough to recognise it, and no path is too long."""


class KeptError(FarhandError):
    """There is no kept process that could be asked, or it refuses."""


class KeptPlace(NamedTuple):
    """The files of the kept process that `tag` stands for."""

    socket: Path
    lock: Path

    def is_alive(self) -> bool:
        """Return whether the process lives. If it does not, what it has left is removed. Raises `KeptError`."""
        with self._alone():
            lock = self._lock()
            if lock is None:
                return True
            self._remove()
            os.close(lock)
            return False

    def take(self) -> int | None:
        """Return the lock file, locked, after removing what a dead process has left; None if one lives or starts.

        Raises `KeptError`.
        """
        with self._alone():
            lock = self._lock()
            if lock is not None:
                self.socket.unlink(missing_ok=True)
            return lock

    def is_held(self, lock: int) -> bool:
        """Return whether `lock`, from `take`, is still the lock file: not if it was removed with its directory."""
        try:
            return os.path.samestat(os.fstat(lock), self.lock.stat())
        except OSError:
            return False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Look at the lock while nobody else does, so that looking at it keeps nobody from taking it."""
        try:
            directory = os.open(self.lock.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(directory, fcntl.LOCK_EX)  # for microseconds each
                yield
            finally:
                os.close(directory)
        except OSError as error:
            raise KeptError(f"cannot use {self.lock}: {error.strerror}") from None

    def _lock(self) -> int | None:
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def remove(self) -> None:
        """Remove the files. Only who holds the lock may call this, last of all."""
        with contextlib.suppress(KeptError), self._alone():
            self._remove()

    def _remove(self) -> None:
        for path in (self.socket, self.lock):
            path.unlink(missing_ok=True)


def kept_place(host: str) -> KeptPlace:
    """Return the place of the process that keeps the forwards of HOST, as it was typed. Makes the directory.

    Raises `KeptError` if there is no runtime directory.
    """
    return _place(_directory(make=True), hashlib.sha256(os.fsencode(host)).hexdigest()[:16])


def kept_places() -> list[KeptPlace]:
    """Return the places at which a process lives; what dead ones have left is removed. Raises `KeptError`."""
    directory = _directory(make=False)
    try:
        tags = [match[1] for path in directory.iterdir() if (match := _TAG.fullmatch(path.name))]
    except FileNotFoundError:
        return []
    return [place for tag in sorted(tags) if (place := _place(directory, tag)).is_alive()]


def log_path(host: str) -> Path:
    """Return the path of the log of HOST's kept forwards."""
    name = re.sub(r"[^\w.@-]", "_", host, flags=re.ASCII)[:MAX_LOG_NAME]
    tag = hashlib.sha256(os.fsencode(host)).hexdigest()[:4]
    return state_directory() / "forwards" / f"{name}-{tag}.log"


def _place(directory: Path, tag: str) -> KeptPlace:
    name = _NAME.format(tag)
    return KeptPlace(directory / f"{name}.sock", directory / f"{name}.lock")


def _directory(*, make: bool) -> Path:
    found = runtime_directory()
    instead = "; run farhand forward without -f, for example in tmux or as a systemd unit"
    if found is None:
        raise KeptError(f"kept forwards need a runtime directory of yours, and XDG_RUNTIME_DIR names none{instead}")
    directory = Path(os.fsdecode(found))
    if len(os.fsencode(_place(directory, "0" * 16).socket)) > MAX_HELPER_PATH:
        raise KeptError(f"the path of XDG_RUNTIME_DIR is too long for a Unix socket{instead}")
    if make:
        try:
            directory.mkdir(0o700, exist_ok=True)
        except OSError as error:
            raise KeptError(f"cannot make {directory}: {error.strerror}") from None
    return directory
