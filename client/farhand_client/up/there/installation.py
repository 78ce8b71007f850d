"""Installs wheels without pip, venv or a network: they are unpacked into a virtual environment made by hand (PEP 405).

An installation is a directory of its own beside the others. It is built under another name, tried, and renamed: it is
whole or not there. Its programs name their interpreter through `current`, so that a service which replaces its program
gets the one of the installation that is current then.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Final, NamedTuple

from farhand_client.up.there.places import FarPlaces
from farhand_client.up.there.record import Record
from farhand_client.up.there.trouble import FarSideError, output_of, reported

WHEEL_READ_SIZE: Final = 1 << 20
"""Bytes that are read at once while wheels arrive."""

MAX_KEPT: Final = 2
"""Installations that stay: the current one, and the one before it, from which a service may still be running."""

LOADED: Final = (
    "farhand_server.cli.main",
    "farhand_server.cli.serve",
    "farhand_server.cli.core",
    "farhand_server.cli.edge",
    "farhand_server.edge.process",
    "farhand_server.files.worker",
    "farhand_server.worker.spawner",
    "blake3",
    "cryptography.x509",
    "re2",
    "uvloop",
)
"""What the processes of a service load."""

_SCRIPT: Final = """\
#!{python}
import sys

from {module} import {function}

if __name__ == "__main__":
    sys.exit({function}())
"""

_FRONT: Final = _SCRIPT.replace("{module}", "farhand_client.helper.front").replace("{function}", "main")


class ArrivingWheel(NamedTuple):
    """A wheel that the other side is about to send."""

    name: str
    size: int
    sha256: str


class AnnouncedBytes:
    """Bytes that a request has announced: `size` of them. Leaving the context reads those that nobody wanted."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source = source
        self._left = size

    def __enter__(self) -> AnnouncedBytes:
        return self

    def __exit__(self, *error: object) -> None:
        while self.read(WHEEL_READ_SIZE):
            pass

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end."""
        data = self._source.read(min(size, self._left))
        self._left = self._left - len(data) if data else 0
        return data


def installations(places: FarPlaces) -> list[str]:
    """Return the names of the whole installations, newest first."""
    with reported("look for installations"):
        found = [each for each in _listed(places.base) if (each / "pyvenv.cfg").is_file() and not each.is_symlink()]
        found = [each for each in found if not each.name.startswith(".")]
        return [each.name for each in sorted(found, key=lambda each: each.stat().st_mtime, reverse=True)]


def current_name(places: FarPlaces) -> str | None:
    """Return the name of the installation in use."""
    try:
        return str(places.current.readlink())
    except OSError:
        return None


def install(
    places: FarPlaces, record: Record, name: str, wheels: list[ArrivingWheel], source: AnnouncedBytes, unpacked: int
) -> None:
    """Receive wheels from `source` and make the installation `name` of them. Raises FarSideError, and leaves nothing
    then. `unpacked` is how many bytes they have when unpacked."""
    final, new = places.base / name, places.base / f".{name}.new"
    _remove_unfinished(places)
    needed = unpacked + unpacked // 4 + sum(wheel.size for wheel in wheels)  # a quarter for byte code
    with reported("find out how much space is free"):
        free = shutil.disk_usage(places.base).free
    if free < needed:
        raise FarSideError(
            f"{places.base} has {free >> 20} MiB free, and the installation needs {(needed >> 20) + 1} MiB",
            "make room there",
        )
    record.tree(final)
    record.tree(new)
    try:
        with reported("write the installation"):
            _build(places, new, wheels, source)
            _synchronize(new)
            new.replace(final)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    finally:
        record.tree_gone(new)


def switch(places: FarPlaces, record: Record, name: str) -> None:
    """Make `name` the installation in use, in one step."""
    if not record.symlink(places.current, name):
        raise FarSideError(f"{places.current} is there, and not from farhand up", "move it away, or remove it")


def forget_old(places: FarPlaces, record: Record) -> list[str]:
    """Remove the installations before the last ones, and return their names."""
    current = current_name(places)
    names = installations(places)
    kept = {current, *[name for name in names if name != current][: MAX_KEPT - 1]}
    old = [name for name in names if name not in kept]
    for name in old:
        with reported("remove an old installation"):
            shutil.rmtree(places.base / name)
        record.tree_gone(places.base / name)
    return old


def _remove_unfinished(places: FarPlaces) -> None:
    with reported("remove what an interrupted farhand up has left"):
        for each in _listed(places.base):
            if each.name.startswith(".") and each.name.endswith(".new") and each.is_dir():
                shutil.rmtree(each)


def _listed(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _build(places: FarPlaces, new: Path, wheels: list[ArrivingWheel], source: AnnouncedBytes) -> None:
    # Each of these is what the module venv would make; on Debian it is in a package of its own, with pip in it.
    packages = new / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    programs = new / "bin"
    programs.mkdir()
    python = os.path.realpath(sys.executable)
    version = ".".join(map(str, sys.version_info[:3]))
    (new / "pyvenv.cfg").write_text(
        f"home = {Path(python).parent}\ninclude-system-site-packages = false\nversion = {version}\n"
    )
    for alias in ("python", "python3"):
        (programs / alias).symlink_to(python)
    interpreter = str(places.current / "bin/python")
    for wheel in wheels:
        path = new / "arriving.whl"
        _receive(wheel, path, source)
        _unpack(path, packages, programs, interpreter)
        path.unlink()
    _check_front(programs, interpreter)
    # Whether the packages fit this machine shows when they are loaded. That also leaves their byte code, which accounts
    # other than this one could not write.
    output_of([str(programs / "python"), "-I", "-c", f"import {', '.join(LOADED)}"])


def _receive(wheel: ArrivingWheel, path: Path, source: AnnouncedBytes) -> None:
    digest = hashlib.sha256()
    left = wheel.size
    with path.open("wb") as file:
        while left:
            data = source.read(min(left, WHEEL_READ_SIZE))
            if not data:
                raise FarSideError(f"the connection ended inside of {wheel.name}")
            digest.update(data)
            file.write(data)
            left -= len(data)
    if digest.hexdigest() != wheel.sha256:
        raise FarSideError(f"{wheel.name} has arrived with another digest", "try again")


def _unpack(path: Path, packages: Path, programs: Path, interpreter: str) -> None:
    """Unpack a wheel (PEP 427): what is not in its .data directory goes to `packages`."""
    with zipfile.ZipFile(path) as wheel:
        for info in wheel.infolist():
            parts = PurePosixPath(info.filename).parts
            if info.is_dir() or not parts:
                continue
            if ".." in parts or info.filename.startswith("/"):
                raise FarSideError(f"{path.name} has a file outside of itself: {info.filename}")
            target: Path | None = packages.joinpath(*parts)
            mode = 0o755 if (info.external_attr >> 16) & 0o111 else 0o644
            data = wheel.read(info)
            if parts[0].endswith(".data") and len(parts) > 2:
                target, data, mode = _placed(parts, data, mode, packages, programs, interpreter)
            if target is None:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(mode)
            if parts[-1] == "entry_points.txt" and parts[0].endswith(".dist-info"):
                _write_programs(data.decode(), programs, interpreter)


def _placed(
    parts: tuple[str, ...], data: bytes, mode: int, packages: Path, programs: Path, interpreter: str
) -> tuple[Path | None, bytes, int]:
    scheme, rest = parts[1], parts[2:]
    if scheme in ("purelib", "platlib"):
        return packages.joinpath(*rest), data, mode
    if scheme == "scripts":
        if data.startswith(b"#!python"):
            data = f"#!{interpreter}\n".encode() + data.partition(b"\n")[2]
        return programs.joinpath(*rest), data, 0o755
    return None, data, mode  # manual pages and headers


def _write_programs(text: str, programs: Path, interpreter: str) -> None:
    section = ""
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition("="))
        module, _, function = value.partition(":")
        if name.startswith("["):
            section = name
        # Of the other packages, nothing is needed in a shell.
        elif section == "[console_scripts]" and module.startswith("farhand_"):
            script = programs / name
            script.write_text(_SCRIPT.format(python=interpreter, module=module, function=function))
            script.chmod(0o755)


def _check_front(programs: Path, interpreter: str) -> None:
    """Replace the front in C by the one in Python if this machine cannot run it."""
    front = programs / "farhand"
    with contextlib.suppress(FarSideError):
        if front.exists() and front.read_bytes().startswith(b"\x7fELF"):
            # With the full program of its own directory, which is not the current one yet.
            output_of([str(front), "--version"], {"PATH": os.defpath, "FARHAND_MUX": "off"}, check=False)
            return
    front.write_text(_FRONT.format(python=interpreter))
    front.chmod(0o755)


def _synchronize(directory: Path) -> None:
    """Have everything in the file system written to the disk: after a loss of power, too, it is whole or not there."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        ctypes.CDLL(None).syncfs(descriptor)  # syncfs(2); os.sync would wait for every other disk, too
    finally:
        os.close(descriptor)
