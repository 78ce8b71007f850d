"""What a campaign is: a name, two sizes, bounds on its time, and figures with their targets."""

from __future__ import annotations

import asyncio
import random
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

Size = TypeVar("Size", int, float)

NOTE: Final = 300
"""Characters of an explanation in a table; the output has all of it."""

END: Final = 60.0
"""Seconds that a campaign has to clean up after its time is over: a service drains for 10 s and then kills."""


@dataclass(frozen=True)
class Figure:
    """One row of the results.

    `met` is None for a figure without a target. A missed target fails the whole only if `correctness` is set: what is
    slow on this machine may be fast on another, but what is wrong is wrong everywhere.
    """

    what: str
    value: str
    target: str = ""
    met: bool | None = None
    correctness: bool = False
    beside: str = ""
    """The same figure of another program, such as OpenSSH."""

    @property
    def fails(self) -> bool:
        """Whether the command must exit with an error because of this figure."""
        return self.correctness and self.met is False


def none_of(what: str, count: int, of: int, *, note: str = "") -> Figure:
    """Return the figure for something that must never happen: `count` times in `of` cases. No case proves nothing."""
    value = f"{count} of {of:,}" + (f": {note[:NOTE]}" if note and count else "")
    return Figure(what, value, "0", met=count == 0 and of > 0, correctness=True)


def at_most(what: str, value: float, bound: float, unit: str, *, beside: str = "") -> Figure:
    """Return a figure with an upper bound that depends on the machine."""
    return Figure(what, f"{value:,.3g} {unit}", f"≤ {bound:,g} {unit}", met=value <= bound, beside=beside)


def at_least(what: str, value: float, bound: float, unit: str, *, beside: str = "") -> Figure:
    """Return a figure with a lower bound that depends on the machine."""
    return Figure(what, f"{value:,.4g} {unit}", f"≥ {bound:,g} {unit}", met=value >= bound, beside=beside)


@dataclass(frozen=True)
class Setting:
    """What a campaign is given: an empty directory, its form and its seed."""

    directory: Path
    nightly: bool
    seed: int

    @property
    def chance(self) -> random.Random:
        """A new generator of this seed's numbers."""
        return random.Random(self.seed)

    def size(self, short: Size, nightly: Size) -> Size:
        """Return the size for this form."""
        return nightly if self.nightly else short

    def subdirectory(self, name: str) -> Path:
        """Return a new directory. Its path is short enough for sockets."""
        path = self.directory / name
        path.mkdir(mode=0o755)
        return path


@dataclass(frozen=True)
class Campaign:
    """One kind of attempt to make the service fail. `short` and `nightly` are the seconds that its forms may take."""

    name: str
    summary: str
    measure: Callable[[Setting], Awaitable[Sequence[Figure]]]
    short: float
    nightly: float

    def run(self, *, nightly: bool, seed: int) -> list[Figure]:
        """Run it to its end, or to the end of its time, and clean up. Never raises: what goes wrong is a figure."""
        with tempfile.TemporaryDirectory(prefix="fh-", ignore_cleanup_errors=True) as name:
            Path(name).chmod(0o755)  # other accounts run programs below
            setting = Setting(Path(name), nightly, seed)
            try:
                return asyncio.run(self._bounded(setting, self.nightly if nightly else self.short))
            except Exception as error:  # noqa: BLE001  # the other campaigns go on
                traceback.print_exception(error)
                log = "".join(each.read_text(errors="replace")[-2000:] for each in Path(name).rglob("log"))
                print(log)
                text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                return [Figure("comes to its end", f"no: {text}", "yes", met=False, correctness=True)]

    async def _bounded(self, setting: Setting, seconds: float) -> list[Figure]:
        task = asyncio.ensure_future(self.measure(setting))
        done, _ = await asyncio.wait([task], timeout=seconds)
        if not done:
            task.cancel()
            await asyncio.wait([task], timeout=END)
            raise TimeoutError(f"not done after {seconds:g} s")
        return list(task.result())


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
