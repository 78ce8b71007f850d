"""An asyncssh server as its users write one: commands run by asyncio's subprocess API, output copied in 64 KiB chunks.

Run as `python -m tests.benchmarks.asyncssh_server HOST_KEY AUTHORIZED_KEYS`; prints `ready PORT` on stderr.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys

import asyncssh

CHUNK_SIZE = 64 << 10


async def _copy(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    while data := await source.read(CHUNK_SIZE):
        sink.write(data)
        await sink.drain()


async def _serve(session: asyncssh.SSHServerProcess[bytes]) -> None:
    child = await asyncio.create_subprocess_exec(
        *shlex.split(session.command or "true"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=CHUNK_SIZE,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    await asyncio.gather(_copy(child.stdout, session.stdout), _copy(child.stderr, session.stderr))
    session.exit(await child.wait())


async def _main(host_key: str, authorized_keys: str) -> None:
    loop = asyncio.get_running_loop()
    if sys.version_info < (3, 12):
        # As Farhand does: the default is a thread for each child.
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(loop)
        asyncio.set_child_watcher(watcher)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        process_factory=_serve,
        encoding=None,
    )
    print(f"ready {server.get_port()}", file=sys.stderr, flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
