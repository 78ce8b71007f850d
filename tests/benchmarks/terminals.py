"""The workloads on a terminal: what a user notices, compared with ssh."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from .clients import Clients
from .on_terminal import WARM_UP
from .workload import FARHAND, FARHAND_API, OPENSSH, Goal, Sample, Sizes, Workload

GAP: Final = 0.005
"""Seconds between two typed keys: longer than all work caused by one key, and long enough for the processor to go to
sleep again."""

LINE: Final = b"The quick brown fox jumps over the lazy dog, and 0123456789 more up to column 79.\n"


class Terminals:
    """The workloads for keys and floods."""

    def __init__(self, clients: Clients, sizes: Sizes) -> None:
        self._clients = clients
        self._sizes = sizes
        self._ssh = (*clients.ssh, "-tt", "bench")
        self._run = clients.farhand_run("-t")

    def workloads(self) -> list[Workload]:
        """Return all workloads, in the order of the table."""
        return [self._keys(0), self._keys(GAP), self._shown()]

    def _keys(self, gap: float) -> Workload:
        count = self._sizes.keys_with_gaps if gap else self._sizes.keys
        # As in an editor: each key wakes the program up, and the program writes it.
        echo = f"stty raw -echo; printf ready; exec dd bs=1 count={WARM_UP + count + 1} status=none"

        async def typed(*command: str) -> Sample:
            return Sample(await self._clients.on_terminal("keys", str(count), str(gap), *command))

        return Workload(
            f"key echo, {f'{1000 * gap:g} ms between keys' if gap else 'back to back'}",
            "µs",
            False,
            {
                FARHAND: lambda: self._clients.metered(lambda: typed(*self._run, "sh", "-c", echo)),
                OPENSSH: lambda: typed(*self._ssh, echo),
                FARHAND_API: lambda: self._clients.api(
                    lambda found: found, "farhand", "keys", str(count), str(gap), echo
                ),
            },
            [Goal(FARHAND, 1.0 if gap else 1 / 2.2, OPENSSH)],
            WARM_UP + count,
            "key",
        )

    def _shown(self) -> Workload:
        size = self._sizes.shown
        file = self._clients.servers.bench.directory / "shown"

        async def shown(*command: str) -> Sample:
            _write(file, size)
            return Sample(size / await self._clients.on_terminal("drain", str(size), *command, "cat", str(file)) / 1e6)

        return Workload(
            f"`cat` of {size / 1e6:g} MB to a terminal, from its first byte",
            "MB/s",
            True,
            {
                FARHAND: lambda: self._clients.metered(lambda: shown(*self._run)),
                OPENSSH: lambda: shown(*self._ssh),
            },
            [Goal(FARHAND, 1.0, OPENSSH)],
            size / (1 << 30),
            "GiB",
        )


def _write(file: Path, size: int) -> None:
    if not file.exists():
        lines, rest = divmod(size, len(LINE))
        file.write_bytes(LINE * lines + LINE[:rest])
