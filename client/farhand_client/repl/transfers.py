"""`:put` and `:get`: files between this machine's directory and the one of the remote shell."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from farhand_client.ui.failures import unforeseen
from farhand_client.ui.transfer_printer import TransferPrinter

from .paths import expanded, local_paths, remote_path
from .runner import Interrupted

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.files.transfer import OnEvent, Transfer

    from .hosts import ReplHost
    from .session import ReplSession

STOPPED_TRANSFER: Final = "stopped; to go on, type it again: what has arrived is not sent again"


async def put(session: ReplSession, words: tuple[str, ...]) -> int:
    """Send files to the active hosts, one after the other, and return the exit code."""
    if (parsed := session.parse_transfer("put", words)) is None:
        return 0
    sources, destination = _split("put", parsed.words)
    local = [path for word in sources for path in local_paths(word)]
    codes = []
    for host in session.hosts.active:
        there = remote_path(destination, host.state.directory)

        def start(client: Client, progress: OnEvent, there: bytes = there) -> Transfer:
            return client.put(local, there, progress=progress, check=False, **parsed.keywords)

        codes.append(await _transfer(session, host, start, parsed.shown, there))
    return max(codes)


async def get(session: ReplSession, words: tuple[str, ...]) -> int:
    """Fetch files from the active host, and return the exit code."""
    if session.several:
        raise ValueError("files are fetched from one host; :host NAME switches to it")
    if (parsed := session.parse_transfer("get", words)) is None:
        return 0
    sources, destination = _split("get", parsed.words)
    host = session.hosts.active[0]
    there = [remote_path(word, host.state.directory) for word in sources]
    here = os.fsencode(expanded(destination))

    def start(client: Client, progress: OnEvent) -> Transfer:
        return client.get(there, here, progress=progress, check=False, **parsed.keywords)

    return await _transfer(session, host, start, parsed.shown)


def _split(name: str, words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return SRC… and DEST: of several words the last one."""
    if not words:
        raise ValueError(f":{name} needs SRC; :{name} -h describes it")
    if any(not word for word in words):
        raise ValueError("a path is empty; . is the directory itself")
    return (words[:-1], words[-1]) if len(words) > 1 else (words, ".")


async def _transfer(
    session: ReplSession,
    host: ReplHost,
    start: Callable[[Client, OnEvent], Transfer],
    shown: Mapping[str, Any],
    there: bytes | None = None,
) -> int:
    report = TransferPrinter(host.name, destination=there, **shown)

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
