"""Where forwards lead and listen, from the arguments of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farhand_client.forwards.endpoints import listener_of, target_of
from farhand_forwards.targets import InetTarget, UnixTarget

TARGETS: list[tuple[tuple[Any, ...], Any]] = [
    (("web", 80, None, "tcp"), InetTarget("web", 80)),
    (("[::1]", 80, None, "udp"), InetTarget("::1", 80, "udp")),
    ((None, None, "/run/x", "tcp"), UnixTarget(b"/run/x")),
    ((None, None, Path("x\udcff"), "tcp"), UnixTarget(b"x\xff")),
]

LISTENERS: list[tuple[tuple[Any, ...], Any]] = [
    ((None, 0, None, "tcp"), InetTarget("", 0)),
    (("localhost", 80, None, "tcp"), InetTarget("", 80)),
    (("*", 80, None, "udp"), InetTarget("*", 80, "udp")),
    (("", 80, None, "tcp"), InetTarget("*", 80)),
    (("::1", 80, None, "tcp"), InetTarget("::1", 80)),
    ((None, 0, b"x", "tcp"), UnixTarget(b"x")),
]


@pytest.mark.parametrize(("arguments", "target"), TARGETS)
def test_a_target_is_host_and_port_or_a_path(arguments: Any, target: Any) -> None:
    assert target_of(*arguments) == target


@pytest.mark.parametrize(("arguments", "where"), LISTENERS)
def test_a_listener_without_a_host_is_on_the_loopback_addresses(arguments: Any, where: Any) -> None:
    assert listener_of(*arguments) == where


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ((None, None, None, "tcp"), TypeError, "needs a host and a port, or a path"),
        (("web", None, None, "tcp"), TypeError, "needs a host and a port, or a path"),
        (("web", 80, "/run/x", "tcp"), TypeError, "not to both"),
        (("", 80, None, "tcp"), ValueError, "use localhost"),
        (("a b", 80, None, "tcp"), ValueError, "a name or an address"),
        (("a/b", 80, None, "tcp"), ValueError, "a name or an address"),
        (("n" * 256, 80, None, "tcp"), ValueError, "256 characters"),
        (("web", 0, None, "tcp"), ValueError, "1 to 65535"),
        (("web", 65536, None, "tcp"), ValueError, "1 to 65535"),
        (("web", "80", None, "tcp"), TypeError, "port is str"),
        ((b"web", 80, None, "tcp"), TypeError, "host is bytes"),
        (("web", 80, None, "sctp"), ValueError, "transport"),
        ((None, None, "/run/x", "udp"), ValueError, "no datagrams"),
        ((None, None, "", "tcp"), ValueError, "1 to 107"),
        ((None, None, "p" * 108, "tcp"), ValueError, "108 bytes"),
        ((None, None, "a\0b", "tcp"), ValueError, "NUL"),
        ((None, None, 3, "tcp"), TypeError, "path is int"),
    ],
)
def test_an_impossible_target_is_an_error_that_says_why(arguments: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        target_of(*arguments)


def test_a_listener_has_one_place() -> None:
    with pytest.raises(TypeError, match="not at both"):
        listener_of("*", 0, "/run/x", "tcp")
    with pytest.raises(TypeError, match="not at both"):
        listener_of(None, 80, "/run/x", "tcp")
