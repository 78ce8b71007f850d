"""`:put` and `:get`: files between this machine's directory and the one of the remote shell."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from farhand_client.ui.failures import unforeseen
from farhand_client.ui.transfer_printer import TransferPrinter

from .completion import MAX_NAMES, CompletionQuery
from .lines import encode
from .runner import Interrupted

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.files.transfer import OnEvent, Transfer

    from .hosts import ReplHost
    from .session import ReplSession

STOPPED_TRANSFER: Final = "stopped; to go on, type it again: what has arrived is not sent again"


async def put(session: ReplSession, words: tuple[str, ...]) -> int:
    """Send files to the active hosts, one after the other, and return the exit code."""
    sources, destination = _split(words)
    local = [path for word in sources for path in local_paths(word)]
    codes = []
    for host in session.hosts.active:
        there = remote_path(destination, host.state.directory)

        def start(client: Client, progress: OnEvent, there: bytes = there) -> Transfer:
            return client.put(local, there, progress=progress, check=False)

        codes.append(await _transfer(session, host, start))
    return max(codes)


async def get(session: ReplSession, words: tuple[str, ...]) -> int:
    """Fetch files from the active host, and return the exit code."""
    if session.several:
        raise ValueError("files are fetched from one host; :host NAME switches to it")
    sources, destination = _split(words)
    host = session.hosts.active[0]
    there = [remote_path(word, host.state.directory) for word in sources]
    here = os.fsencode(_expanded(destination))

    def start(client: Client, progress: OnEvent) -> Transfer:
        return client.get(there, here, progress=progress, check=False)

    return await _transfer(session, host, start)


def _split(words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return SRC… and DEST: of several words the last one."""
    if any(not word for word in words):
        raise ValueError("a path is empty; . is the directory itself")
    return (words[:-1], words[-1]) if len(words) > 1 else (words, ".")


def remote_path(word: str, directory: bytes | None) -> bytes:
    """Return the path that `word` names in `directory`; None is the home directory, where `~/` also begins."""
    if word == "~" or word.startswith("~/"):
        return encode(word[2:].lstrip("/")) or b"."
    return encode(word) if directory is None else os.path.join(directory, encode(word))


def local_paths(word: str) -> list[bytes]:
    """Return the paths on this machine that `word` stands for: those that match if it is a pattern, or else itself."""
    path = os.fsencode(_expanded(word))
    if os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    return sorted(glob.glob(path)) or [path]


def local_names(query: CompletionQuery) -> bytes:
    """Return what the remote script would print for `query`, but for this machine; waits for the disk."""
    begin = os.fsencode(query.begin)
    directory = os.fsencode(_expanded(query.directory or "."))
    entries = []
    try:
        with os.scandir(directory) as found:
            for entry in found:
                if entry.name.startswith(begin) and (begin or not entry.name.startswith(b".")):
                    entries.append((b"/" if _is_directory(entry) else b" ") + entry.name + b"\0")
                    if len(entries) >= MAX_NAMES:
                        break
    except OSError:
        return b""
    return b"".join(entries)


def _is_directory(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _expanded(word: str) -> str:
    return os.path.expanduser(word) if word == "~" or word.startswith("~/") else word


async def _transfer(session: ReplSession, host: ReplHost, start: Callable[[Client, OnEvent], Transfer]) -> int:
    report = TransferPrinter(host.name)

    async def transferred() -> int:
        client = await host.connection.connect()
        try:
            with report.shown(host.connection.reporting_outages):
                done = await start(client, report.note)
        except OSError as error:
            raise unforeseen(error) from None
        return report.finish(done)

    try:
        return await session.request(transferred())
    except Interrupted:
        session.print_message(STOPPED_TRANSFER)
        raise
