"""The plain codec accepts, returns, writes and refuses what the models do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import farhand_protocol
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from farhand_protocol.limits import Limits
from farhand_protocol.plain import codec
from tests.support.message_values import MESSAGES, message_json
from tests.support.pairs import RUN_ID

LIMITS = Limits()
RUN = {"id": RUN_ID, "owner": "ada", "command": "x", "began": 1, "duration": 1, "stdout": 0, "stderr": 0}

SPELLINGS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"ensure_ascii": True}, {"ensure_ascii": False, "separators": (",", ":")}, {"indent": 1}]
)


def by_models(payload: bytes) -> Any:
    """Return the fields that the models find in `payload`, or the code and sentence of their refusal."""
    try:
        message = m.decode(payload + b" " * 64, LIMITS)
    except RemoteProtocolError as error:
        return error.code, error.reason
    return message.model_dump()


def by_plain(payload: bytes) -> Any:
    """Return what the plain codec finds in `payload`, or the code and sentence of its refusal."""
    try:
        return codec.decode(payload + b" " * 64, LIMITS)
    except RemoteProtocolError as error:
        return error.code, error.reason


def same(found: Any, expected: Any) -> bool:
    """Whether both codecs have said the same. What their two parsers of JSON say about its syntax differs."""
    if isinstance(found, tuple) and isinstance(expected, tuple) and found[0] is ErrorCode.BAD_JSON:
        return found[0] is expected[0]
    return bool(found == expected) and repr(found) == repr(expected)


def _pairs(payload: bytes) -> Any:
    """Return the values of `payload` with the order of fields: floats have several spellings."""
    return json.loads(payload, object_pairs_hook=list)


@pytest.mark.parametrize("model", MESSAGES)
@settings(max_examples=20)
@given(data=st.data())
def test_both_decode_the_same_and_write_the_same(model: type[m.Message], data: st.DataObject) -> None:
    fields = data.draw(message_json(model, 0))
    payload = json.dumps(fields, **data.draw(SPELLINGS)).encode("utf-8", "surrogatepass")
    found = by_plain(payload)
    assert same(found, by_models(payload))
    assert isinstance(found, dict)
    message = m.decode(payload, LIMITS)
    written = codec.encode(found)
    assert m.decode(written, LIMITS) == message
    assert _pairs(written) == _pairs(m.encode(message))
    assert codec.decode(m.encode(message), LIMITS) == found


@pytest.mark.parametrize("model", MESSAGES)
@settings(max_examples=20)
@given(data=st.data())
def test_both_refuse_the_same(model: type[m.Message], data: st.DataObject) -> None:
    fields = data.draw(message_json(model, 12))
    payload = json.dumps(fields, **data.draw(SPELLINGS)).encode("utf-8", "surrogatepass")
    found = by_plain(payload)
    assert same(found, by_models(payload))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"type":"ping","id":1,"id":1}', ErrorCode.DUPLICATE_KEY),
        (b'{"type":"ping","id":NaN}', ErrorCode.BAD_NUMBER),
        (b'{"type":"stop","kill_after":1e999}', ErrorCode.BAD_NUMBER),
        (b'{"type":"ping","x":1,"id":1}', ErrorCode.UNKNOWN_FIELD),
        (b'{"type":"ping","id":true}', ErrorCode.INVALID_FIELD),
        (b'{"type":"ping","id":-1}', ErrorCode.INVALID_FIELD),
        (b'{"type":"ping"}', ErrorCode.INVALID_FIELD),
        (b'{"type":"pang","id":1}', ErrorCode.UNKNOWN_MESSAGE),
        (b'{"id":1}', ErrorCode.UNKNOWN_MESSAGE),
        (b"[]", ErrorCode.INVALID_FIELD),
        (b'{"type":"ping","id":1', ErrorCode.BAD_JSON),
        (b'{"type":"ping","id":1}x', ErrorCode.BAD_JSON),
        (b"", ErrorCode.BAD_JSON),
        (b'{"type":"error","code":"internal","message":"\\ud800"}', ErrorCode.BAD_JSON),
        (b'{"type":"error","code":"internal","message":"\xff"}', ErrorCode.BAD_UTF8),
        (b"[" * 11 + b"]" * 11, ErrorCode.TOO_NESTED),
        (b"{%s}" % b",".join(b'"%d":1' % at for at in range(65)), ErrorCode.TOO_MANY_KEYS),
    ],
)
def test_both_refuse_what_is_no_message(payload: bytes, code: ErrorCode) -> None:
    found, expected = by_plain(payload), by_models(payload)
    assert found[0] is code
    assert same(found, expected)


@pytest.mark.parametrize(
    "modes",
    [
        [["VINTR", 3], ["ECHO", 1]],
        [["VINTR", 3]] * 65,
        [["VINTR", 3]] * 2,
        [["WRONG", 3]] * 65,
        [["ECHO", 2]],
        [["ECHO"]],
        [["ECHO", 1, 1], ["WRONG", 1]],
        [["ECHO", 256]],
        [["WRONG", -1]],
        [1],
        {"ECHO": 1},
        None,
    ],
)
def test_both_say_the_same_about_the_modes_of_a_terminal(modes: object) -> None:
    terminal = {"name": "xterm", "size": {"columns": 80, "rows": 24}, "modes": modes}
    fields = {"type": "run", "id": RUN_ID, "login": True, "terminal": terminal, "stdin": True, "merge_stderr": True}
    payload = json.dumps(fields).encode()
    found = by_plain(payload)
    assert same(found, by_models(payload))
    if isinstance(found, dict):
        assert codec.encode(found) == m.encode(m.decode(payload, LIMITS))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(payload: bytes) -> None:
    assert same(by_plain(payload), by_models(payload))


def test_what_is_not_given_is_not_sent() -> None:
    assert codec.encode({"type": "stop"}) == b'{"type":"stop"}'
    assert codec.encode({"type": "stop", "kill_after": None}) == b'{"type":"stop"}'
    request = {"id": "01234567-0123-0123-0123-0123456789ab", "argv": [b"a", b"\xff"], "type": "run"}
    assert codec.encode(request) == (
        b'{"type":"run","id":"01234567-0123-0123-0123-0123456789ab","argv":["a",{"base64":"/w=="}]}'
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "pang"}, "no known type"),
        ({"type": "ping", "id": -1}, "field id: Input should be greater"),
        ({"type": "ping", "id": 1, "x": 1}, "unknown field: 'x'"),
        ({"type": "login", "public_key": b"", "signature": "x"}, "field signature: not valid base64"),
        ({"type": "error", "code": "no_such_code", "message": ""}, "field code: Input should be 'frame_too_large'"),
        ({"type": "hello", "versions": 1}, "field versions: Input should be a valid array"),
        ({"type": "list", "prefix": "0\n"}, "field prefix: String should match"),
        ({"type": "refused", "attempts_left": 1 << 70}, "field attempts_left: Input should be less"),
        ({"type": "runs", "runs": [RUN | {"owner": "\ud800"}]}, "half of a surrogate pair"),
        ({"type": "runs", "runs": [RUN | {"outcome": {"status": "odd"}}]}, "no known type"),
        ({"type": "runs", "runs": [RUN | {"outcome": 1}]}, "field runs.0.outcome: Input should be an object"),
        ({"type": "runs", "runs": [1]}, "field runs.0: Input should be an object"),
    ],
)
def test_a_caller_learns_what_a_peer_would_refuse(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(LocalProtocolError, match=said):
        codec.encode(fields)


def test_nothing_slow_is_imported() -> None:
    slow = ["asyncio", "dataclasses", "hashlib", "json", "pydantic", "re", "typing"]
    script = f"import sys; sys.path.append({str(Path(farhand_protocol.__file__).parent.parent)!r})"
    script += f"; import farhand_protocol.plain.codec; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
