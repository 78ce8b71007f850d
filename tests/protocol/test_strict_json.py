"""The scan of the bytes counts what a parser would find, wherever a chunk ends, at a cost that grows as the payload."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol import strict_json
from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.limits import Limits
from farhand_protocol.strict_json import SCAN_SIZE, check_json, check_structure, parse_json
from tests.support.cost import assert_linear
from tests.support.pairs import run

texts = st.text(alphabet='[]{},:"\\aé😀\n', max_size=8)
values = st.recursive(
    texts | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=25,
)
spellings = st.sampled_from([{"ensure_ascii": True}, {"ensure_ascii": False}, {"indent": 1}])


def _counted(value: Any) -> tuple[int, int, int]:
    """Return the depth of a value, its arrays and objects, and its elements and members (2 for an empty one)."""
    if not isinstance(value, list | dict):
        return 0, 0, 0
    inner = [_counted(each) for each in (value.values() if isinstance(value, dict) else value)]
    depths, containers, elements = zip(*inner, strict=True) if inner else ((), (), ())
    return 1 + max(depths, default=0), 1 + sum(containers), max(1, len(inner)) + sum(elements)


@given(value=values, spelling=spellings, data=st.data())
def test_the_scan_counts_what_a_parser_finds(value: Any, spelling: dict[str, Any], data: st.DataObject) -> None:
    payload = json.dumps(value, **spelling).encode()
    depth, containers, elements = _counted(value)
    allowed = Limits(nesting=depth, containers=containers, values=elements + _empty(value))
    size = data.draw(st.sampled_from([1, 2, 3, 7, 1000]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "SCAN_SIZE", size)
        check_structure(payload, allowed)
        check_json(payload, Limits(nesting=depth, containers=containers, values=elements + _empty(value)))
        for limits in (Limits(nesting=depth - 1), Limits(containers=containers - 1, nesting=0), Limits(values=0)):
            if depth:
                with pytest.raises(RemoteProtocolError) as refused:
                    check_structure(payload, limits)
                assert refused.value.code in (ErrorCode.TOO_NESTED, ErrorCode.TOO_MANY_KEYS)


def _empty(value: Any) -> int:
    """Return how many arrays and objects of a value are empty."""
    if not isinstance(value, list | dict):
        return 0
    return (not value) + sum(map(_empty, value.values() if isinstance(value, dict) else value))


@given(st.binary(max_size=60) | st.text(alphabet='[]{},:"\\a1 ', max_size=60).map(str.encode), st.integers(1, 9))
def test_any_bytes_have_the_same_verdict_wherever_the_chunks_end(payload: bytes, size: int) -> None:
    limits = Limits(nesting=2, containers=3, values=6)
    verdicts: list[str | None] = []
    for scan_size in (64 << 10, size):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(strict_json, "SCAN_SIZE", scan_size)
            try:
                check_json(payload, limits)
            except RemoteProtocolError as error:
                # The place of a byte that is not UTF-8 must agree, too.
                verdicts.append(error.reason if error.code is ErrorCode.BAD_UTF8 else "refused")
            else:
                verdicts.append(None)
    assert verdicts[0] == verdicts[1]


@given(st.lists(st.text(alphabet='[]{},"\\a', max_size=5), max_size=30))
def test_arguments_within_the_limits_are_never_refused(argv: list[str]) -> None:
    request = run(argv=("x", *argv))
    assert m.decode(m.encode(request), Limits(values=64, containers=4)) == request


def test_duplicate_keys_are_found_in_a_large_message_too() -> None:
    payload = b'{"type":"run","argv":["%s"],"\\u0061rgv":["x"]}' % (b"x" * 100_000)
    with pytest.raises(RemoteProtocolError) as refused:
        check_json(payload, Limits())
    assert refused.value.code is ErrorCode.DUPLICATE_KEY


def test_the_place_of_a_bad_byte_is_exact_in_a_large_message_too() -> None:
    payload = "é".encode() * 50_000 + b"\xff"
    with pytest.raises(RemoteProtocolError, match="byte 100000 is invalid"):
        check_json(b"x" + payload[2:-1] + b"x\xff", Limits())


@pytest.mark.parametrize("number", ["1" * 401, "0." + "1" * 400, "1e" + "0" * 400])
def test_a_number_of_hundreds_of_characters_is_refused(number: str) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        check_json(number.encode(), Limits())
    assert refused.value.code is ErrorCode.BAD_NUMBER


UNBOUNDED = Limits(nesting=10, values=1 << 40, containers=1 << 40, keys=1 << 40)
SHAPES = {
    "strings": lambda n: b"[" + b'"a",' * n + b"1]",
    "arrays": lambda n: b"[" + b"[]," * n + b"1]",
    "objects": lambda n: b"[" + b'{"a":{}},' * n + b"1]",
    "members": lambda n: b"{" + b",".join(b'"k%d":1' % i for i in range(n)) + b"}",
    "escapes": lambda n: b'["' + b'\\"' * n + b'"]',
    "backslashes": lambda n: b'["' + b"\\\\" * n + b'"]',
    "nested": lambda n: b"[" + b"[[[[]]]]," * n + b"1]",
    "unclosed": lambda n: b"[" * 9 + b'"a' * n,
    "numbers": lambda n: b"[" + b"1.5," * n + b"1]",
    "text": lambda n: b'["' + "é😀[{,".encode() * n + b'"]',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_times_the_payload_costs_ten_times_as_much(shape: str) -> None:
    def check(payload: bytes) -> None:
        with suppress(RemoteProtocolError):
            check_json(payload, UNBOUNDED)

    assert_linear(check, SHAPES[shape], 8000)


@given(value=values | st.floats(allow_nan=False, allow_infinity=False), spelling=spellings)
def test_what_is_parsed_is_what_was_written(value: Any, spelling: dict[str, Any]) -> None:
    payload = json.dumps(value, **spelling).encode()
    assert parse_json(payload, Limits(nesting=30)) == value
    assert check_json(payload, Limits(nesting=30)) is None or "type" in value


def test_a_large_text_is_parsed_as_it_is() -> None:
    text = "é😀" * SCAN_SIZE
    assert parse_json(json.dumps({"a": text}, ensure_ascii=False).encode(), Limits()) == {"a": text}


@pytest.mark.parametrize("payload", [b'"\\ud800"', b'{"\\uDC00":1}', b'[["a\\ud800\\ud800"]]', b'["\\udead", 1]'])
def test_half_of_a_surrogate_pair_is_no_json(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_json(payload, Limits())
    assert refused.value.code is ErrorCode.BAD_JSON


@pytest.mark.parametrize("payload", [b'"\\ud83d\\ude00"', b'"\\\\ud800"'])
def test_whole_pairs_and_escaped_backslashes_are_json(payload: bytes) -> None:
    assert parse_json(payload, Limits()) == json.loads(payload)


def test_the_type_of_an_object_is_found_while_it_is_checked() -> None:
    assert check_json(b' {"a":{"type":"b"},"type":"c"} ', Limits()) == "c"
    for other in (b"[]", b'"type"', b"{}", b'{"type":1}', b'{"type":{"type":"a"}}', b'[{"type":"a"}]'):
        assert check_json(other, Limits()) is None


@pytest.mark.parametrize("text", ['{"a"', '{"a":1,}', "[1 2]", '"\\x"', '{"a":nul}'])
def test_what_is_no_json_is_refused_before_the_module_json_is_loaded(text: str) -> None:
    code = f"""
import sys
from farhand_protocol.errors import RemoteProtocolError
from farhand_protocol.limits import Limits
from farhand_protocol.strict_json import check_json

assert "json" not in sys.modules
try:
    check_json({text.encode()!r}, Limits())
except RemoteProtocolError as error:
    print(error.code.value)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("bad_json\n", "")
