"""Whatever is changed in an audit log, the first break is found and reported exactly."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farhand_server.audit import BrokenChain, verify_files, verify_state
from farhand_server.audit.chain import parse_line
from tests.server.audit.conftest import AuditDirectory

Lines = list[bytes]


def forged(line: bytes) -> bytes:
    """Return the line with another user and a matching hash."""
    body = line.split(b',"hash"')[0].replace(b'"ada"', b'"eve"')
    return body + b',"hash":"' + hashlib.sha256(body + b"}").hexdigest().encode() + b'"}\n'


TAMPERING: dict[str, tuple[Callable[[Lines], Lines], int, str]] = {
    "a changed value": (
        lambda lines: [*lines[:2], lines[2].replace(b"ada", b"eve"), *lines[3:]],
        3,
        "at entry 3: the line was changed: its hash is not that of its text",
    ),
    "a changed value with a hash to match": (
        lambda lines: [*lines[:2], forged(lines[2]), *lines[3:]],
        4,
        "at entry 4: it does not follow the previous line, which was changed or replaced",
    ),
    "the last line changed, with a hash to match": (
        lambda lines: [*lines[:4], forged(lines[4])],
        5,
        "at entry 5: it is not the last line that the service wrote",
    ),
    "a line removed": (
        lambda lines: [*lines[:2], *lines[3:]],
        3,
        "at entry 3: entry 3 expected, found entry 4",
    ),
    "the first line removed": (
        lambda lines: lines[1:],
        1,
        "at entry 1: entry 1 expected, found entry 2",
    ),
    "two lines in another order": (
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        2,
        "at entry 2: entry 2 expected, found entry 3",
    ),
    "a line twice": (
        lambda lines: [*lines[:2], *lines[1:]],
        3,
        "at entry 3: entry 3 expected, found entry 2",
    ),
    "a line of another kind": (
        lambda lines: [*lines[:2], b"hello\n", *lines[2:]],
        3,
        "at entry 3: this is not a line of an audit log",
    ),
    "an empty line": (
        lambda lines: [*lines[:2], b"\n", *lines[2:]],
        3,
        "at entry 3: this is not a line of an audit log",
    ),
    "half a line": (lambda lines: [*lines[:4], lines[4][:20]], 5, "at entry 5: the line is cut short"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_the_first_break_is_reported(directory: AuditDirectory, name: str) -> None:
    tamper, number, sentence = TAMPERING[name]
    directory.write(5)
    lines = directory.file.read_bytes().splitlines(keepends=True)
    directory.file.write_bytes(b"".join(tamper(lines)))
    with pytest.raises(BrokenChain) as broken:
        verify_state(directory.state)
    assert str(broken.value) == f"{directory.file}: line {number}: {sentence}"


def test_missing_last_lines_are_detected(directory: AuditDirectory) -> None:
    directory.write(5)
    directory.file.write_bytes(b"".join(directory.file.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(
        BrokenChain, match=re.escape(f"{directory.file}: ends with entry 3; entries 4 to 5 are missing")
    ):
        verify_state(directory.state)
    assert verify_files([directory.file]).entries == 3  # a single file does not say where it should end


def test_missing_older_files_are_detected(directory: AuditDirectory) -> None:
    directory.write(800, user="root", max_size=64 << 10, keep=4)
    oldest, middle, *_ = sorted(directory.state.glob("audit.0*.jsonl"))
    data = middle.read_bytes()
    middle.unlink()
    with pytest.raises(BrokenChain, match=r"line 1: .* expected, found"):
        verify_state(directory.state)
    middle.write_bytes(data)
    verify_state(directory.state)
    oldest.unlink()
    with pytest.raises(BrokenChain, match=r"line 1: .* expected, found"):
        verify_state(directory.state)


def test_missing_all_files_is_detected(directory: AuditDirectory) -> None:
    directory.write(2)
    directory.file.unlink()
    with pytest.raises(BrokenChain, match="all files are missing; there should be entries up to 2"):
        verify_state(directory.state)


def test_a_missing_head_is_an_error(directory: AuditDirectory) -> None:
    directory.write(2)
    directory.head.unlink()
    with pytest.raises(BrokenChain, match=r"audit\.head is missing"):
        verify_state(directory.state)


def test_a_first_entry_that_does_not_follow_the_deleted_ones_is_detected(directory: AuditDirectory) -> None:
    directory.write(400, user="root", max_size=64 << 10, keep=1)
    lines = directory.file.read_bytes().splitlines(keepends=True)
    first, anchor = directory.head.read_bytes().splitlines(keepends=True)
    place = parse_line(lines[0])[0]
    directory.file.write_bytes(b"".join(lines[1:]))
    moved = first.replace(b"first=%018d" % place.seq, b"first=%018d" % (place.seq + 1))
    directory.head.write_bytes(moved + re.sub(rb"dropped=\d+", b"dropped=%018d" % place.seq, anchor))
    with pytest.raises(BrokenChain, match=r"line 1: .*: it does not follow the previous line"):
        verify_state(directory.state)


def test_a_line_that_is_just_being_written_is_no_break(directory: AuditDirectory) -> None:
    directory.write(3)
    with directory.file.open("ab") as file:
        file.write(b'{"seq":4,"time":"20')
    assert verify_state(directory.state).entries == 3
    with pytest.raises(BrokenChain, match="cut short"):
        verify_files([directory.file])


def test_files_that_are_rotated_while_they_are_read_are_no_break(directory: AuditDirectory) -> None:
    directory.write(400, user="root", max_size=64 << 10, keep=3)
    stop = threading.Event()

    def rotate() -> None:
        while not stop.is_set():
            directory.write(120, user="root", max_size=64 << 10, keep=3)

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        seen = {verify_state(directory.state).first for _ in range(60)}
    finally:
        stop.set()
        thread.join()
    assert len(seen) > 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_every_changed_byte_is_detected(directory: AuditDirectory, data: st.DataObject) -> None:
    if not directory.file.exists():
        directory.write(3)
        directory.state.joinpath("copy").write_bytes(directory.file.read_bytes())
    raw = bytearray(directory.state.joinpath("copy").read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    directory.file.write_bytes(raw)
    with pytest.raises(BrokenChain):
        verify_state(directory.state)
