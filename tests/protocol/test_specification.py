"""`protocol/README.md` and the code agree, in both directions."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from farhand_protocol import limits, outcome
from farhand_protocol import messages as m
from farhand_protocol.channel import KIND_BY_STREAM, legal_messages, open_streams
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import Limits
from farhand_protocol.login import login_transcript
from farhand_protocol.messages.run import request_fingerprint
from farhand_protocol.states import (
    AT_MOST_ONCE,
    CHANNEL_MESSAGES,
    CONNECTION_TRANSITIONS,
    FINAL_MESSAGES,
    LEGAL_BEFORE_STARTED,
    Phase,
    Side,
)
from farhand_protocol.values import MAX_SHORT_TEXT, MAX_TEXT, bytes_from_json, bytes_to_json
from tests.protocol.test_connection_refusals import CHANNEL_CASES, CONNECTION_CASES
from tests.protocol.test_states import OPENINGS
from tests.support.pairs import Pair, frames, run

README = (Path(__file__).parents[2] / "protocol" / "README.md").read_text()
TYPES: dict[str, type[m.Message]] = {kind.model_fields["type"].default: kind for kind in get_args(m.AnyMessage)}
OBJECTS: dict[str, type[BaseModel]] = {
    "bounds": m.Bounds,
    "terminal": m.TerminalRequest,
    "transfer": m.TransferRequest,
    "forward": m.ForwardRequest,
    "size": m.WindowSize,
    "usage": m.UsageReport,
    "applied": m.AppliedBounds,
    "left_processes": m.LeftProcesses,
    "run info": m.RunInfo,
    "client info": m.ClientInfo,
    "mark": m.OutputMark,
}
MODELS: dict[str, type[BaseModel]] = TYPES | OBJECTS


def section(title: str, level: int = 2) -> str:
    """Return the text under a heading, up to the next heading of its level or above."""
    found = re.search(rf"^{'#' * level} {re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)", README, re.M | re.S)
    assert found, title
    return found[1]


def table(text: str, header: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this header, without backquotes."""
    lines = text[text.index(f"| {header} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def fields_table(name: str) -> list[list[str]]:
    """Return the table of a message, or of an object in one."""
    return table(section(f"`{name}`", 3 if name in TYPES else 4), "field")


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


SPELLED: dict[Any, str] = {1 << 31: "2³¹", (1 << 63) - 1: "2⁶³-1"}
COUNT = "0 to 2⁶³-1"
SECONDS = f"above 0 up to {m.MAX_SECONDS} (ten years)"
JSON = [line for block in fenced(README, "json") for line in block.splitlines()]


class TestExamples:
    @pytest.mark.parametrize("example", JSON, ids=range(len(JSON)))
    def test_json_decodes_and_encodes_to_the_same_bytes(self, example: str) -> None:
        assert m.encode(m.decode(example.encode(), Limits())).decode() == example

    @pytest.mark.parametrize("example", fenced(README, "hex"))
    def test_hex_is_one_frame_and_encodes_to_the_same_bytes(self, example: str) -> None:
        raw = bytes.fromhex(example)
        (frame,) = frames(raw)
        assert encode_frame(*frame) == raw
        if frame.kind is Kind.MESSAGE:
            assert m.encode(frame.message) == frame.payload

    def test_every_message_has_an_example_of_its_type(self) -> None:
        for name in TYPES:
            (example,) = fenced(section(f"`{name}`", 3), "json")
            assert m.decode(example.strip().encode(), Limits()).type == name

    def test_every_outcome_has_an_example(self) -> None:
        decoded = [m.decode(line.encode(), Limits()) for line in JSON]
        seen = {message.outcome.status for message in decoded if isinstance(message, m.Ended)}
        assert seen == {row[0] for row in table(section("5. Outcomes"), "status")}

    def test_the_spelling_of_bytes(self) -> None:
        for raw, spelling in table(section("Bytes", 3), "bytes"):
            value = bytes.fromhex(raw)
            assert json.dumps(bytes_to_json(value), ensure_ascii=False, separators=(",", ":")) == spelling
            assert bytes_from_json(json.loads(spelling)) == value

    def test_the_login_transcript(self) -> None:
        (example,) = fenced(section("8. Login"), "transcript")
        assert bytes.fromhex(example) == login_transcript(
            spki_sha256=b"\x11" * 32,
            server_nonce=b"\x22" * 32,
            client_nonce=b"\x33" * 32,
            server_name="build.example",
            user="ada",
            hello_sha256=b"\x44" * 32,
            public_key=b"key",
        )
        assert len(table(section("8. Login"), "part")) == 8


class TestMessages:
    def test_every_message_has_a_section_and_every_section_a_message(self) -> None:
        assert set(re.findall(r"^### `(\w+)`$", section("4. Messages"), re.M)) == set(TYPES)

    def test_every_object_in_a_message_has_a_section(self) -> None:
        assert set(re.findall(r"^#### `([\w ]+)`$", section("4. Messages"), re.M)) == set(OBJECTS)

    @pytest.mark.parametrize("name", MODELS)
    def test_the_fields(self, name: str) -> None:
        rows = fields_table(name)
        model = {key: field for key, field in MODELS[name].model_fields.items() if key != "type"}
        assert [row[0] for row in rows] == list(model)
        optional = {row[0] for row in rows if row[2].startswith("optional")}
        assert optional == {key for key, field in model.items() if not field.is_required()}

    @pytest.mark.parametrize("name", MODELS)
    def test_the_ranges(self, name: str) -> None:
        for field, kind, rule in fields_table(name):
            ranges = {"count": COUNT, "seconds": SECONDS}.get(kind, rule.split(";")[0])
            numbers = re.findall(r"\d+[¹³⁶]*(?:-1)?", ranges)
            for bound in _bounds(MODELS[name].model_fields[field]):
                assert SPELLED.get(bound, str(bound)) in numbers

    @pytest.mark.parametrize("name", MODELS)
    def test_the_choices(self, name: str) -> None:
        for field, kind, rule in fields_table(name):
            choices = _choices(MODELS[name].model_fields[field].annotation)
            if choices and kind == "string":
                assert set(re.findall(r"`(\w+)`", f"`{rule}`")) == choices

    def test_the_modes_of_a_terminal(self) -> None:
        names = [name for row in table(section("`terminal`", 4), "modes") for name in re.findall(r"\w+", row[1])]
        assert names == list(get_args(m.ModeName))

    def test_the_outcomes(self) -> None:
        union = get_args(get_args(outcome.Outcome)[0])
        rows = {row[0]: row[1] for row in table(section("5. Outcomes"), "status")}
        assert set(rows) == {kind.model_fields["status"].default for kind in union}
        for kind in union:
            for field in set(kind.model_fields) - {"status"}:
                assert f"`{field}`" in f"`{rows[kind.model_fields['status'].default]}`"

    def test_the_reasons_of_a_kill(self) -> None:
        reasons = {row[0] for row in table(section("5. Outcomes"), "reason")}
        assert reasons == _choices(outcome.Killed.model_fields["reason"].annotation)


class TestStates:
    def test_the_connections_table(self) -> None:
        rows = [tuple(row) for row in table(section("The connection", 3), "phase")]
        assert len(rows) == len(set(rows))
        assert set(rows) == {
            (phase, side, kind.model_fields["type"].default, following)
            for phase, row in CONNECTION_TRANSITIONS.items()
            for (side, kind), following in row.items()
        }
        assert {row[0] for row in rows} == set(Phase) - {Phase.CLOSED}

    def test_the_messages_that_may_be_sent_on_a_channel(self) -> None:
        rows = {row[0].replace("`", ""): row[1:] for row in table(section("Channels", 3), "opened by")}
        assert {opening: [re.findall(r"\w+", cell) for cell in row] for opening, row in rows.items()} == {
            name: [sorted(kind.model_fields["type"].default for kind in legal_messages(opening)[side]) for side in Side]
            for name, opening in OPENINGS.items()
        }

    def test_the_messages_of_a_channel(self) -> None:
        rows = {tuple(row) for row in table(section("Channels", 3), "sender")}
        yes = {True: "yes", False: "no"}
        assert rows == {
            (
                side,
                kind.model_fields["type"].default,
                yes[kind in FINAL_MESSAGES[side]],
                yes[kind.ordered],
                yes[kind in AT_MOST_ONCE | FINAL_MESSAGES[side]],
                yes[side is Side.CLIENT or kind in LEGAL_BEFORE_STARTED],
            )
            for side in Side
            for by_side in CHANNEL_MESSAGES.values()
            for kind in by_side[side]
        }

    def test_the_kinds_and_their_senders(self) -> None:
        rows = table(section("2. Frames"), "kind")
        assert {(row[0], int(row[1])) for row in rows} == {(kind.name, int(kind)) for kind in Kind}
        sender = {row[0]: row[3] for row in rows}
        for side, word in ((Side.CLIENT, "client"), (Side.SERVER, "service")):
            assert {KIND_BY_STREAM[stream].name for stream in open_streams(run())[side]} == {
                kind for kind, who in sender.items() if who == word
            }


class TestLimits:
    def test_every_limit_with_its_default(self) -> None:
        rows = table(section("9. Limits"), "limit")
        assert [(row[0], int(row[1])) for row in rows] == [
            (name, getattr(Limits(), name)) for name in Limits.__annotations__
        ]

    def test_the_announced_limits_and_their_ranges(self) -> None:
        announced = {row[0]: row[2] for row in table(section("9. Limits"), "limit") if row[2] != "no"}
        assert announced == {name: _range(field.metadata) for name, field in m.AnnouncedLimits.model_fields.items()}

    def test_the_numbers_in_the_text(self) -> None:
        assert f"up to {MAX_TEXT} characters" in README
        assert f"has up to {MAX_SHORT_TEXT} characters" in README
        assert f"up to {m.MAX_RUNS}, as many as fit" in README
        assert f"up to {m.MAX_MARKS}, as many as fit" in README
        assert f"this implementation asks for {limits.TERMINAL_WINDOW} bytes." in README
        assert f"or {limits.MAX_UNACKNOWLEDGED} bytes of a larger one." in README.replace("\n", " ")
        assert SECONDS in README
        assert f"from {COUNT}" in README.replace("\n", " ")
        assert f"1 to {limits.MAX_CHANNEL}." in README
        assert f"above {limits.MAX_WINDOW}." in README
        assert f"every peer accepts {limits.MIN_MESSAGE}" in README
        assert f"# The Farhand protocol, version {m.PROTOCOL_VERSION}\n" in README


class TestRuns:
    def test_the_bytes_that_make_a_request_the_same(self) -> None:
        (example,) = fenced(section("7. Runs"), "fingerprint")
        encoded, digest = example.splitlines()
        (request,) = fenced(section("`run`", 3), "json")
        assert sha256(encoded.encode()).hexdigest() == digest
        message = m.decode(request.encode(), Limits())
        assert isinstance(message, m.RunRequest)
        assert request_fingerprint(message).hex() == digest

    def test_the_transcript_of_a_resume(self) -> None:
        """Both sides replay it exactly, and the output arrives completely and once."""
        (example,) = fenced(section("7. Runs"), "session")
        pair, arrived, start_time = Pair.ready(), 0, 0
        for line in example.splitlines():
            if line == "cut":
                pair, start_time = Pair.ready(), arrived
                continue
            speaker = Side.CLIENT if line.startswith("client 1: ") else Side.SERVER
            content = line.split(" ", 2)[2]
            if content.startswith("{"):
                message = m.decode(content.removesuffix(" ×").encode(), Limits())
                if isinstance(message, m.Attach):
                    assert message.stdout == start_time
                if type(message) in CHANNEL_MESSAGES:
                    assert pair.client.open(message) == 1
                else:
                    pair.end(speaker).send(1, message)
                if isinstance(message, m.Ended):
                    assert message.stdout == arrived
            else:
                stream, count = content.removesuffix(" ×").split()
                _send(pair.end(speaker), stream, int(count))
                arrived += int(count) if stream == "stdout" and not content.endswith("×") else 0
            if not content.endswith("×"):
                assert all("failed" not in received for received in pair.deliver())
        assert (pair.client.open_channels, pair.server.open_channels) == (0, 0)


def _send(connection: Connection, stream: Any, count: int) -> None:
    while count:
        data = bytes(min(count, connection.room(1, stream)))
        connection.send_data(1, stream, data)
        count -= len(data)


def _bounds(field: FieldInfo) -> list[Any]:
    """Return the bounds of a field, including those of its alternatives."""
    found: list[Any] = [field.annotation, *field.metadata]
    bounds: list[Any] = []
    for kind in found:
        match kind:
            case Ge():
                bounds.append(kind.ge)
            case Le():
                bounds.append(kind.le)
            case MaxLen():
                bounds.append(kind.max_length)
            case FieldInfo():
                found += kind.metadata
            case _:
                # The bounds of `X | None`, and of Annotated inside it, are in its arguments.
                found += get_args(kind) if get_origin(kind) in (Annotated, Union, UnionType) else ()
    return bounds


def _choices(annotation: Any) -> set[str]:
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    alternatives = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return {choice for alternative in alternatives for choice in _choices(alternative)}


def _range(metadata: list[Any]) -> str:
    low = next(bound.ge for bound in metadata if isinstance(bound, Ge))
    high = next(bound.le for bound in metadata if isinstance(bound, Le))
    return f"{low} to {high}"


class TestErrors:
    rows = table(section("10. Errors"), "code")

    def test_every_code(self) -> None:
        assert [row[0] for row in self.rows] == list(ErrorCode)
        assert all(row[1] for row in self.rows)

    def test_whether_each_refusal_ends_the_connection_or_the_channel(self) -> None:
        ends = {row[0]: row[2] for row in self.rows}
        for case in CONNECTION_CASES:
            assert "connection" in ends[case.code]
        for case in CHANNEL_CASES:
            assert "channel" in ends[case.code]

    def test_every_code_of_the_bytes_and_the_json_is_tested(self) -> None:
        codes = list(ErrorCode)
        of_the_protocol = codes[: codes.index(ErrorCode.UNSUPPORTED_VERSION)]
        assert {case.code for case in CONNECTION_CASES + CHANNEL_CASES} == set(of_the_protocol)
