"""Which wheels fit another machine, by their tags (PEP 425, PEP 600, PEP 656)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

_LEGACY: Final = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
"""The versions of glibc that the names before PEP 600 stand for."""

_PLATFORM: Final = re.compile(
    r"(?P<kind>manylinux|musllinux)_(?P<major>\d+)_(?P<minor>\d+)_(?P<machine>\w+)"
    r"|(?P<legacy>manylinux1|manylinux2010|manylinux2014)_(?P<old_machine>\w+)"
)

MAX_LISTED_MINOR: Final = 40
"""The newest glibc 2.x whose tag is named to pip; versions come twice a year."""


@dataclass(frozen=True, slots=True)
class FarPlatform:
    """What decides whether a wheel fits a machine."""

    machine: str
    libc: str
    libc_version: tuple[int, int]
    minor: int
    """Of Python 3."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """Return the platform in the far side's answer to `look`."""
        name, version = facts["libc"]
        numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
        major, minor = (*numbers, 0, 0)[:2]
        return cls(str(facts["machine"]), str(name), (major, minor), int(facts["python"][1]))

    def fits(self, tags: Iterable[str]) -> bool:
        """Return whether a wheel with one of these tags can be installed there."""
        return any(self._fits_tag(tag) for tag in tags)

    def pip_words(self) -> list[str]:
        """Return the options with which pip downloads for that machine."""
        words = ["--only-binary=:all:", "--implementation=cp", f"--python-version=3.{self.minor}"]
        words += [f"--abi=cp3{self.minor}", "--abi=abi3", "--abi=none"]
        if self.libc == "glibc":
            top = min(self.libc_version[1], MAX_LISTED_MINOR)
            names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(top, 4, -1)]
            names += [f"{name}_{self.machine}" for name, version in _LEGACY.items() if version <= self.libc_version]
        else:
            names = [f"musllinux_1_{minor}_{self.machine}" for minor in range(self._musl_minor, -1, -1)]
        return words + [f"--platform={name}" for name in names]

    @property
    def _musl_minor(self) -> int:
        # Each Alpine since 3.13 has musl 1.2; which one, only its loader says.
        return self.libc_version[1] or 2

    def _fits_tag(self, tag: str) -> bool:
        python, _, rest = tag.partition("-")
        abi, _, platform = rest.partition("-")
        return self._fits_python(python, abi) and any(map(self._fits_platform, platform.split(".")))

    def _fits_python(self, python: str, abi: str) -> bool:
        for name in python.split("."):
            if name in ("py3", "py2.py3") or (name.startswith("py3") and int(name[3:] or 0) <= self.minor):
                return "none" in abi.split(".")
            found = re.fullmatch(r"cp3(\d+)", name)
            if found is None:
                continue
            exact = int(found[1]) == self.minor
            if (exact and abi in (f"cp3{self.minor}", "none")) or (abi == "abi3" and int(found[1]) <= self.minor):
                return True
        return False

    def _fits_platform(self, platform: str) -> bool:
        if platform == "any":
            return True
        found = _PLATFORM.fullmatch(platform)
        if found is None:
            return False  # also linux_x86_64, which only says where it was built
        if found["legacy"]:
            kind, needed, machine = "manylinux", _LEGACY[found["legacy"]], found["old_machine"]
        else:
            kind, needed, machine = found["kind"], (int(found["major"]), int(found["minor"])), found["machine"]
        if machine != self.machine:
            return False
        if kind == "manylinux":
            return self.libc == "glibc" and needed <= self.libc_version
        return self.libc == "musl" and needed <= (1, self._musl_minor)
