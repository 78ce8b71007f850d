"""What `farhand up` has made on this machine: written down before it is made, so that it can always be taken back."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from farhand_client.up.there.places import FarPlaces
from farhand_client.up.there.trouble import FarSideError, reported


class Record:
    """The record of one machine, in `up.json`. What is done twice is recorded once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._directories: list[str] = []
        self._trees: list[str] = []
        self._files: dict[str, str] = {}
        self._symlinks: dict[str, str] = {}
        self._keys: dict[str, list[str]] = {}
        self.facts: dict[str, str] = {}
        """What else has to be known later, such as how the service was started."""

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read the record; it is empty if there is no file. Raises FarSideError for a file that is no record."""
        record = cls(path)
        try:
            with reported("read what farhand up has made"):
                data: Any = json.loads(path.read_bytes())
            record._directories = [str(each) for each in data["directories"]]
            record._trees = [str(each) for each in data["trees"]]
            record._files = {str(name): str(digest) for name, digest in data["files"].items()}
            record._symlinks = {str(name): str(target) for name, target in data["symlinks"].items()}
            record._keys = {str(name): list(map(str, blobs)) for name, blobs in data["keys"].items()}
            record.facts = {str(name): str(value) for name, value in data["facts"].items()}
        except FarSideError:
            if path.exists():
                raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FarSideError(
                f"{path} is not what farhand up has written", "move it away; what it named has to be removed by hand"
            ) from None
        return record

    @property
    def exists(self) -> bool:
        """Whether anything was recorded."""
        return self._path.exists()

    def save(self) -> None:
        """Write the record, in one step."""
        data = {
            "directories": self._directories,
            "trees": self._trees,
            "files": self._files,
            "symlinks": self._symlinks,
            "keys": self._keys,
            "facts": self.facts,
        }
        write_whole(self._path, json.dumps(data, indent=1).encode() + b"\n", 0o644)

    def made(self, path: Path) -> bool:
        """Return whether the file or symbolic link at `path` was made by farhand up."""
        return str(path) in self._files or str(path) in self._symlinks

    def digest(self, path: Path) -> str | None:
        """Return the SHA-256 with which farhand up has written the file; None if it has not."""
        return self._files.get(str(path))

    def directory(self, path: Path, mode: int = 0o755) -> None:
        """Create a directory with the missing ones above it."""
        missing = [each for each in (path, *path.parents) if not each.exists()]
        new = [str(each) for each in reversed(missing) if str(each) not in self._directories]
        # Above the record itself, there is nothing yet to write it to.
        if new and self._path.parent.is_dir():
            self._directories += new
            self.save()
            new = []
        with reported("create a directory"):
            path.mkdir(mode=mode, parents=True, exist_ok=True)
        if new:
            self._directories += new
            self.save()

    def tree(self, path: Path) -> None:
        """Note that `path`, with everything in it, is about to be made, unless it is there already."""
        if str(path) not in self._trees and not path.exists():
            self._trees.append(str(path))
            self.save()

    def tree_gone(self, path: Path) -> None:
        """Note that such a tree was removed again."""
        if str(path) in self._trees:
            self._trees.remove(str(path))
            self.save()

    def file(self, path: Path, data: bytes, mode: int = 0o644) -> bool:
        """Write a file, and return whether it has changed. Raises FarSideError for a file of somebody else."""
        there = content_of(path)
        if there is not None and not self.made(path):
            raise FarSideError(f"{path} is there, and not from farhand up", "move it away, or remove it")
        if there == data:
            return False
        self.directory(path.parent)
        self._files[str(path)] = hashlib.sha256(data).hexdigest()
        self.save()
        write_whole(path, data, mode)
        return True

    def symlink(self, path: Path, target: str) -> bool:
        """Make a symbolic link, or change one of ours, in one step; return False if somebody else has put one there."""
        if path.is_symlink() and str(path.readlink()) == target and self.made(path):
            return True
        if os.path.lexists(path) and not self.made(path):
            return False
        self.directory(path.parent)
        self._symlinks[str(path)] = target
        self.save()
        new = path.with_name(f".{path.name}.new")
        with reported("make a symbolic link"):
            new.unlink(missing_ok=True)
            new.symlink_to(target)
            new.replace(path)
        return True

    def key(self, file: Path, blob: str) -> None:
        """Note that a key is about to be added to an authorized_keys file."""
        blobs = self._keys.setdefault(str(file), [])
        if blob not in blobs:
            blobs.append(blob)
            self.save()

    def take_back(self) -> list[str]:
        """Remove everything that was made, the record last, and return what was kept because others changed it."""
        kept: list[str] = []
        with reported("remove what farhand up has made"):
            for name, blobs in self._keys.items():
                _without_keys(Path(name), set(blobs))
            for name, target in self._symlinks.items():
                path = Path(name)
                if path.is_symlink() and str(path.readlink()) == target:
                    path.unlink()
            for name, digest in self._files.items():
                path, data = Path(name), content_of(Path(name))
                if data is not None and hashlib.sha256(data).hexdigest() != digest:
                    kept.append(f"{path} was changed since")
                elif data is not None:
                    path.unlink()
            for name in self._trees:
                if Path(name).exists():
                    shutil.rmtree(name)
            self._path.unlink(missing_ok=True)
            for name in sorted(self._directories, key=len, reverse=True):
                # Others may have put something into it, or removed it.
                with contextlib.suppress(OSError):
                    Path(name).rmdir()
        return kept


def content_of(path: Path) -> bytes | None:
    """Return what is in a file; None if there is none."""
    try:
        with reported("read a file"):
            return path.read_bytes()
    except FarSideError:
        if path.exists():
            raise
        return None


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Write a file in one step: it has its old content or the new one. Raises FarSideError."""
    real = Path(os.path.realpath(path))
    new = real.with_name(f".{real.name}.new")
    with reported("write a file"):
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
            with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            new.replace(real)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def locked(places: FarPlaces) -> Iterator[Record]:
    """Yield the record, which no other `farhand up` changes meanwhile. Raises FarSideError if another one does."""
    record = Record.load(places.record_file)
    record.directory(places.base)
    descriptor = os.open(places.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FarSideError("another farhand up is at work on this machine", "wait until it is done") from None
        yield Record.load(places.record_file)
    finally:
        os.close(descriptor)


def _without_keys(file: Path, blobs: set[str]) -> None:
    """Remove the lines of these keys; a file in which nothing is left is removed by its own record, if it was ours."""
    data = content_of(file)
    if data is None:
        return
    lines = data.splitlines(keepends=True)
    left = [line for line in lines if blobs.isdisjoint(line.decode(errors="replace").split())]
    if len(left) == len(lines):
        return
    if left:
        write_whole(file, b"".join(left), stat.S_IMODE(file.stat().st_mode))
    else:
        file.unlink()
