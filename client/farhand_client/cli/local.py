"""`farhand local`: runs one command, or the REPL, on a private service, which is stopped and removed afterwards.

Nothing outlives this process, however it ends: the kernel stops the service when its parent dies, the service stops its
runs, and a shell that waits for the end of both removes their directory.

The service takes longer to start than a client takes to load, so it is launched first, and this module imports little.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farhand_client.connection.address import MAX_SOCKET_PATH
from farhand_client.errors import FarhandError
from farhand_client.ui.interrupts import LEAVE_TIMEOUT, RunSignalHandler
from farhand_client.ui.printing import print_message
from farhand_client.ui.text import truncate
from farhand_protocol.sentences import printable

from .hints import local_advice
from .loop import run_loop
from .options import command_parser

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.pending import Pending

START_TIMEOUT: Final = 30.0
"""Seconds until the service must be ready. It takes well under one, but machines can be busy."""

STOP_TIMEOUT: Final = 15.0
"""Seconds until the service is killed: several times what it needs, since it waits for no run."""

KILL_AFTER: Final = 2
"""Seconds from TERM to KILL for runs that remain when the service stops. The user waits for this."""

MAX_COMMAND_COLUMNS: Final = 60
"""Columns of a command in a message."""

MAX_NAMED: Final = 5
"""Runs that are named when they are stopped; a line for each is still read at a glance."""

CONFIGURATION: Final = f"drain.grace = 0\nruns.kill_after = {KILL_AFTER}\n"
"""The service's configuration: when it is told to stop, nobody is left who waits for a run."""

CLEANER: Final = 'cd / && read -r _ || rm -rf -- "$1"'
"""Waits for the end of its stdin, whose other end this process and the service hold, and removes the directory; this
process writes a line if it has removed it itself. A script for sh(1), which no signal from the terminal reaches."""

_SOCKET: Final = "farhandd.sock"

_HOST: Final = "local"
"""The REPL's name for the private service."""

_UNREAD: Final = "stdin was not passed on: commands of farhand local have none; farhand run -i passes it"

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def local_command(arguments: Sequence[str]) -> int:
    """Run `farhand local` and return the exit code."""
    parser = command_parser(
        "local",
        "[--] [ARG…]",
        "Start a private service on a Unix socket, run one command on it (without a command: the REPL), exit with its "
        "code and leave nothing behind.",
    )
    parser.usage = "farhand local [--] [ARG…]"
    if arguments and arguments[0] in ("-h", "--help"):
        parser.parse_args(["--help"])
    words = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    if words and arguments[0].startswith("-") and arguments[0] != "--":
        parser.error(f"unknown option {arguments[0]}; put -- before a command that begins with -")
    with _temporary_directory() as (directory, lease):
        if len(os.fsencode(directory / _SOCKET)) > MAX_SOCKET_PATH:
            raise FarhandError(f"the path {directory} is too long for a socket (unix(7)); set TMPDIR to a shorter one")
        return run_loop(_local(directory, lease, words))


@contextlib.contextmanager
def _temporary_directory() -> Iterator[tuple[Path, int]]:
    """Yield a directory and a descriptor; the directory is removed after the block, or when nothing holds the
    descriptor any more because this process and those that inherited it were killed."""
    directory = Path(tempfile.mkdtemp(prefix="farhand-"))
    try:
        cleaner = subprocess.Popen(
            ["/bin/sh", "-c", CLEANER, "sh", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert cleaner.stdin is not None
        try:
            yield directory, cleaner.stdin.fileno()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(BrokenPipeError):
                cleaner.communicate(b"removed\n")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class PrivateService:
    """`farhandd serve` on `socket`, with all its files in `directory` and without the user's configuration.

    `lease` is a descriptor that the service holds for as long as it uses `directory`.
    """

    def __init__(self, directory: Path, socket: Path, lease: int) -> None:
        self._directory = directory
        self._socket = socket
        self._lease = lease
        self._log = directory / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def launch(self) -> None:
        """Start the service's process."""
        directories = {f"XDG_{name}": str(self._directory) for name in ("CONFIG_HOME", "STATE_HOME", "RUNTIME_DIR")}
        configuration = self._directory / "farhandd.toml"
        configuration.write_text(CONFIGURATION)
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "farhand_server", "serve"),
                *("--socket", self._socket, "--state-dir", self._directory / "state", "--config", configuration),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **directories},
                start_new_session=True,  # Ctrl-C is for the command
                preexec_fn=partial(_terminate_with, os.getpid()) if sys.platform == "linux" else None,
                pass_fds=[self._lease],
            )

    async def ready(self) -> None:
        """Wait until the service is ready. Raises FarhandError with its log if it does not start."""
        assert self._process is not None
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


def _terminate_with(parent: int) -> None:
    # If this process is killed, nothing else stops the service.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has died already
        os.kill(os.getpid(), signal.SIGTERM)


async def _local(directory: Path, lease: int, words: list[str]) -> int:
    service = PrivateService(directory, directory / _SOCKET, lease)
    try:
        with RunSignalHandler() as signals:
            try:
                await service.launch()
                await asyncio.to_thread(_load, bool(words))  # in a thread, so that Ctrl-C is handled meanwhile
                await service.ready()
            except asyncio.CancelledError:
                if signals.ended_by is None:
                    raise
                return 128 + signals.ended_by

        from farhand_client.connector import connect

        def open_client() -> Pending[Client]:
            # If this service is gone, so are its runs: there is nothing to reconnect to.
            return connect(f"unix:{directory / _SOCKET}", reconnect=None)

        if not words:
            try:
                return await _repl(open_client)
            finally:
                await _report_stopped(open_client)
        from farhand_client.options import RunOptions

        from .execute import RemoteCommand, execute

        argv = [os.fsencode(word) for word in words]
        command = RemoteCommand(
            argv, RunOptions(), advice=partial(local_advice, words), unread_stdin=_UNREAD, leave_option=None
        )
        return await execute(open_client, command)
    finally:
        await service.stop()


def _load(command: bool) -> None:
    """Import what is needed once the service is ready."""
    for name in ("farhand_client.client", "farhand_client.connector"):
        importlib.import_module(name)
    if command:
        importlib.import_module("farhand_client.cli.execute")
        return
    from farhand_client.repl.main import is_attended

    importlib.import_module(f"farhand_client.repl.{'attended' if is_attended() else 'script'}")


async def _repl(open_client: Callable[[], Pending[Client]]) -> int:
    from farhand_client.terminal.escapes import DEFAULT_ESCAPE

    from .options import add_connection_options, add_reconnect
    from .repl import host_opener, run_repl

    parser = argparse.ArgumentParser()
    add_reconnect(parser, attended=True)
    add_connection_options(parser)
    other_hosts = host_opener(parser.parse_args([]))
    return await run_repl(
        _HOST,
        lambda name, ask_user: (lambda watch: open_client()) if name == _HOST else other_hosts(name, ask_user),
        DEFAULT_ESCAPE,
        private=True,
    )


async def _report_stopped(open_client: Callable[[], Pending[Client]]) -> None:
    """Tell the user which runs end with the service, no matter who started them."""
    try:
        async with asyncio.timeout(LEAVE_TIMEOUT), open_client() as client:
            commands = [run.command for run in await client.runs() if not run.internal]
    except (FarhandError, TimeoutError):
        return  # it stops them all the same
    if commands:
        named = [truncate(printable(command), MAX_COMMAND_COLUMNS) for command in commands[:MAX_NAMED]]
        more = [f"and {len(commands) - MAX_NAMED} more"] if len(commands) > MAX_NAMED else []
        print_message("stopping what still runs, since this service was only for this REPL: " + ", ".join(named + more))
