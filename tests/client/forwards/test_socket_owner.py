"""The owner of a socket is the user that the kernel lists for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from farhand_client.forwards import socket_owner
from farhand_client.forwards.socket_owner import datagram_owners, stream_owner


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_both_ends_of_a_connection_are_this_users(family: socket.AddressFamily, host: str) -> None:
    try:
        listening = socket.create_server((host, 0), family=family)
    except OSError:
        return  # this machine has no IPv6
    with listening, socket.create_connection(listening.getsockname()[:2]) as near:
        far, _ = listening.accept()
        with far:
            assert stream_owner(near.getsockname()[:2], near.getpeername()[:2]) == os.getuid()
            assert stream_owner(far.getsockname()[:2], far.getpeername()[:2]) == os.getuid()
            assert stream_owner(near.getsockname()[:2], (host, 1)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_socket_for_datagrams_is_found_by_the_address_that_it_sends_from(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        port = sock.getsockname()[1]
        assert datagram_owners(("127.0.0.1", port)) == {os.getuid()}
    assert datagram_owners(("127.0.0.1", port)) == frozenset()


LINE = "  1: {local} {remote} 01 00000000:00000000 00:00000000 00000000 {uid:5} 0 1 2 0000000000000000 0\n"


def test_an_address_that_is_mapped_into_ipv6_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = "0000000000000000FFFF00000100007F"
    (tmp_path / "tcp6").write_text("head\n" + LINE.format(local=f"{mapped}:1F90", remote=f"{mapped}:0438", uid=7))
    monkeypatch.setattr(socket_owner, "_LISTS", tmp_path)
    assert stream_owner(("127.0.0.1", 8080), ("127.0.0.1", 1080)) == 7
    assert stream_owner(("::ffff:127.0.0.1", 8080), ("::ffff:127.0.0.1", 1080)) == 7


def test_another_users_socket_of_the_same_port_is_another_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        LINE.format(local="0200007F:1F90", remote="00000000:0000", uid=7),
        LINE.format(local="0100007F:1F90", remote="00000000:0000", uid=8),
    ]
    (tmp_path / "udp").write_text("head\n" + "".join(lines))
    monkeypatch.setattr(socket_owner, "_LISTS", tmp_path)
    assert datagram_owners(("127.0.0.1", 8080)) == {8}
