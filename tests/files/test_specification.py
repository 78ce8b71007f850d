"""The section "Files" of `protocol/README.md` and the code agree, in both directions."""

from __future__ import annotations

import json
import re
from typing import get_type_hints

import pytest
from blake3 import blake3

from farhand_files import names, planning, wire
from farhand_files.delta import average_chunk, chunks_of
from farhand_files.events import Totals
from farhand_files.options import Ready, TransferOptions
from tests.protocol.test_specification import fenced, section, table

FILES = section("11. Files")
KINDS = {row[0]: row[1:] for row in table(FILES, "kind")}
FORMATS = {"I": "u32", "B": "u8", "Q": "u64", "q": "i64"}
EXAMPLES = [
    (way, name, bytes.fromhex(digits))
    for block in fenced(FILES, "transfer")
    for way, name, digits in re.findall(r"^([<>]) (\w+)\n((?:  [0-9a-f ]+\n)+)", block, re.M)
]


def decoded(raw: bytes) -> wire.Frame:
    size, kind = wire.check_header(raw)
    assert size == len(raw) - wire.TRANSFER_HEADER.size
    return wire.decode(kind, memoryview(raw)[wire.TRANSFER_HEADER.size :])


def test_the_kinds_and_their_fields() -> None:
    assert {name: int(row[0]) for name, row in KINDS.items()} == {kind.name: int(kind) for kind in wire.TransferFrame}
    for name, (number, _, cell) in KINDS.items():
        made, fixed, variable = wire.TRANSFER_LAYOUT[int(number)]
        fields = re.findall(r"(\w+)`? (\w+)", cell)
        assert [field for field, _ in fields] == list(get_type_hints(made)), name
        assert [kind for _, kind in fields] == [FORMATS[each] for each in fixed.format[1:]] + ["bytes"] * variable


def test_who_sends_what() -> None:
    for number, direction, _ in KINDS.values():
        documented = wire.TRANSFER_LAYOUT[int(number)][0].__doc__ or ""
        assert documented.lower().startswith(f"{direction}: ")


def test_the_limits() -> None:
    for name, value, _ in table(FILES, "limit"):
        assert int(value) == getattr(names if name == "MAX_COMPONENT" else wire, name)
    assert f"at most {wire.MAX_TRANSFER_PAYLOAD}\nbytes" in FILES
    assert f"more than {wire.MAX_DIGESTS}," in FILES
    assert f"chunks of {wire.CHUNK} bytes" in FILES


def test_the_options_and_their_defaults() -> None:
    rows = table(FILES, "option")
    assert [row[0] for row in rows] == list(TransferOptions._fields)
    defaults = {name: json.loads(default) for name, default, _ in rows if default}
    assert defaults == json.loads(json.dumps(TransferOptions._field_defaults))
    assert "`READY` has one member: `delta`" in FILES
    assert Ready._fields == ("delta",)


def test_the_totals() -> None:
    assert [row[0] for row in table(FILES, "total")] == list(Totals().to_json())


@pytest.mark.parametrize("header", ["kind of entry", "basis"])
def test_the_numbers_of_entries_and_bases(header: str) -> None:
    rows = {row[0]: int(row[1]) for row in table(FILES, header)}
    assert rows == {name: getattr(wire, name) for name in rows}
    assert sorted(rows.values()) == list(range(len(rows)))


THERE = {
    "nothing there": None,
    "a file": planning.Existing(wire.REGULAR, size=9),
    "a symbolic link": planning.Existing(wire.SYMLINK),
    "a directory": planning.Existing(wire.DIRECTORY),
    "a device": planning.Existing(planning.DEVICE),
    "a FIFO or socket": planning.Existing(planning.SPECIAL),
}
WORDS = {
    "failed": {planning.Action.REFUSE},
    "kept": {planning.Action.SKIP},
    "made": {planning.Action.MAKE},
    "wanted": set(planning.WANTED),
}


@pytest.mark.parametrize("row", table(FILES, "entry"), ids=lambda row: row[0])
def test_what_happens_to_each_entry(row: list[str]) -> None:
    kind = getattr(wire, row[0])
    entry = wire.Entry(1, kind, 0o644, 0, 0, 1, 5, b"a", b"0")
    assert len(row) == len(THERE) + 1
    for existing, cell in zip(THERE.values(), row[1:], strict=True):
        word, *condition = re.split(r"(?:,| unless) ", cell.replace("`", ""))
        options = TransferOptions("put", (b"x",))
        assert planning.decide(entry, existing, options).action in WORDS[word], cell
        if condition == ["wanted with in_place"]:
            assert planning.decide(entry, existing, options._replace(in_place=True)).action in WORDS["wanted"]
        elif condition:
            assert condition in (["up to date"], ["equal"])
            same = planning.Existing(kind, size=5, mtime=1, mode=0o644, target=b"0")
            assert planning.decide(entry, same, options).action is planning.Action.SKIP


class Zeros:
    """Content that is cut only where a chunk may be no larger."""

    def readinto(self, buffer: memoryview, /) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_the_sizes_of_chunks() -> None:
    units = {"KiB": 1 << 10, "GiB": 1 << 30}
    for row in table(FILES, "size up to"):
        told = [int(number) * units[unit] for number, unit in (cell.split() for cell in row if cell != "any")]
        announced = told[0] if len(told) == 4 else 1 << 60
        smallest, average, largest = told[-3:]
        assert average_chunk(announced) == average == 4 * smallest
        assert {chunk.length for chunk in chunks_of(Zeros(), 4 << 20, announced)} == {largest}


def test_every_kind_has_an_example() -> None:
    assert {name for _, name, _ in EXAMPLES} == KINDS.keys()


@pytest.mark.parametrize(
    ("way", "name", "raw"), EXAMPLES, ids=[f"{name}-{at}" for at, (_, name, _) in enumerate(EXAMPLES)]
)
def test_an_example_decodes_and_encodes_to_the_same_bytes(way: str, name: str, raw: bytes) -> None:
    frame = decoded(raw)
    assert wire.encode(frame) == raw
    assert wire.TransferFrame(raw[4]).name == name
    direction = KINDS[name][1]
    senders = {"client to worker": ">", "sender to receiver": ">", "worker to client": "<", "receiver to sender": "<"}
    assert senders.get(direction, way) == way
    match frame:
        case wire.OptionsFrame(text=text):
            assert TransferOptions.from_json(text).to_json() == text
        case wire.ReadyFrame(text=text):
            assert Ready.from_json(text).to_json() == text
        case wire.Summary(text=text):
            assert Totals.from_json(json.loads(text)).files == 1


def test_the_example_of_a_put_is_what_it_says() -> None:
    frames = [decoded(raw) for _, _, raw in EXAMPLES[:10]]
    content = b"".join(bytes(frame.data) for frame in frames if isinstance(frame, wire.Data))
    ends = [frame.blake3 for frame in frames if isinstance(frame, wire.FileEnd | wire.FileDone)]
    assert ends == [blake3(content).digest()] * 2
    assert isinstance(frames[-1], wire.Summary)
