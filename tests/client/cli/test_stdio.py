"""stdin and stdout are one connection: both directions end by themselves, and no byte is changed or lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from farhand_client.cli import stdio
from farhand_client.cli.stdio import join_stdio
from farhand_client.errors import ForwardError
from farhand_client.ui.printing import LocalError
from farhand_forwards.targets import InetTarget

TARGET = InetTarget("db", 5432)
TIMEOUT = 20.0


class FakeTunnel:
    """Leads to a socket of the test."""

    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        self.ours = ours
        self.was_reset = False
        self.streams_: Any = None

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        yield

    def tunnel(self) -> FakeTunnel:
        return self

    async def open(self, target: InetTarget, origin: str, purpose: str) -> FakeTunnel:
        assert (target, origin, purpose) == (TARGET, "", "-W db:5432")
        self.streams_ = await asyncio.open_connection(sock=self.ours)
        return self

    def streams(self) -> Any:
        return self.streams_

    def reset(self) -> None:
        self.was_reset = True
        self.streams_[1].transport.abort()


class Written:
    """A writer that records, or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.data = b""
        self.error = error

    async def write(self, chunks: list[bytes]) -> None:
        if self.error is not None:
            raise self.error
        self.data += b"".join(chunks)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Written:
    """What is written to stdout."""
    written = Written()
    monkeypatch.setattr(stdio, "descriptor_writer", lambda fd: written)
    monkeypatch.setattr(stdio, "require_stdin", lambda: None)
    return written


def given(monkeypatch: pytest.MonkeyPatch, *chunks: bytes | OSError, ends: bool = True) -> None:
    """Let stdin have these chunks, and then end or last."""

    async def read_chunks(fd: int) -> AsyncIterator[bytes]:
        for chunk in chunks:
            if isinstance(chunk, OSError):
                raise chunk
            yield chunk
        if not ends:
            await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(stdio, "read_chunks", read_chunks)


async def received(peer: socket.socket) -> bytes:
    peer.setblocking(False)
    data = b""
    async with asyncio.timeout(TIMEOUT):
        while chunk := await asyncio.get_running_loop().sock_recv(peer, 65536):
            data += chunk
    return data


async def test_each_direction_ends_by_itself(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, b"a\0b", b"\xff")
    tunnel = FakeTunnel()
    joining = asyncio.ensure_future(join_stdio(cast(Any, tunnel), TARGET))
    assert await received(tunnel.peer) == b"a\0b\xff"
    assert not joining.done()
    tunnel.peer.sendall(b"answer\0")
    tunnel.peer.close()
    async with asyncio.timeout(TIMEOUT):
        await joining
    assert (written.data, tunnel.was_reset) == (b"answer\0", False)


async def test_the_end_of_the_answer_closes_stdout_while_stdin_goes_on(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, b"request", ends=False)
    tunnel = FakeTunnel()
    joining = asyncio.ensure_future(join_stdio(cast(Any, tunnel), TARGET))
    tunnel.peer.sendall(b"answer")
    tunnel.peer.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(TIMEOUT):
        while Path("/proc/self/fd/1").readlink() != Path("/dev/null"):  # noqa: ASYNC110  # a descriptor has no event
            await asyncio.sleep(0.01)
    assert written.data == b"answer"
    assert not joining.done()
    joining.cancel()
    await asyncio.wait([joining])
    tunnel.peer.close()


@pytest.mark.parametrize(("error", "raised"), [(BrokenPipeError(), BrokenPipeError), (OSError(28, "full"), LocalError)])
async def test_a_stdout_that_takes_no_more_resets_the_connection(
    written: Written, monkeypatch: pytest.MonkeyPatch, error: OSError, raised: type[Exception]
) -> None:
    written.error = error
    given(monkeypatch, ends=False)
    tunnel = FakeTunnel()
    tunnel.peer.sendall(b"answer")
    with pytest.raises(raised):
        async with asyncio.timeout(TIMEOUT):
            await join_stdio(cast(Any, tunnel), TARGET)
    assert tunnel.was_reset
    tunnel.peer.close()


async def test_a_stdin_that_cannot_be_read_is_named(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, OSError(5, "Input/output error"))
    tunnel = FakeTunnel()
    with pytest.raises(LocalError, match="cannot read stdin: Input/output error"):
        async with asyncio.timeout(TIMEOUT):
            await join_stdio(cast(Any, tunnel), TARGET)
    assert tunnel.was_reset
    tunnel.peer.close()


async def test_a_reset_is_no_end_of_the_data(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, ends=False)
    tunnel = FakeTunnel()
    joining = asyncio.ensure_future(join_stdio(cast(Any, tunnel), TARGET))
    async with asyncio.timeout(TIMEOUT):
        while tunnel.streams_ is None:  # noqa: ASYNC110  # it is opened within a few turns
            await asyncio.sleep(0)
        tunnel.streams_[0].set_exception(ConnectionResetError("reset by the other end"))
        with pytest.raises(ForwardError, match="the connection to db:5432 has ended early: reset by the other end"):
            await joining
    tunnel.peer.close()
