"""Options: what the client asks for arrives unchanged, and every mistake is refused with a sentence of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files.options import MAX_OPTION_NUMBER, Ready, TransferOptions, parse_object
from farhand_files.wire import MAX_PATH, WireError
from farhand_protocol.values import MAX_PATHS

PATHS = st.binary(min_size=1, max_size=20).filter(lambda path: b"\0" not in path)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
NUMBERS = st.none() | st.integers(0, MAX_OPTION_NUMBER)

OPTIONS = st.builds(
    TransferOptions,
    operation=st.sampled_from(["put", "get"]),
    paths=st.lists(PATHS, max_size=3).map(tuple),
    excludes=st.lists(TEXTS, max_size=3).map(tuple),
    max_size=NUMBERS,
    newer_than=NUMBERS,
    rate=NUMBERS,
    mode=st.none() | st.integers(0, 0o7777),
    owner=TEXTS,
    **{
        name: st.booleans()
        for name, default in TransferOptions._field_defaults.items()
        if isinstance(default, bool)
    },
)  # fmt: skip


def told(**values: Any) -> bytes:
    return json.dumps({"operation": "put", "paths": ["x"]} | values).encode()


@given(OPTIONS)
def test_options_arrive_as_they_were_sent(options: TransferOptions) -> None:
    assert TransferOptions.from_json(options.to_json()) == options


def test_only_what_differs_from_the_defaults_is_sent() -> None:
    options = TransferOptions("get", (b"a", b"\xff"), mode=0o600, sync=False)
    assert json.loads(options.to_json()) == {
        "operation": "get",
        "paths": ["a", {"base64": "/w=="}],
        "mode": 0o600,
        "sync": False,
    }


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nest"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "without operation or paths"),
        (b'{"operation": "put"}', "without operation or paths"),
        (told(colour="red"), "no option 'colour'"),
        (told(operation="move"), "no transfer 'move'; put and get are known"),
        (told(operation=1), "operation of a transfer is no text of up to 16 characters"),
        (told(operation="p" * 17), "operation of a transfer is no text of up to 16 characters"),
        (told(paths="x"), f"paths of a transfer are no list of up to {MAX_PATHS}"),
        (told(paths=["x"] * (MAX_PATHS + 1)), f"paths of a transfer are no list of up to {MAX_PATHS}"),
        (told(paths=[""]), "a path of 0 bytes"),
        (told(paths=["p" * (MAX_PATH + 1)]), "a path of 4097 bytes"),
        (told(paths=["a\0"]), "a path of a transfer: "),
        (told(paths=[1]), "a path of a transfer: "),
        (told(paths=[{"base64": "A"}]), "a path of a transfer: "),
        (told(excludes=["a", 1]), "excludes of a transfer is no text"),
        (told(excludes=["a\0"]), "excludes of a transfer is no text"),
        (told(excludes={}), "excludes of a transfer are no list"),
        (told(mode=0o10000), "mode of a transfer is no number from 0 to 4095"),
        (told(mode=True), "mode of a transfer is no number"),
        (told(mode=1.0), "mode of a transfer is no number"),
        (told(max_size=-1), "max_size of a transfer is no number from 0 to"),
        (told(rate=1 << 63), "rate of a transfer is no number"),
        (told(newer_than="1"), "newer_than of a transfer is no number"),
        (told(owner="o" * 256), "owner of a transfer is no text of up to 255 characters"),
        (told(owner=None), "owner of a transfer is no text"),
        (told(delete=1), "delete of a transfer is neither true nor false"),
        (told(sync=None), "sync of a transfer is neither true nor false"),
    ],
    ids=lambda value: value[:60] if isinstance(value, bytes) else None,
)
def test_a_mistake_is_refused_and_named(text: bytes, what: str) -> None:
    with pytest.raises(WireError) as refused:
        TransferOptions.from_json(text)
    assert what in str(refused.value)


@given(
    st.sampled_from(TransferOptions._fields),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5),
)
def test_any_value_is_an_option_or_refused(name: str, value: Any) -> None:
    try:
        options = TransferOptions.from_json(told(**{name: value}))
    except WireError:
        return
    assert TransferOptions.from_json(options.to_json()) == options


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", "1" * 5000])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    with pytest.raises(WireError):
        TransferOptions.from_json(b'{"operation": "put", "paths": ["x"], "rate": %s}' % number.encode())


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(WireError, match="'sync'"):
        TransferOptions.from_json(b'{"operation": "put", "paths": ["x"], "sync": true, "sync": false}')


@pytest.mark.parametrize("delta", [True, False])
def test_the_workers_answer_arrives(delta: bool) -> None:
    assert Ready.from_json(Ready(delta).to_json()) == Ready(delta)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"delta": 1}', b'{"delta": true, "more": 1}', b"[]"])
def test_another_answer_is_refused(text: bytes) -> None:
    with pytest.raises(WireError):
        Ready.from_json(text)


@pytest.mark.parametrize(
    ("chosen", "size", "mtime", "taken"),
    [
        ({}, 1 << 62, 0, True),
        ({"max_size": 0}, 0, 0, True),
        ({"max_size": 0}, 1, 0, False),
        ({"max_size": 0}, -1, 0, True),
        ({"newer_than": 0}, 0, 0, False),
        ({"newer_than": 0}, 0, 1, True),
        ({"newer_than": 0}, 0, -1, False),
    ],
)
def test_sizes_and_times_have_exact_bounds(chosen: dict[str, Any], size: int, mtime: int, taken: bool) -> None:
    assert TransferOptions("put", (b"x",), **chosen).in_range(size, mtime) is taken


def test_an_object_is_read_as_it_is() -> None:
    assert parse_object(b'{"a": 1}', "totals") == {"a": 1}
