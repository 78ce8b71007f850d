"""The options of a transfer are checked before anything is sent, and each mistake names its argument."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from farhand_client.files.options import SYNC_KEYWORDS, is_pattern, transfer_options
from farhand_files.options import MAX_OPTION_NUMBER, TransferOptions


def options(*, several: bool = False, syncing: bool = False, **keywords: Any) -> TransferOptions:
    return transfer_options("put", (b"there",), several, keywords, sync=syncing)


def test_the_names_are_those_of_the_specification() -> None:
    assert set(TransferOptions._fields) == SYNC_KEYWORDS | {"operation", "paths"}


def test_nothing_given_is_the_default() -> None:
    assert options() == TransferOptions("put", (b"there",))
    assert options(several=True).into
    assert not options(several=True, into=False).into
    assert options(syncing=True) == TransferOptions("put", (b"there",), delta=True)
    assert not options(syncing=True, delta=False).delta


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"into": True}, {"into": True}),
        ({"excludes": ["*.pyc", "!keep.pyc"]}, {"excludes": ("*.pyc", "!keep.pyc")}),
        ({"max_size": 0, "rate": 1 << 20}, {"max_size": 0, "rate": 1 << 20}),
        ({"newer_than": 1.5}, {"newer_than": 1_500_000_000}),
        ({"newer_than": 0}, {"newer_than": 0}),
        ({"newer_than": datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)}, {"newer_than": 10**18}),
        ({"mode": 0o644}, {"mode": 0o644}),
        ({"owner": "www-data:adm"}, {"owner": "www-data:adm"}),
        ({"max_size": None, "newer_than": None, "mode": None, "rate": None}, {}),
        ({"times": False, "sync": False, "checksum": 1}, {"times": False, "sync": False, "checksum": True}),
    ],
)
def test_what_is_given_is_converted(given: dict[str, Any], taken: dict[str, Any]) -> None:
    converted = options(**given)
    assert converted == TransferOptions("put", (b"there",))._replace(**taken)
    assert TransferOptions.from_json(converted.to_json()) == converted


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({"exclude": ["a"]}, TypeError, "unexpected keyword argument 'exclude'; did you mean 'excludes'"),
        ({"nonsense": 1}, TypeError, "the options are checksum, delta"),
        ({"delete": True}, TypeError, "unexpected keyword argument 'delete'"),
        ({"excludes": "*.pyc"}, TypeError, "excludes is str; it must be patterns, in a list"),
        ({"excludes": [b"a"]}, TypeError, r"excludes\[0\] is bytes; it must be str"),
        ({"excludes": ["a\0"]}, ValueError, r"excludes\[0\] contains a NUL byte"),
        ({"excludes": ["!"]}, ValueError, "the exclude '!'"),
        ({"max_size": -1}, ValueError, "max_size is -1"),
        ({"rate": "1M"}, TypeError, "rate is str"),
        ({"newer_than": "yesterday"}, TypeError, "newer_than is str; it must be a datetime"),
        ({"newer_than": True}, TypeError, "newer_than is bool"),
        ({"newer_than": -1}, ValueError, "it must be from 1970 to 2262"),
        ({"newer_than": float("nan")}, ValueError, "it must be from 1970 to 2262"),
        ({"mode": 0o10000}, ValueError, "it must be at most 0o7777"),
        ({"mode": "644"}, TypeError, "mode is str"),
        ({"owner": 0}, TypeError, "owner is int"),
    ],
)
def test_what_no_service_would_accept_is_refused(given: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        options(**given)


def test_the_latest_time_fits() -> None:
    assert options(newer_than=MAX_OPTION_NUMBER / 1e9).newer_than == MAX_OPTION_NUMBER


def test_a_path_that_no_program_can_open_is_refused() -> None:
    with pytest.raises(ValueError, match="a path has 4097 bytes; it must have at most 4096"):
        transfer_options("get", (b"a", b"b" * 4097), True, {}, sync=False)


def test_patterns_are_known_by_their_characters() -> None:
    assert all(map(is_pattern, (b"*.gz", b"a?", b"[ab]")))
    assert not is_pattern(b"/var/log/a.gz")
