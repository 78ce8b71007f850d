"""One attempt to have another program take this one's place."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Final

from farhand_server.runs.registry import RecordUnavailable

from .program import UpgradeRefused, block_signals, execute, try_program, unblock_signals
from .snapshot import SnapshotWriter

if TYPE_CHECKING:
    from farhand_server.service import Service

SETTLE_TIMEOUT: Final = 5.0
"""Seconds that runs which are just being started or put on record may take; they take a few milliseconds, where the
disk is no slower than that."""


async def replace(service: Service) -> None:
    """Try the program that is installed now on the state of this one, and execute it in this process.

    Does not return. Raises `UpgradeRefused` where the old program stays; cancelled, it stays as well.
    """
    blobs = SnapshotWriter(counting=True)
    try:
        trial = blobs.write(service.state(blobs, lock=None, left=time.monotonic()))
    except OSError as error:
        raise UpgradeRefused(f"the state cannot be written: {error.strerror}") from None
    try:
        version = await try_program(trial)
    finally:
        os.close(trial)
    service.log.info("upgrading", version=version, runs=len(service.registry))
    lock: int | None = None
    mask: set[signal.Signals] | None = None
    left = time.monotonic()
    try:
        async with asyncio.timeout(SETTLE_TIMEOUT):
            await service.let_go()
            mask = await block_signals()
            while not service.settled:  # a program has ended meanwhile: that is told by a signal
                unblock_signals(mask)
                mask = None
                await service.let_go()
                mask = await block_signals()
        if service.stopping:
            raise UpgradeRefused("the service was told to stop")
        # From here on nothing is awaited: what is taken apart is as the next program finds it.
        lock = service.ledger.hand_over()
        _become(service, lock, left)
    except TimeoutError:
        raise UpgradeRefused(
            f"runs that were being started have not got under way within {SETTLE_TIMEOUT:g} s"
        ) from None
    except RecordUnavailable as error:
        raise UpgradeRefused(str(error)) from None
    except OSError as error:
        raise UpgradeRefused(f"the new program cannot be executed: {error.strerror}") from None
    finally:
        if mask is not None:
            unblock_signals(mask)
        await service.take_back(lock)


def _become(service: Service, lock: int, left: float) -> None:
    blobs = SnapshotWriter()
    state = service.state(blobs, lock=lock, left=left)
    fd = blobs.write(state)
    try:
        service.silence(True)
        try:
            execute(fd, state.descriptors(), {**os.environ, **service.notifier.environment()})
        finally:
            service.silence(False)
    finally:
        os.close(fd)
