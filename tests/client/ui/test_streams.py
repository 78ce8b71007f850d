"""Output is written whole, without blocking the event loop."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from farhand_client.errors import ConnectionLost, FarhandError
from farhand_client.output import Gap
from farhand_client.ui import streams
from farhand_client.ui.printing import LocalError
from farhand_client.ui.streams import JsonOutput, StandardWriters, copy_streams


def test_a_gap_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    JsonOutput(0, 0).gap(Gap("stdout", 3, 4))
    assert capsys.readouterr().out == '{"stream": "stdout", "offset": 3, "gap": 4}\n'


class Stream:
    """The output of a run: its chunks, and then perhaps an error."""

    def __init__(self, *chunks: bytes, error: FarhandError | None = None) -> None:
        self.chunks = list(chunks)
        self.error = error
        self.discarded = False

    async def read_ready(self) -> list[bytes]:
        chunks, self.chunks = self.chunks, []
        if not chunks and self.error is not None:
            raise self.error
        return chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.error is not None:
            raise self.error

    def discard(self) -> None:
        self.discarded = True


class Run:
    """As much of a run as is copied."""

    stdin = None

    def __init__(self, stdout: Stream, stderr: Stream | None = None, error: FarhandError | None = None) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.error = error

    async def wait(self) -> str:
        if self.error is not None:
            raise self.error
        return "result"


async def copied(run: Run, json: JsonOutput | None = None) -> Any:
    return await copy_streams(cast(Any, run), json or StandardWriters())


async def test_stdout_and_stderr_are_copied_to_their_descriptors(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert await copied(Run(Stream(b"a", b"\xff"), Stream(b"b"))) == "result"
    assert capfdbinary.readouterr() == (b"a\xff", b"b")


async def test_output_is_printed_as_json_with_offsets(capfd: pytest.CaptureFixture[str]) -> None:
    assert await copied(Run(Stream(b"ab", b"\xff"), Stream(b"c")), JsonOutput(10, 0)) == "result"
    assert sorted(capfd.readouterr().out.splitlines()) == [
        '{"stream": "stderr", "offset": 0, "data": "c"}',
        '{"stream": "stdout", "offset": 10, "data": "ab"}',
        '{"stream": "stdout", "offset": 12, "data": {"base64": "/w=="}}',
    ]


@pytest.mark.parametrize("json", [False, True])
async def test_received_output_is_written_before_an_error_is_raised(
    json: bool, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    error = ConnectionLost("cut")
    run = Run(Stream(b"so far", error=error), error=error)
    with pytest.raises(ConnectionLost):
        await copied(run, JsonOutput(0, 0) if json else None)
    assert b"so far" in capfdbinary.readouterr().out


async def test_an_error_of_stdout_is_raised_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_writes(monkeypatch, {1: BrokenPipeError()})
    with pytest.raises(BrokenPipeError):
        await copied(Run(Stream(b"a"), Stream(b"b")))
    fail_writes(monkeypatch, {1: OSError(errno.ENOSPC, "No space left on device")})
    with pytest.raises(LocalError, match=r"^cannot write to stdout: No space left on device$"):
        await copied(Run(Stream(b"a"), Stream(b"b")))


def test_a_writer_that_cannot_be_made_is_a_local_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EAGAIN, "no thread can be started")

    monkeypatch.setattr(streams, "descriptor_writer", fail)
    with pytest.raises(LocalError, match=r"^cannot write to stdout: no thread can be started$"):
        StandardWriters()


async def test_a_closed_stderr_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_writes(monkeypatch, {2: BrokenPipeError()})
    run = Run(Stream(b"a"), Stream(b"b"))
    assert await copied(run) == "result"
    assert run.stderr is not None
    assert run.stderr.discarded


def fail_writes(monkeypatch: pytest.MonkeyPatch, errors: dict[int, OSError]) -> None:
    """Let writing to these descriptors fail, and writing to others do nothing."""

    class Failing:
        def __init__(self, fd: int) -> None:
            self.fd = fd

        async def write(self, chunks: Sequence[bytes]) -> None:
            if self.fd in errors:
                raise errors[self.fd]

    monkeypatch.setattr(streams, "descriptor_writer", Failing)
