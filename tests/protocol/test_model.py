"""Field types: bytes survive JSON, in exactly one form; texts are truncated, not refused."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.limits import Limits
from farhand_protocol.model import Count, Message, ShortText, Text
from farhand_protocol.values import MAX_SHORT_TEXT, MAX_TEXT, bytes_to_json
from tests.support.cost import assert_linear
from tests.support.pairs import RUN_ID, run

arguments = st.binary(max_size=30).filter(lambda value: b"\0" not in value)
names = arguments.filter(lambda value: value != b"" and b"=" not in value)


@given(st.lists(arguments | st.just(b"x"), min_size=1, max_size=6), st.lists(st.tuples(names, arguments), max_size=4))
def test_many_at_once_have_the_same_form_as_one_by_one(argv: list[bytes], pairs: list[tuple[bytes, bytes]]) -> None:
    env = tuple(dict(pairs).items())
    payload = json.loads(m.encode(run(argv=tuple(argv), env=env)))
    assert payload["argv"] == list(map(bytes_to_json, argv))
    assert payload["env"] == [[bytes_to_json(name), bytes_to_json(value)] for name, value in env]


@pytest.mark.parametrize(
    ("argv", "said"),
    [(["a", "b\0c", "d"], "number 2: a NUL byte"), (["a", 1], "number 2: expected a string"), ([["a"]], "number 1")],
)
def test_the_first_wrong_one_of_many_is_named(argv: list[object], said: str) -> None:
    with pytest.raises(RemoteProtocolError, match=said):
        m.decode(json.dumps({"type": "run", "id": RUN_ID, "argv": argv}).encode(), Limits())


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2Jb", "a\u2028b", "a\u202eb", "a\x9bb", "a\tb"])
def test_a_text_is_one_printable_line(text: str) -> None:
    error = m.Error(code=ErrorCode.INTERNAL, message=text)
    assert error.message.isprintable()
    assert m.decode(m.encode(error), Limits()) == error
    assert m.Accepted(user=text, host=text).host.isprintable()


SHAPES = {
    "arguments": lambda n: b'"argv":[%s]' % b",".join([b'"ab"'] * n),
    "arguments that are not UTF-8": lambda n: b'"argv":[%s]' % b",".join([b'{"base64":"gA=="}'] * n),
    "wrong arguments": lambda n: b'"argv":[%s1]' % (b'"",' * n),
    "variables": lambda n: b'"argv":["a"],"env":[%s]' % b",".join(b'["%x",""]' % i for i in range(n)),
    "variables that are not UTF-8": lambda n: (
        b'"argv":["a"],"env":[%s]' % b",".join(b'["%x",{"base64":"gA=="}]' % i for i in range(n))
    ),
    "the same variable": lambda n: b'"argv":["a"],"env":[%s]' % b",".join([b'["A",""]'] * n),
    "a text": lambda n: b'"shell":"%s"' % (b"\\u001b" * n),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_times_the_request_costs_ten_times_as_much(shape: str) -> None:
    def serve(payload: bytes) -> None:
        with suppress(RemoteProtocolError):
            message = m.decode(payload, Limits())
            assert isinstance(message, m.RunRequest)
            m.request_fingerprint(message)
            m.encode(message)

    assert_linear(serve, lambda n: b'{"type":"run","id":"%s",%s}' % (RUN_ID.encode(), SHAPES[shape](n)), 1000)


@given(
    argv=st.lists(arguments, min_size=1, max_size=5),
    env=st.dictionaries(names, arguments, max_size=5),
    cwd=arguments,
)
def test_a_run_request_arrives_unchanged(argv: list[bytes], env: dict[bytes, bytes], cwd: bytes) -> None:
    request = m.RunRequest(id=RUN_ID, argv=tuple(argv), env=tuple(env.items()), cwd=cwd)
    payload = m.encode(request)
    assert m.decode(payload, Limits()) == request
    assert m.encode(m.decode(payload, Limits())) == payload


@pytest.mark.parametrize(
    "changes", [{"argv": (b"a\0",)}, {"cwd": b"\0"}, {"env": ((b"A=", b""),)}, {"env": ((b"", b""),)}, {"argv": ()}]
)
def test_messages_built_by_a_caller_obey_the_same_rules(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        run(**changes)


class WithTexts(BaseModel):
    long: Text = ""
    short: ShortText = ""


def test_a_text_is_truncated_and_not_refused() -> None:
    both = WithTexts(long="x" * (MAX_TEXT + 1), short="é" * (MAX_SHORT_TEXT + 1))
    assert both.long == "x" * (MAX_TEXT - 1) + "…"
    assert both.short == "é" * (MAX_SHORT_TEXT - 1) + "…"
    assert WithTexts(long="x" * MAX_TEXT).long == "x" * MAX_TEXT


def test_a_lone_surrogate_in_a_text_becomes_an_escape() -> None:
    assert WithTexts(long="caf\udce9").long == "caf\\xe9"


def test_a_text_is_no_number() -> None:
    with pytest.raises(ValidationError):
        WithTexts.model_validate({"long": 1})


def test_a_grace_of_minus_zero_is_zero() -> None:
    assert str(run(grace=-0.0).grace) == "0.0"


def test_keys_and_nonces_are_always_base64() -> None:
    signed = m.Login(public_key=b"key", signature=b"\xff")
    assert json.loads(m.encode(signed)) == {"type": "login", "public_key": "a2V5", "signature": "/w=="}
    for spelled in (1, "a2V5=", "a2V"):
        with pytest.raises(ValidationError):
            m.Login.model_validate({"public_key": spelled, "signature": "/w=="})


def test_threads_may_use_a_model_for_the_first_time_at_once() -> None:
    class Fresh(Message):
        type: str = "fresh"
        number: Count

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: Fresh(number=number), range(64)))
    assert [each.number for each in made] == list(range(64))
