"""The content of one source file: all of it, also what is not sent, and as it was when the file was opened."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from farhand_files import delta, reading, wire
from farhand_files.reading import Changed, Content, Part, read_ahead, read_small
from tests.support.read_files import CHUNK, LONG_AGO, assembled, made, opened, random_bytes


def chunks_of(content: bytes) -> bytes:
    parts = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
    return wire.pack_chunks([(len(part), blake3(part).digest()) for part in parts])


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7])
def test_content_comes_whole_and_in_order(tmp_path: Path, size: int) -> None:
    data = random_bytes(size)
    with opened(made(tmp_path / "f", data)) as content:
        assert assembled(content)[0] == data
        assert (content.size, content.mtime) == (size, LONG_AGO)
        assert content.settle()


def test_sha256_is_computed_beside_blake3_if_requested(tmp_path: Path) -> None:
    data = random_bytes(3 * CHUNK)
    with opened(made(tmp_path / "f", data)) as content:
        for _ in content.parts(sha256=True):
            pass
        assert content.hashes.sha256() == hashlib.sha256(data).digest()
        for _ in content.parts():
            pass
        assert content.hashes.sha256() == b""
        assert content.hashes.blake3() == blake3(data).digest()


def test_holes_and_chunks_of_zeros_are_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(40 * CHUNK)
        file.seek(20 * CHUNK + 4096)
        file.write(b"x" * 4096)
    expected = path.read_bytes()
    with opened(path) as content:
        result, sorts = assembled(content)
        assert result == expected
        assert sorts.count("data") == 1
        assert len(sorts) <= 4
    made(path, bytes(3 * CHUNK) + b"x" + bytes(100))
    with opened(path) as content:
        result, sorts = assembled(content)
        assert (result, sorts) == (path.read_bytes(), ["hole", "hole", "hole", "data"])


def test_a_sparse_file_larger_than_4_gib_takes_neither_memory_nor_reading(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate((4 << 30) + CHUNK)
        file.seek(4 << 30)
        file.write(b"end")
    with opened(path) as content:
        parts = [(part.offset, part.length, part.data is None) for part in content.parts()]
    assert parts[0] == (0, reading.MAX_PART, True)
    assert [offset for offset, _, hole in parts if not hole] == [4 << 30]
    assert sum(length for _, length, _ in parts) == (4 << 30) + CHUNK


@pytest.mark.parametrize("size", [CHUNK // 2, 3 * CHUNK, 5 * CHUNK + 7])
@pytest.mark.parametrize("had", [0, 5, CHUNK, 2 * CHUNK + 3, 3 * CHUNK])
def test_the_verified_beginning_is_not_sent_again(tmp_path: Path, size: int, had: int) -> None:
    data = random_bytes(size)
    have = data[: min(had, size)]
    with opened(made(tmp_path / "f", data)) as content:
        result, sorts = assembled(content, wire.PARTIAL, chunks_of(have), have)
        assert result == data
        if have:
            assert sorts[0] == "copy"
            assert sorts.count("copy") == 1


def test_chunks_that_differ_are_sent_and_the_others_are_not(tmp_path: Path) -> None:
    data = random_bytes(6 * CHUNK)
    had = bytearray(data)
    had[CHUNK] ^= 1
    had[4 * CHUNK] ^= 1
    with opened(made(tmp_path / "f", data)) as content:
        result, sorts = assembled(content, wire.PARTIAL, chunks_of(bytes(had)), bytes(had))
    assert (result, sorts) == (data, ["copy", "data", "copy", "data", "copy"])


def test_an_end_that_is_new_is_sent(tmp_path: Path) -> None:
    data = random_bytes(CHUNK + 100)
    have = data[: CHUNK + 50]
    with opened(made(tmp_path / "f", data)) as content:
        assert assembled(content, wire.PARTIAL, chunks_of(have), have) == (data, ["copy", "data"])
    longer = data + b"more"
    with opened(tmp_path / "f") as content:
        assert assembled(content, wire.PARTIAL, chunks_of(longer), longer) == (data, ["copy", "data"])


@settings(max_examples=20)
@given(st.lists(st.booleans(), max_size=6), st.integers(0, 6))
def test_any_mix_of_equal_and_different_chunks_is_assembled(same: list[bool], size: int) -> None:
    reading_chunk = wire.CHUNK
    path = Path(f"/tmp/farhand-reading-{os.getpid()}-{threading.get_ident()}")
    data = b"".join(bytes([number]) * reading_chunk for number in range(1, size + 1))
    had = b"".join((bytes([number + 1]) if equal else b"\xff") * reading_chunk for number, equal in enumerate(same))
    made(path, data)
    try:
        with opened(path) as content:
            have = chunks_of(had)
            assert assembled(content, wire.PARTIAL, have, had)[0] == data
    finally:
        path.unlink()


def test_what_an_older_file_has_anywhere_is_not_sent(tmp_path: Path) -> None:
    old = random.Random(1).randbytes(12 * CHUNK)
    new = old[: 5 * CHUNK + 17] + random.Random(2).randbytes(CHUNK // 2) + bytes(2 * CHUNK) + old[5 * CHUNK + 17 :]
    chunks = delta.chunks_of(io.BytesIO(old), len(old), len(new))
    have = wire.pack_chunks([(chunk.length, chunk.digest) for chunk in chunks])
    with opened(made(tmp_path / "f", new)) as content:
        result = bytearray()
        sent = 0
        for part in content.parts(wire.BASIS, have, announced=len(new)):
            assert part.offset == len(result)
            result += part.data or (bytes(part.length) if part.source < 0 else old[part.source :][: part.length])
            sent += len(part.data or b"")
        assert result == new
        assert content.hashes.blake3() == blake3(new).digest()
        assert content.settle()
        assert CHUNK // 2 <= sent < 2 * CHUNK


def test_an_older_file_with_nothing_in_common_is_no_help(tmp_path: Path) -> None:
    new = random.Random(2).randbytes(6 * CHUNK + 3)
    have = wire.pack_chunks([(CHUNK, bytes(32))] * 3)
    with opened(made(tmp_path / "f", new)) as content:
        sizes = [len(part.data or b"") for part in content.parts(wire.BASIS, have, announced=len(new))]
    assert sum(sizes) == len(new)
    assert len(sizes) < 20, "what is sent is not collected to large frames"


def test_a_file_that_is_truncated_while_it_is_compared_is_changed(tmp_path: Path) -> None:
    path = made(tmp_path / "f", random_bytes(8 * CHUNK))
    have = wire.pack_chunks([(CHUNK, bytes(32))])
    with opened(path) as content:
        parts = content.parts(wire.BASIS, have, announced=8 * CHUNK)
        os.truncate(path, 10)
        with pytest.raises(Changed):
            list(parts)


def test_a_pipe_is_passed_on_as_it_comes() -> None:
    out, into = os.pipe()
    content = Content(out, pipe=True)
    parts = content.parts()
    received = []
    for sent in (b"first", b"second"):
        os.write(into, sent)
        part = next(parts)
        received.append((part.offset, bytes(part.data or b"")))
    os.close(into)
    assert list(parts) == []
    assert received == [(0, b"first"), (5, b"second")]
    assert (content.size, content.hashes.blake3()) == (11, blake3(b"firstsecond").digest())
    content.close()
    os.close(out)  # it is the caller's


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    out, into = os.pipe()
    os.set_blocking(out, False)
    content = Content(out, pipe=True)
    timer = threading.Timer(0.05, os.write, (into, b"late"))
    timer.start()
    part = next(content.parts())
    assert bytes(part.data or b"") == b"late"
    timer.join()
    os.close(into)
    os.close(out)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="no regular file any more") as raised:
        Content(fd)
    assert raised.value.errno == errno.ESTALE
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def small(path: Path, size: int) -> bytes | None:
    fd = os.open(path, os.O_RDONLY)
    try:
        found = read_small(fd, size)
    finally:
        os.close(fd)
    return None if found is None else found[0]


def test_a_small_file_is_read_at_once_if_it_is_what_was_listed(tmp_path: Path) -> None:
    path = made(tmp_path / "f", b"content")
    assert small(path, 7) == b"content"
    assert small(path, 6) is None
    assert small(path, 8) is None
    path.write_bytes(b"content")
    now = time.time_ns()
    os.utime(path, ns=(now + 10**6, now + 10**6))
    assert small(path, 7) is None, "a file that was changed just now may be changing"


def test_a_small_file_that_changes_while_it_is_read_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "f", b"content")
    real = os.read

    def read(fd: int, size: int) -> bytes:
        result = real(fd, size)
        path.write_bytes(b"changed")
        return result

    monkeypatch.setattr(os, "read", read)
    assert small(path, 7) is None


def test_a_small_file_that_was_set_back_after_a_change_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "f", b"content")
    real = os.read

    def read(fd: int, size: int) -> bytes:
        result = real(fd, size)
        made(path, b"changed")
        return result

    monkeypatch.setattr(os, "read", read)
    assert small(path, 7) is None


def test_read_ahead_keeps_what_is_taken_valid(tmp_path: Path) -> None:
    data = random_bytes(20 * CHUNK)
    with opened(made(tmp_path / "f", data)) as content:
        for part in content.parts():
            before = bytes(part.data or b"")
            time.sleep(0.001)  # whatever is overwritten is overwritten by now
            assert bytes(part.data or b"") == before == data[part.offset : part.offset + part.length]


def test_read_ahead_ends_with_what_it_is_for() -> None:
    closed = threading.Event()

    def parts() -> object:
        try:
            for number in range(1000):
                yield Part(number, 1)
        finally:
            closed.set()

    ahead = read_ahead(parts())  # type: ignore[arg-type]  # a generator is an iterator
    next(ahead)
    ahead.close()
    assert closed.wait(10)
    for thread in threading.enumerate():
        if thread.name == "farhand-read-ahead":
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize("make", [lambda: OSError(errno.EIO, "broken"), lambda: Changed()])
def test_read_ahead_raises_what_reading_raises(make: Callable[[], Exception]) -> None:
    def parts() -> object:
        yield Part(0, 1)
        raise make()

    ahead = read_ahead(parts())  # type: ignore[arg-type]  # a generator is an iterator
    assert next(ahead) == Part(0, 1)
    with pytest.raises((OSError, Changed)):
        next(ahead)


def test_an_error_in_the_middle_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "f", random_bytes(8 * CHUNK))
    with opened(path) as content:
        parts = content.parts()
        next(parts)

        def fail(*_: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "readv", fail)
        with pytest.raises(OSError, match="Input/output error"):
            list(parts)


def test_the_buffers_are_few() -> None:
    assert reading.BUFFERS * CHUNK <= 4 << 20
