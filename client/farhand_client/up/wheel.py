"""Makes a wheel (PEP 427) of a distribution that is installed here, or of Farhand itself however it is installed.

The same files give the same bytes, so that a digest says whether anything has changed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackagePath
from pathlib import Path, PurePosixPath
from typing import Final

from farhand_client.errors import FarhandError

OWN_PACKAGES: Final = ("farhand_client", "farhand_files", "farhand_forwards", "farhand_protocol", "farhand_server")
"""The packages of Farhand's own wheel, as pyproject.toml lists them."""

OWN_NAME: Final = "farhand"

FAST_LEVEL: Final = 3
"""zlib's level: 6 takes three times as long, for a twentieth less."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)

_FULL_SCRIPT: Final = b"""\
#!python
import sys

from farhand_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""

_LEFT_OUT: Final = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
"""Files of a .dist-info directory that say how it was installed here."""


class WheelError(FarhandError):
    """No wheel can be made of what is installed here."""


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A file in a wheel."""

    name: str
    path: Path | None
    data: bytes = b""
    executable: bool = False

    def content(self) -> bytes:
        """Return what is in it."""
        return self.data if self.path is None else self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class InstalledWheel:
    """A wheel that can be made of what is installed: `tags` are those of the file WHEEL, `files` what will be in it."""

    name: str
    version: str
    tags: tuple[str, ...]
    files: tuple[WheelFile, ...]

    @property
    def file_name(self) -> str:
        """What the wheel is called."""
        name = self.name.replace("-", "_")
        return f"{name}-{self.version}-{self.tags[0] if self.tags else 'py3-none-any'}.whl"

    def unpacked(self) -> int:
        """Return the size of all files."""
        return sum(len(file.data) if file.path is None else file.path.stat().st_size for file in self.files)

    def digest(self) -> bytes:
        """Return a digest over everything in it."""
        digest = hashlib.sha256(self.file_name.encode())
        for file in self.files:
            digest.update(f"\0{file.name}\0{file.executable:d}\0".encode())
            digest.update(hashlib.sha256(file.content()).digest())
        return digest.digest()

    def build(self) -> bytes:
        """Return the wheel. Raises OSError for a file that cannot be read."""
        output = io.BytesIO()
        record = []
        names = (file.name.partition("/")[0] for file in self.files)
        info = next(name for name in names if name.endswith(".dist-info"))
        with zipfile.ZipFile(output, "w") as wheel:
            for file in self.files:
                data = file.content()
                entry = zipfile.ZipInfo(file.name, _EPOCH)
                entry.external_attr = (0o100755 if file.executable else 0o100644) << 16
                wheel.writestr(entry, data, zipfile.ZIP_DEFLATED, FAST_LEVEL)
                checksum = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                record.append(f"{file.name},sha256={checksum},{len(data)}\n")
            record.append(f"{info}/RECORD,,\n")
            entry = zipfile.ZipInfo(f"{info}/RECORD", _EPOCH)
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, "".join(record), zipfile.ZIP_DEFLATED, FAST_LEVEL)
        return output.getvalue()


def installed_wheel(distribution: Distribution) -> InstalledWheel:
    """Return the wheel of a distribution. Raises `WheelError` if its files are not known."""
    name, version = distribution.metadata["Name"], distribution.version
    listed = distribution.files
    if listed is None:
        raise WheelError(f"{name} {version} was installed without a list of its files; install it with pip")
    # A module that is found through a .pth file, as in an editable installation, is in no list.
    if any(file.suffix == ".pth" and file.name.startswith(("_editable", "__editable")) for file in listed):
        raise WheelError(f"{name} {version} is an editable installation")
    files = sorted(_files(name, version, listed), key=lambda file: file.name)
    return InstalledWheel(name, version, _tags(distribution), tuple(files))


def own_wheel(distribution: Distribution, *, native: bool) -> InstalledWheel:
    """Return Farhand's own wheel, from the packages that this process runs, however they were installed.

    With `native` it has the front in C, if this installation has: only for a machine of the same kind.
    """
    name, version = OWN_NAME, distribution.version
    info = f"{name}-{version}.dist-info"
    files = [file for package in OWN_PACKAGES for file in _package(package)]
    for title in ("METADATA", "entry_points.txt"):
        text = distribution.read_text(title)
        if text is None:
            raise WheelError(f"the installed metadata of Farhand has no {title}; install it again")
        files.append(WheelFile(f"{info}/{title}", None, text.encode()))
    tag = "py3-none-any"
    files.append(WheelFile(f"{info}/WHEEL", None, f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()))
    scripts = f"{name}-{version}.data/scripts"
    files.append(WheelFile(f"{scripts}/farhand-full", None, _FULL_SCRIPT, executable=True))
    front = _front(distribution) if native else None
    if front is not None:
        files.append(WheelFile(f"{scripts}/farhand", front, executable=True))
    return InstalledWheel(name, version, (tag,), tuple(sorted(files, key=lambda file: file.name)))


def _files(name: str, version: str, listed: list[PackagePath]) -> Iterator[WheelFile]:
    for file in listed:
        parts = PurePosixPath(file).parts
        # What is outside of site-packages are programs and manual pages, and nothing of them is needed.
        if ".." in parts or "__pycache__" in parts or PurePosixPath(file).is_absolute():
            continue
        if parts[0].endswith(".dist-info") and parts[-1] in _LEFT_OUT:
            continue
        path = Path(str(file.locate()))
        if not path.is_file():
            raise WheelError(f"{path} of {name} {version} is missing; install it again")
        yield WheelFile(str(file), path)


def _tags(distribution: Distribution) -> tuple[str, ...]:
    text = distribution.read_text("WHEEL") or ""
    return tuple(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Tag:"))


def _package(name: str) -> Iterator[WheelFile]:
    spec = importlib.util.find_spec(name)
    locations = (spec.submodule_search_locations if spec is not None else None) or []
    for location in locations:
        root = Path(location)
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield WheelFile(f"{name}/{path.relative_to(root).as_posix()}", path)
        return
    raise WheelError(f"the package {name} of Farhand is not installed here as files")


def _front(distribution: Distribution) -> Path | None:
    """Return the front in C of this installation; None if it has the one in Python."""
    listed = [Path(str(file.locate())) for file in distribution.files or () if file.name == OWN_NAME]
    for path in (*listed, Path(sys.executable).with_name(OWN_NAME)):
        try:
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    return path.resolve()
        except OSError:
            continue
    return None
