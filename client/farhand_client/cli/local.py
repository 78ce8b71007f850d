"""`farhand local`: runs one command, or the REPL, on a private service, which is stopped and removed afterwards."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from farhand_client.client import Client
from farhand_client.connection.address import MAX_SOCKET_PATH
from farhand_client.connector import connect
from farhand_client.errors import FarhandError
from farhand_client.options import RunOptions
from farhand_client.pending import Pending
from farhand_client.ui.interrupts import RunSignalHandler

from .execute import RemoteCommand, execute

START_TIMEOUT: Final = 30.0
"""Seconds until the service must be ready. It takes well under one, but machines can be busy."""

STOP_TIMEOUT: Final = 15.0
"""Seconds until the service is killed. Its own grace period for remaining runs is 10."""

_SOCKET: Final = "farhandd.sock"

_HOST: Final = "local"
"""The REPL's name for the private service."""

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def local_command(arguments: Sequence[str]) -> int:
    """Run `farhand local` and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="farhand local",
        usage="farhand local [--] [ARG…]",
        description="Start a private service on a Unix socket, run one command on it (without a command: the REPL), "
        "exit with its code and leave nothing behind.",
        allow_abbrev=False,
    )
    if arguments and arguments[0] in ("-h", "--help"):
        parser.parse_args(["--help"])
    words = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    if words and arguments[0].startswith("-") and arguments[0] != "--":
        parser.error(f"unknown option {arguments[0]}; put -- before a command that begins with -")
    directory = Path(tempfile.mkdtemp(prefix="farhand-"))
    try:
        if len(os.fsencode(directory / _SOCKET)) > MAX_SOCKET_PATH:
            raise FarhandError(f"the path {directory} is too long for a socket (unix(7)); set TMPDIR to a shorter one")
        return asyncio.run(_local(directory, words))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class PrivateService:
    """`farhandd serve` on `socket`, with all its files in `directory` and without the user's configuration."""

    def __init__(self, directory: Path, socket: Path) -> None:
        self._directory = directory
        self._socket = socket
        self._log = directory / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the service and wait until it is ready. Raises FarhandError with its log if it does not start."""
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
                preexec_fn=_terminate_with_parent if sys.platform == "linux" else None,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                ready = await self._process.stdout.readline()
        except TimeoutError:
            raise FarhandError(f"the private service was not ready within {START_TIMEOUT:g} seconds") from None
        if not ready:
            log_text = self._log.read_text(errors="replace").strip() or "its log is empty"
            raise FarhandError(f"the private service did not start: {log_text}")

    async def stop(self) -> None:
        """Stop the service, if it was started."""
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


def _terminate_with_parent() -> None:
    # If this process is killed, nothing else stops the service.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _local(directory: Path, words: list[str]) -> int:
    service = PrivateService(directory, directory / _SOCKET)
    try:
        with RunSignalHandler() as signals:
            try:
                await service.start()
            except asyncio.CancelledError:
                if signals.ended_by is None:
                    raise
                return 128 + signals.ended_by

        def open_client() -> Pending[Client]:
            # If this service is gone, so are its runs: there is nothing to reconnect to.
            return connect(f"unix:{directory / _SOCKET}", reconnect=None)

        if not words:
            return await _repl(open_client)
        return await execute(open_client, RemoteCommand([os.fsencode(word) for word in words], RunOptions()))
    finally:
        await service.stop()


async def _repl(open_client: Callable[[], Pending[Client]]) -> int:
    from .options import add_connection_options
    from .repl import host_opener, run_repl

    parser = argparse.ArgumentParser()
    add_connection_options(parser)
    other_hosts = host_opener(parser.parse_args([]))
    return await run_repl(
        _HOST, lambda name, ask_user: (lambda watch: open_client()) if name == _HOST else other_hosts(name, ask_user)
    )
