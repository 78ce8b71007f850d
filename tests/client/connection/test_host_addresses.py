"""The addresses of a host, and what is said if none accepts."""

from __future__ import annotations

import socket

import pytest

from farhand_client.connection.host_addresses import (
    alternating,
    connect_failure,
    numeric_addresses,
    resolved_addresses,
    socket_failure,
)


def test_an_address_needs_no_resolver() -> None:
    assert numeric_addresses("127.0.0.1", 7022) == [(socket.AF_INET, ("127.0.0.1", 7022))]
    assert numeric_addresses("::1", 7022) == [(socket.AF_INET6, ("::1", 7022, 0, 0))]
    assert numeric_addresses("localhost", 7022) == numeric_addresses("name.invalid", 7022) == []


def test_a_name_is_resolved() -> None:
    assert (socket.AF_INET, ("127.0.0.1", 80)) in resolved_addresses("localhost", 80)
    with pytest.raises(socket.gaierror):
        resolved_addresses("name.invalid", 80)


def test_families_take_turns() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    assert list(alternating([(six, 1), (six, 2), (six, 3), (four, 4)])) == [(six, 1), (four, 4), (six, 2), (six, 3)]
    assert not alternating([])


def test_failures_are_named() -> None:
    refused, other = ConnectionRefusedError(111, "refused"), OSError(113, "No route to host")
    assert (
        connect_failure("web", 1, refused) == "nothing listens on web port 1; does farhandd run there, with --listen?"
    )
    assert connect_failure("web", 1, other) == "cannot connect to web port 1: No route to host"
    assert socket_failure("/s", FileNotFoundError(2, "no")) == "there is no socket at /s; is farhandd running?"
    assert socket_failure("/s", refused) == "nothing listens on the socket /s; is farhandd running?"
    assert socket_failure("/s", other) == "cannot connect to the socket /s: No route to host"
