"""`-W`: stdin and stdout of this process as one connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from farhand_client.descriptors import DescriptorWriter, descriptor_writer
from farhand_client.errors import FarhandError, ForwardError
from farhand_client.stdin import read_chunks
from farhand_client.ui.printing import LocalError, reason, require_stdin, require_stdout
from farhand_protocol.limits import KiB

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_forwards.targets import ForwardTarget

STDIO_READ_SIZE: Final = 256 * KiB
"""Bytes read from the connection at once, as from stdin (`STDIN_READ_SIZE`)."""


async def join_stdio(client: Client, target: ForwardTarget) -> None:
    """Connect to `target` from the service's machine; copy stdin to it and it to stdout until both have ended.

    The end of each is passed on by itself. Raises `ForwardError` if there is no connection or it is reset,
    `TunnelLost`, BrokenPipeError if nobody reads stdout, and `LocalError`.
    """
    require_stdin()
    require_stdout("what is received would be lost")
    tunnel = client.tunnel()
    with tunnel.use():
        flow = await tunnel.open(target, "", f"-W {target}")
        reader, writer = flow.streams()
        feeding = asyncio.ensure_future(_feed(writer))
        receiving = asyncio.ensure_future(_receive(reader, target, descriptor_writer(1)))
        try:
            await asyncio.wait([feeding, receiving], return_when=asyncio.FIRST_EXCEPTION)
            for task in (receiving, feeding):
                if task.done():
                    task.result()
        except BaseException:
            flow.reset()
            raise
        finally:
            for task in (feeding, receiving):
                task.cancel()
            await asyncio.wait([feeding, receiving])
        writer.close()


async def _feed(writer: asyncio.StreamWriter) -> None:
    try:
        async for chunk in read_chunks(0):
            try:
                writer.write(chunk)
                await writer.drain()
            except ConnectionError:
                return  # the peer takes no more; whether it has ended or was reset, reading says
    except OSError as error:
        raise LocalError(f"cannot read stdin: {reason(error)}") from None
    with contextlib.suppress(OSError):
        writer.write_eof()


async def _receive(reader: asyncio.StreamReader, target: ForwardTarget, out: DescriptorWriter) -> None:
    while chunk := await _read(reader, target):
        try:
            await out.write([chunk])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise LocalError(f"cannot write to stdout: {reason(error)}") from None
    # Whoever reads our stdout learns the end now, even if our stdin goes on.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


async def _read(reader: asyncio.StreamReader, target: ForwardTarget) -> bytes:
    try:
        return await reader.read(STDIO_READ_SIZE)
    except FarhandError:
        raise
    except OSError as error:
        raise ForwardError("failed", f"the connection to {target} has ended early: {error}") from None
