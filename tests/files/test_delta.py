"""Deltas: what two versions of a file have in common is found wherever it is, and the rest is small."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files import delta, wire
from farhand_files.delta import DescriptorSource, Difference, FileChunk, Matcher, average_chunk, chunks_of, differences

MiB = 1 << 20


class Bytes:
    """A source that returns at most 100,000 bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def readinto(self, buffer: memoryview, /) -> int:
        got = min(len(buffer), len(self._left), 100_000)
        buffer[:got] = self._left[:got]
        self._left = self._left[got:]
        return got


def digests(content: bytes, announced: int) -> bytes:
    """Return what a receiver that has `content` says in its `Want`."""
    chunks = chunks_of(Bytes(content), len(content), announced)
    return wire.pack_chunks([(chunk.length, chunk.digest) for chunk in chunks])


def found(old: bytes, new: bytes) -> Iterator[tuple[Difference, bytes]]:
    """Yield the differences, each with its data."""
    have = digests(old, len(new))
    for each in differences(chunks_of(Bytes(new), len(new), len(new)), have):
        yield each, bytes(each.data or b"")


def applied(old: bytes, parts: list[tuple[Difference, bytes]]) -> bytes:
    """Return what the receiver makes of its older file."""
    made = bytearray()
    for part, data in parts:
        assert part.offset == len(made)
        made += data if part.source < 0 else old[part.source : part.source + part.length]
        assert len(made) == part.offset + part.length
    return bytes(made)


def random_bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def test_pyfastcdc_is_installed_with_the_tests() -> None:
    assert delta.available()


@pytest.mark.parametrize("trick", ["None", "type(sys)('pyfastcdc')"])
def test_without_a_compiled_pyfastcdc_there_is_no_delta(trick: str) -> None:
    program = f"""if True:
        import sys
        sys.modules["pyfastcdc"] = module = {trick}
        if module:
            module.FastCDC = type("FastCDC", (), {{"__module__": "pyfastcdc.py.fastcdc"}})
        from farhand_files import delta
        sys.exit(delta.available())
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_pyfastcdc_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, farhand_files.delta; sys.exit('pyfastcdc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_insertion_costs_itself_and_two_chunks() -> None:
    old = random_bytes(16 * MiB)
    new = old[: 7 * MiB + 1] + random_bytes(MiB, 1) + old[7 * MiB + 1 :]
    parts = list(found(old, new))
    assert applied(old, parts) == new
    sent = sum(len(data) for _, data in parts)
    assert MiB <= sent <= MiB + 3 * 4 * delta.MIN_AVERAGE
    assert sum(1 for part, _ in parts if part.source >= 0) == 2  # before and behind, each in one part
    assert len(digests(old, len(new))) < len(old) // 1000


@pytest.mark.long
def test_a_mebibyte_inserted_into_a_gibibyte_costs_less_than_four(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with old.open("wb") as one, new.open("wb") as other:
        for number in range(16):
            block = random_bytes(64 * MiB, number)
            one.write(block)
            half = 32 * MiB + 5 if number == 8 else 0
            other.write(block[:half] + (random_bytes(MiB, 99) if half else b"") + block[half:])
    size = new.stat().st_size
    with old.open("rb") as one, new.open("rb") as other:
        chunks = chunks_of(DescriptorSource(one.fileno()), old.stat().st_size, size)
        have = wire.pack_chunks([(chunk.length, chunk.digest) for chunk in chunks])
        cost = len(have)
        for part in differences(chunks_of(DescriptorSource(other.fileno()), size, size), have):
            cost += 29 if part.data is None else part.length + 17
    assert MiB < cost < 2 * MiB, cost


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 64 * 1024, MiB - 1, MiB, MiB + 1])
def test_a_file_is_cut_wholly_and_nothing_is_sent_of_an_equal_one(size: int) -> None:
    content = random_bytes(size)
    parts = list(found(content, content))
    assert applied(content, parts) == content
    assert not any(data for _, data in parts)


def test_a_file_that_has_nothing_in_common_is_sent_wholly() -> None:
    old, new = random_bytes(3 * MiB), random_bytes(2 * MiB, 1)
    parts = list(found(old, new))
    assert applied(old, parts) == new
    assert all(data for _, data in parts)


def test_of_equal_chunks_the_one_that_follows_is_found() -> None:
    zeros = bytes(8 * MiB)
    assert [part[:2] for part, _ in found(zeros, zeros)] == [(0, 8 * MiB)]


def test_what_the_other_side_has_is_reported_64_chunks_at_a_time() -> None:
    chunk = FileChunk(wire.CHUNK, b"d" * 32, memoryview(b""))
    parts = list(differences([chunk] * 150, wire.pack_chunks([(wire.CHUNK, b"d" * 32)] * 150)))
    assert [part.length for part in parts] == [64 * wire.CHUNK, 64 * wire.CHUNK, 22 * wire.CHUNK]
    assert [part.source for part in parts] == [part.offset for part in parts]


def test_a_source_that_ends_early_yields_what_there_was_and_one_that_goes_on_no_more() -> None:
    content = random_bytes(300_000)
    assert sum(chunk.length for chunk in chunks_of(Bytes(content), 500_000, 500_000)) == 300_000
    assert sum(chunk.length for chunk in chunks_of(Bytes(content), 200_000, 200_000)) == 200_000


def test_an_error_of_the_source_is_raised() -> None:
    class Broken:
        def readinto(self, buffer: memoryview, /) -> int:
            raise OSError(5, "no")

    with pytest.raises(OSError, match="no"):
        list(chunks_of(Broken(), 10, 10))


def test_an_open_file_is_read_from_its_beginning_and_keeps_its_offset(tmp_path: Path) -> None:
    content = random_bytes(MiB)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(77)
        read = b"".join(bytes(chunk.data) for chunk in chunks_of(DescriptorSource(file.fileno()), MiB, MiB))
        assert read == content
        assert file.tell() == 77


@pytest.mark.parametrize(
    ("size", "average"),
    [
        (0, 1 << 16),
        (4 << 30, 1 << 16),
        ((4 << 30) + 1, 1 << 17),
        (8 << 30, 1 << 17),
        (16 << 30, 1 << 18),
        (100 << 30, 1 << 19),
        (1 << 62, 1 << 19),
    ],
)
def test_chunks_of_large_files_are_larger(size: int, average: int) -> None:
    assert average_chunk(size) == average


def test_no_chunk_is_larger_than_a_frame_may_be() -> None:
    chunks = [chunk.length for chunk in chunks_of(Bytes(bytes(5 * MiB)), 5 * MiB, 100 << 30)]
    assert chunks == [wire.CHUNK] * 5


def test_a_matcher_keeps_some_bytes_for_a_chunk() -> None:
    count = 50_000
    have = wire.pack_chunks([(1 << 19, os.urandom(32)) for _ in range(count)])
    tracemalloc.start()
    try:
        matcher = Matcher(have)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 20 * count
    *_, (length, digest) = wire.unpack_chunks(have)
    assert matcher.find(length, digest) == (count - 1) << 19
    assert matcher.find(length, bytes(32)) == -1


def test_a_digest_with_another_length_is_not_found() -> None:
    matcher = Matcher(wire.pack_chunks([(10, b"d" * 32), (10, b"e" * 32)]))
    assert matcher.find(11, b"d" * 32) == -1
    assert matcher.find(10, b"d" * 32) == 0
    assert matcher.find(11, b"e" * 32) == -1
    assert matcher.find(10, b"e" * 32) == 10


@given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcde")))
def test_any_file_is_put_together_from_any_other(old: list[str], new: list[str]) -> None:
    lengths = {"a": 1, "b": 2, "c": 3, "d": 5, "e": 7}

    def cut(file: list[str]) -> list[FileChunk]:
        return [
            FileChunk(lengths[name], name.encode() * 32, memoryview(name.encode() * lengths[name])) for name in file
        ]

    older = b"".join(chunk.data for chunk in cut(old))
    have = wire.pack_chunks([(chunk.length, chunk.digest) for chunk in cut(old)])
    parts = [(part, bytes(part.data or b"")) for part in differences(cut(new), have)]
    assert applied(older, parts) == b"".join(chunk.data for chunk in cut(new))
    assert {data[:1] for _, data in parts if data} == {name.encode() for name in set(new) - set(old)}
