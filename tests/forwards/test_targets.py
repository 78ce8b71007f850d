"""Targets travel as JSON, and nothing else is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_forwards.targets import (
    MAX_UNIX_PATH,
    ForwardTarget,
    InetTarget,
    TargetError,
    UnixTarget,
    target_from_json,
    target_to_json,
)

PATHS = st.binary(min_size=1, max_size=MAX_UNIX_PATH).filter(lambda path: b"\0" not in path)
HOSTS = st.from_regex(r"[a-z0-9.:-]{1,255}", fullmatch=True)
TARGETS = st.builds(UnixTarget, PATHS) | st.builds(
    InetTarget, HOSTS, st.integers(1, 65535), st.sampled_from(["tcp", "udp"])
)
WEB = {"host": "web", "port": 80, "transport": "tcp"}


@given(TARGETS)
def test_every_target_arrives_as_it_was_sent(target: ForwardTarget) -> None:
    assert target_from_json(target_to_json(target)) == target


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        WEB | {"more": 1},
        WEB | {"path": "/s"},
        WEB | {"host": ""},
        WEB | {"host": "a\nb"},
        WEB | {"host": "x" * 256},
        WEB | {"host": 5},
        WEB | {"port": 0},
        WEB | {"port": 65536},
        WEB | {"port": True},
        WEB | {"port": 80.0},
        WEB | {"transport": "sctp"},
        {"path": ""},
        {"path": "x" * 108},
        {"path": "a\0b"},
        {"path": 7},
    ],
)
def test_what_is_no_target_is_refused(value: Any) -> None:
    with pytest.raises(TargetError):
        target_from_json(value)


def test_only_a_listener_may_leave_host_port_and_path_open() -> None:
    anywhere = {"host": "", "port": 0, "transport": "tcp"}
    assert target_from_json(anywhere, listener=True) == InetTarget("", 0)
    assert target_from_json({"path": ""}, listener=True) == UnixTarget(b"")
    with pytest.raises(TargetError):
        target_from_json(anywhere)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (InetTarget("web", 80), "web:80"),
        (InetTarget("", 80), "localhost:80"),
        (InetTarget("::1", 53, "udp"), "udp:[::1]:53"),
        (UnixTarget(b"/run/s\xff"), "/run/s\\xff"),
    ],
)
def test_a_target_is_shown_as_it_is_written(target: ForwardTarget, text: str) -> None:
    assert str(target) == text
