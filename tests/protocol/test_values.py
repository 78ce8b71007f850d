"""Values beyond their types: bytes survive JSON in exactly one form; fields that depend on each other are checked."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import values
from farhand_protocol.errors import ErrorCode
from farhand_protocol.values import BadValue, bytes_from_json, bytes_to_json


@given(st.binary())
def test_any_bytes_survive_json(value: bytes) -> None:
    assert bytes_from_json(json.loads(json.dumps(bytes_to_json(value)))) == value


@given(st.text())
def test_valid_utf8_is_sent_as_a_string(value: str) -> None:
    assert bytes_to_json(value.encode()) == value


@given(st.binary())
def test_there_is_no_second_form(value: bytes) -> None:
    spelling = bytes_to_json(value)
    other = {"base64": b64encode(value).decode()}
    if spelling != other:
        with pytest.raises(BadValue):
            bytes_from_json(other)


@given(st.text(alphabet="AQgw/+=_\n ", max_size=12))
def test_only_the_base64_that_would_be_sent_is_accepted(spelled: str) -> None:
    try:
        value = bytes_from_json({"base64": spelled})
    except BadValue:
        return
    assert bytes_to_json(value) == {"base64": spelled}


@pytest.mark.parametrize("value", [None, 1, [], {}, {"base64": None}, {"base64": "é"}, {"Base64": "/w=="}])
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(BadValue):
        bytes_from_json(value)


@pytest.mark.parametrize("value", [{"base64": "YQ=="}, {"base64": "/x=="}])
def test_base64_that_would_not_be_sent_is_refused(value: object) -> None:
    with pytest.raises(BadValue):
        bytes_from_json(value)


@pytest.mark.parametrize(
    ("read", "value", "code"),
    [
        (values.argument_from_json, "a\0", ErrorCode.NUL_BYTE),
        (values.arguments_from_json, ["a", "b\0"], ErrorCode.NUL_BYTE),
        (values.arguments_from_json, "a", ErrorCode.INVALID_FIELD),
        (values.environment_name_from_json, "", ErrorCode.BAD_ENVIRONMENT_NAME),
        (values.environment_from_json, [["A=", "1"]], ErrorCode.BAD_ENVIRONMENT_NAME),
        (values.environment_from_json, [["A", "1"], ["A", "2"]], ErrorCode.INVALID_FIELD),
        (values.environment_from_json, [["A"]], ErrorCode.INVALID_FIELD),
        (values.environment_from_json, {"A": "1"}, ErrorCode.INVALID_FIELD),
        (values.base64_from_json, "a", ErrorCode.INVALID_FIELD),
    ],
)
def test_what_no_program_can_be_given_is_refused(read: Any, value: object, code: ErrorCode) -> None:
    with pytest.raises(BadValue) as refused:
        read(value)
    assert refused.value.code is code


RUN = (
    dict.fromkeys(
        ("argv", "shell", "prelude", "terminal", "transfer", "forward", "cwd", "idle_timeout", "bounds", "spool")
    )
    | dict.fromkeys(("login", "stdin", "merge_stderr", "record_input", "leave_processes", "ssh_variables"), False)
    | {"env": ()}
)
ATTACH = dict.fromkeys(("stdin", "size")) | dict.fromkeys(("read_only", "hold", "share"), False)


@pytest.mark.parametrize(
    ("fault", "fields", "said"),
    [
        (values.gap_fault, {"offset": values.MAX_COUNT, "bytes": 1}, "beyond the largest offset"),
        (values.gap_fault, {"offset": values.MAX_COUNT - 1, "bytes": 1}, None),
        (values.terminal_fault, {"modes": (("ECHO", 1), ("ECHO", 0))}, "occurs twice"),
        (values.terminal_fault, {"modes": (("ECHO", 2),)}, "must be 0 or 1"),
        (values.terminal_fault, {"modes": (("VINTR", 3), ("ECHO", 1))}, None),
        (values.run_fault, RUN, "exactly one of"),
        (values.run_fault, RUN | {"argv": (b"a",), "login": True}, "exactly one of"),
        (values.run_fault, RUN | {"argv": (b"a",), "prelude": b""}, "a prelude needs"),
        (values.run_fault, RUN | {"login": True, "terminal": {}, "stdin": True}, "a terminal has stdin"),
        (values.run_fault, RUN | {"shell": b"a", "prelude": b"b"}, None),
        (values.run_fault, RUN | {"login": True, "terminal": {}, "stdin": True, "merge_stderr": True}, None),
        (values.run_fault, RUN | {"argv": (b"a",), "transfer": {}}, "exactly one of"),
        (values.run_fault, RUN | {"transfer": {}}, "a transfer needs stdin"),
        (values.run_fault, RUN | {"transfer": {}, "stdin": True, "cwd": b""}, "a transfer has no cwd"),
        (values.run_fault, RUN | {"transfer": {}, "stdin": True}, None),
        (values.run_fault, RUN | {"forward": {}}, "a forward needs stdin"),
        (values.run_fault, RUN | {"forward": {}, "stdin": True, "bounds": {}}, "a forward has no bounds"),
        (values.run_fault, RUN | {"forward": {}, "transfer": {}, "stdin": True}, "exactly one of"),
        (values.run_fault, RUN | {"forward": {}, "stdin": True}, None),
        (values.forward_fault, {"purpose": "a\n"}, "cannot be printed"),
        (values.forward_fault, {"purpose": ""}, None),
        (values.transfer_fault, {"access": "write", "paths": (b"a", b"b")}, "written to one path"),
        (values.transfer_fault, {"access": "read", "paths": (b"a", b"")}, "a path is empty"),
        (values.transfer_fault, {"access": "read", "paths": (b"a", b"b")}, None),
        (values.attach_fault, ATTACH | {"read_only": True, "hold": True}, "a read-only attachment"),
        (values.attach_fault, ATTACH | {"share": True, "stdin": 0}, "share needs"),
        (values.attach_fault, ATTACH | {"share": True, "stdin": 0, "size": {}}, None),
    ],
)
def test_fields_that_depend_on_each_other(fault: Any, fields: dict[str, Any], said: str | None) -> None:
    assert said in fault(fields) if said else not fault(fields)


@given(st.dictionaries(st.binary(min_size=1), st.binary()))
def test_an_environment_survives_json(env: dict[bytes, bytes]) -> None:
    pairs = tuple(
        (name.replace(b"=", b"x").replace(b"\0", b"y"), value.replace(b"\0", b"z")) for name, value in env.items()
    )
    if len(dict(pairs)) == len(pairs):
        assert values.environment_from_json(json.loads(json.dumps(values.environment_to_json(pairs)))) == pairs


def test_a_text_fits_and_is_printable() -> None:
    assert (
        values.fit_text("a\x1b" + "x" * values.MAX_TEXT)
        == ("a\\x1b" + "x" * values.MAX_TEXT)[: values.MAX_TEXT - 1] + "…"
    )
    assert len(values.fit_short_text("x" * values.MAX_TEXT)) == values.MAX_SHORT_TEXT
    assert values.fit_text(5) == 5
    assert str(values.positive_zero(-0.0)) == "0.0"
