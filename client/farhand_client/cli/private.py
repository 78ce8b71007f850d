"""A service that this process starts for itself and takes with it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

from farhand_client.errors import FarhandError

START_TIMEOUT: Final = 30.0
"""Seconds until it is ready: it takes well under one, but machines can be busy."""

STOP_TIMEOUT: Final = 15.0
"""Seconds until it is killed: its own grace for runs that still go on is 10."""

PR_SET_PDEATHSIG: Final = 1  # prctl(2)


class PrivateService:
    """`farhandd serve` on `socket`, with everything it keeps in `directory`, and no configuration of the user's."""

    def __init__(self, directory: Path, socket: Path) -> None:
        self._directory = directory
        self._socket = socket
        self._log = directory / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait for its word that it is ready. Raises FarhandError with what it said instead."""
        directories = {f"XDG_{name}": str(self._directory) for name in ("CONFIG_HOME", "STATE_HOME", "RUNTIME_DIR")}
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "farhand_server", "serve"),
                *("--socket", self._socket, "--state-dir", self._directory / "state"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **directories},
                start_new_session=True,  # Ctrl-C is for the command
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                ready = await self._process.stdout.readline()
        except TimeoutError:
            raise FarhandError(f"the private service was not ready within {START_TIMEOUT:g} seconds") from None
        if not ready:
            said = self._log.read_text(errors="replace").strip() or "it said nothing"
            raise FarhandError(f"the private service did not start: {said}")

    async def stop(self) -> None:
        """End it. Safe where it was never started."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _end_with_parent() -> None:
    # Where this process is killed, nobody else would end the service.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
