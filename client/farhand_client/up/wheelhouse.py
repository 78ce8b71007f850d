"""All the wheels that another machine needs: Farhand's own, and the packages it depends on.

They are made of what is installed here, without a network, where that fits the other machine. Only what does not is
fetched from the package index, by pip.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from .fitting import FarPlatform
from .wheel import OWN_NAME, InstalledWheel, WheelError, installed_wheel, own_wheel

USEFUL: Final = ("pyfastcdc",)
"""Packages that the service uses where they are, as the extra `delta`."""

DOWNLOAD_TIMEOUT: Final = 300.0
"""Seconds for pip to fetch what is missing: some megabytes."""

MAX_PIP_WORDS: Final = 600
"""Characters of pip's last complaint that are shown."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """The wheels for one machine. `name` is that of the installation they make: equal for equal wheels."""

    name: str
    wheels: tuple[InstalledWheel, ...]
    missing: tuple[str, ...]
    """`NAME==VERSION` of what is not here in a form that fits there."""

    def built(self) -> Iterator[tuple[str, bytes]]:
        """Yield names and contents of the wheels that are made here. Raises `WheelError`."""
        for wheel in self.wheels:
            try:
                yield wheel.file_name, wheel.build()
            except OSError as error:
                raise WheelError(f"cannot read {error.filename} for {wheel.name}: {error.strerror}") from None

    def unpacked(self) -> int:
        """Return the size of all files that are made here."""
        return sum(wheel.unpacked() for wheel in self.wheels)


def wheelhouse(platform: FarPlatform) -> Wheelhouse:
    """Return what a machine needs. Raises `WheelError` if Farhand is not installed here as a package."""
    try:
        own = distribution(OWN_NAME)
    except PackageNotFoundError:
        raise WheelError("Farhand runs here without being installed as a package; install it with pip") from None
    from farhand_client.version import __version__

    wheels = [own_wheel(own, native=_same_machine(platform))]
    missing = []
    for each in needed_distributions(own):
        try:
            wheel = installed_wheel(each)
        except WheelError:
            missing.append(f"{each.metadata['Name']}=={each.version}")
            continue
        if platform.fits(wheel.tags):
            wheels.append(wheel)
        elif _normal(wheel.name) not in USEFUL:
            missing.append(f"{wheel.name}=={wheel.version}")
    digest = hashlib.sha256(f"{platform.minor}".encode())
    for wheel in wheels:
        digest.update(wheel.digest())
    for name in missing:
        digest.update(name.encode())
    return Wheelhouse(f"{__version__}-{digest.hexdigest()[:12]}", tuple(wheels), tuple(missing))


def needed_distributions(own: Distribution) -> list[Distribution]:
    """Return what Farhand depends on, as it is installed here, with what that depends on in turn.

    A requirement that is not installed is one whose marker does not apply, and so is one of an extra.
    """
    found: dict[str, Distribution] = {}
    waiting = [*_requirements(own), *USEFUL]
    while waiting:
        name = _normal(waiting.pop())
        if name in found or name == OWN_NAME:
            continue
        try:
            each = distribution(name)
        except PackageNotFoundError:
            continue
        found[name] = each
        waiting += _requirements(each)
    return [found[name] for name in sorted(found)]


def downloaded(missing: tuple[str, ...], platform: FarPlatform, say: Callable[[str], None]) -> list[tuple[str, bytes]]:
    """Fetch wheels for a machine from the package index. Raises `WheelError` with what pip says."""
    pip = _pip()
    names = ", ".join(missing)
    there = f"Python 3.{platform.minor} on {platform.machine} with {platform.libc}"
    if pip is None:
        raise WheelError(f"{names}: what is installed here does not fit {there}, and there is no pip here to fetch it")
    say(f"fetching {names} for {there}")
    with tempfile.TemporaryDirectory(prefix="farhand-up-") as directory:
        try:
            done = subprocess.run(
                [*pip, "download", "--quiet", "--no-deps", "--dest", directory, *platform.pip_words(), *missing],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DOWNLOAD_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WheelError(f"pip could not fetch {names} for {there}: {error}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-MAX_PIP_WORDS:]
            own = sys.version_info.minor
            instead = ""
            if _same_machine(platform) and platform.minor != own:
                instead = f"; with a Python 3.{own} there (--python) nothing has to be fetched"
            raise WheelError(
                f"what is installed here does not fit {there}, and pip could not fetch {names} for it{instead}. "
                f"pip said: {said}"
            )
        return [(path.name, path.read_bytes()) for path in sorted(Path(directory).glob("*.whl"))]


def _requirements(each: Distribution) -> list[str]:
    names = []
    for line in each.requires or ():
        requirement, _, marker = line.partition(";")
        found = _NAME.match(requirement.strip())
        if found is not None and not re.search(r"\bextra\b", marker):
            names.append(found[0])
    return names


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _same_machine(platform: FarPlatform) -> bool:
    """Return whether the front in C runs there: it is linked statically, or else tried there and replaced."""
    import platform as own_platform

    return sys.platform == "linux" and own_platform.machine() == platform.machine


def _pip() -> list[str] | None:
    import importlib.util

    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    return None
