"""Messages and their JSON: each side decodes what the other encodes, and refuses everything else."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.limits import Limits
from farhand_protocol.strict_json import check_json
from farhand_protocol.values import MAX_TEXT
from tests.support.pairs import run


def test_fields_that_are_none_are_left_out() -> None:
    assert m.encode(m.Stop()) == b'{"type":"stop"}'


def test_null_means_the_same_as_a_missing_field() -> None:
    assert m.decode(b'{"type":"stop","kill_after":null}', Limits()) == m.Stop()


def test_the_order_of_fields_does_not_matter() -> None:
    assert m.decode(b'{"id":3,"type":"ping"}', Limits()) == m.Ping(id=3)


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        m.Ping(id=1).id = 2  # type: ignore[misc]  # the point


@pytest.mark.parametrize(
    ("short", "code"),
    [
        (b'{"type":"ping","id":1,"id":1}', ErrorCode.DUPLICATE_KEY),
        (b'{"type":"ping","id":NaN}', ErrorCode.BAD_NUMBER),
        (b'{"type":"ping","x":1,"id":1}', ErrorCode.UNKNOWN_FIELD),
        (b'{"type":"ping","id":true}', ErrorCode.INVALID_FIELD),
        (b'{"type":"ping","id":-1}', ErrorCode.INVALID_FIELD),
    ],
)
def test_a_short_message_is_checked_like_a_long_one_each_time(short: bytes, code: ErrorCode) -> None:
    for payload in (short, short, short + b" " * 100):
        with pytest.raises(RemoteProtocolError) as refused:
            m.decode(payload, Limits())
        assert refused.value.code is code


@pytest.mark.parametrize("text", ["x" * MAX_TEXT, "é" * (MAX_TEXT - 1), ""])
def test_an_error_message_that_fits_is_unchanged(text: str) -> None:
    assert m.Error(code=ErrorCode.INTERNAL, message=text).message == text


def test_a_longer_error_message_is_truncated_and_a_surrogate_escaped() -> None:
    error = m.Error(code=ErrorCode.INTERNAL, message="\udcff" + "x" * MAX_TEXT)
    assert error.message == ("\\xff" + "x" * MAX_TEXT)[: MAX_TEXT - 1] + "…"
    assert m.decode(m.encode(error), Limits()) == error


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(payload: bytes) -> None:
    with suppress(RemoteProtocolError):
        assert m.decode(payload, Limits()).type


def _objects(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    keys = st.sampled_from(["type", "id", "argv", "env", "outcome", "limits", "base64", "timeout", "a"])
    return st.lists(values, max_size=3) | st.dictionaries(keys, values, max_size=5)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["run", "hello", "ended", "credit", "exited", "stdin", "1e999"]),
    _objects,
    max_leaves=12,
)
kinds = st.sampled_from(["run", "hello", "welcome", "login", "ended", "error", "credit", "stop", "ping"])


@given(kinds, st.dictionaries(st.sampled_from(sorted(m.RunRequest.model_fields | m.Ended.model_fields)), anything))
def test_any_json_of_a_known_type_is_a_message_or_refused(kind: str, fields: dict[str, object]) -> None:
    payload = json.dumps(fields | {"type": kind}).encode()
    with suppress(RemoteProtocolError):
        message = m.decode(payload, Limits())
        assert m.decode(m.encode(message), Limits()) == message


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


nested = st.recursive(
    st.text(alphabet='[]{}"\\a', max_size=6),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\', max_size=3), values),
    max_leaves=20,
)


@given(nested, st.integers(0, 6))
def test_depth_counts_arrays_and_objects_and_no_brackets_in_strings(value: object, limit: int) -> None:
    payload = json.dumps(value).encode()
    if _depth(value) <= limit:
        check_json(payload, Limits(nesting=limit))
    else:
        with pytest.raises(RemoteProtocolError) as refused:
            check_json(payload, Limits(nesting=limit))
        assert refused.value.code is ErrorCode.TOO_NESTED


@pytest.mark.parametrize(
    ("limits", "code"),
    [(Limits(nesting=3), ErrorCode.TOO_NESTED), (Limits(keys=4), ErrorCode.TOO_MANY_KEYS)],
)
def test_the_limits_are_those_of_the_receiver(limits: Limits, code: ErrorCode) -> None:
    payload = m.encode(run(env=((b"A", b"\xff"),)))
    assert m.decode(payload, Limits()).type == "run"
    with pytest.raises(RemoteProtocolError) as refused:
        m.decode(payload, limits)
    assert refused.value.code is code


def test_a_large_environment_is_decoded() -> None:
    request = run(env=tuple((b"NAME%d" % number, b'[{\\"' * 10) for number in range(5000)))
    assert m.decode(m.encode(request), Limits()) == request
