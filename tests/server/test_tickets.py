"""A ticket is valid for a month, with the key it was made with, and shows nobody else whose it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.tickets import IssuedTicket, shown_ticket
from farhand_server.tickets import TICKET_KEY_FILE, TICKET_LIFETIME, TICKET_SIZE, Ticket, TicketKey, ticket_key

NOW = 1_900_000_000.0
KEY = TicketKey(b"k" * 16)


def read(issued: IssuedTicket, now: float = NOW, key: TicketKey = KEY) -> Ticket | None:
    shown = shown_ticket([issued.protocol(b"nonce...").encode()])
    assert shown is not None
    return key.read(shown, now)


def test_a_ticket_stands_for_its_user_until_it_expires() -> None:
    issued = KEY.issue("alice", NOW)
    assert len(issued.ticket) == TICKET_SIZE
    found = read(issued)
    assert found is not None
    assert found.nonce == b"nonce..."
    assert read(issued, NOW + TICKET_LIFETIME - 1) == found
    assert read(issued, NOW + TICKET_LIFETIME) is None
    assert read(issued, NOW - 3600) is None, "the clock was set back"


def test_the_tickets_of_a_user_have_one_holder_and_nothing_else_in_common() -> None:
    first, second, other = (KEY.issue(user, NOW) for user in ("alice", "alice", "bob"))
    one, two, three = read(first), read(second), read(other)
    assert one is not None
    assert two is not None
    assert three is not None
    assert one.holder == two.holder != three.holder
    assert one.id != two.id
    parts = [{ticket[at : at + 4] for at in range(1, TICKET_SIZE - 4)} for ticket in (first.ticket, second.ticket)]
    assert not parts[0] & parts[1]
    assert first.secret != second.secret
    assert b"alice" not in first.ticket


def test_a_ticket_without_its_secret_is_worth_nothing() -> None:
    issued = KEY.issue("alice", NOW)
    assert read(issued._replace(secret=b"s" * 16)) is None


def test_a_ticket_of_another_key_is_worth_nothing() -> None:
    assert read(KEY.issue("alice", NOW), key=TicketKey(b"K" * 16)) is None


def test_a_ticket_with_a_changed_bit_is_worth_nothing() -> None:
    issued = KEY.issue("alice", NOW)
    for bit in range(TICKET_SIZE * 8):
        changed = bytearray(issued.ticket)
        changed[bit // 8] ^= 1 << bit % 8
        # Even with the secret that belongs to it, as far as it can be known.
        assert read(IssuedTicket(bytes(changed), issued.secret)) is None


@given(st.binary(min_size=1, max_size=2 * TICKET_SIZE))
def test_arbitrary_bytes_are_no_ticket(data: bytes) -> None:
    assert read(IssuedTicket(data, b"s" * 16)) is None


def test_the_key_outlives_the_process_in_a_private_file(tmp_path: Path) -> None:
    key = ticket_key(tmp_path)
    file = tmp_path / TICKET_KEY_FILE
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (key.key, 0o600)
    assert ticket_key(tmp_path).key == key.key


@pytest.mark.parametrize(("content", "mode"), [(b"short", 0o600), (b"k" * 17, 0o600), (b"k" * 16, 0o644), (b"", 0o600)])
def test_a_key_that_cannot_be_used_is_replaced(tmp_path: Path, content: bytes, mode: int) -> None:
    file = tmp_path / TICKET_KEY_FILE
    file.write_bytes(content)
    file.chmod(mode)
    key = ticket_key(tmp_path)
    assert key.key != content
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (key.key, 0o600)


def test_without_a_place_for_the_key_tickets_last_as_long_as_the_process(tmp_path: Path) -> None:
    assert ticket_key(tmp_path / "nothing_here").key != ticket_key(tmp_path / "nothing_here").key
    os.mkfifo(tmp_path / TICKET_KEY_FILE, 0o600)
    key = ticket_key(tmp_path)
    assert read(key.issue("alice", NOW), key=key)
