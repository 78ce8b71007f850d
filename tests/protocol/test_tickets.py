"""A ticket is shown as the name of an application protocol, with a proof that is good for once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import ALPN
from farhand_protocol.tickets import MAX_TICKET, IssuedTicket, shown_ticket

SECRET, NONCE = b"s" * 16, b"nonce..."


@given(
    st.binary(min_size=1, max_size=MAX_TICKET), st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8)
)
def test_a_ticket_is_read_as_it_was_shown(ticket: bytes, secret: bytes, nonce: bytes) -> None:
    name = IssuedTicket(ticket, secret).protocol(nonce)
    assert len(name) <= 255
    shown = shown_ticket([ALPN.encode(), name.encode()])
    assert shown is not None
    assert (shown.ticket, shown.nonce) == (ticket, nonce)
    assert shown.proves(secret)


def test_only_who_has_the_secret_can_show_a_ticket_again() -> None:
    shown = shown_ticket([IssuedTicket(b"ticket", SECRET).protocol(NONCE).encode()])
    assert shown is not None
    assert not shown.proves(b"S" * 16)
    assert not shown._replace(nonce=b"another.").proves(SECRET)
    assert SECRET not in shown.proof


@pytest.mark.parametrize(
    ("ticket", "secret", "nonce"),
    [(b"", SECRET, NONCE), (b"t" * (MAX_TICKET + 1), SECRET, NONCE), (b"t", b"short", NONCE), (b"t", SECRET, b"short")],
)
def test_parts_of_another_size_cannot_be_shown(ticket: bytes, secret: bytes, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="a ticket of"):
        IssuedTicket(ticket, secret).protocol(nonce)


@pytest.mark.parametrize(
    "names",
    [
        [],
        [b"farhand/1"],
        [b"farhand-ticket/"],
        [b"farhand-ticket/" + b"A" * 32],  # nonce and proof without a ticket
        [b"farhand-ticket/" + b"A" * 33],
        [b"farhand-ticket/" + b"A" * 34 + b"+/"],
        [b"farhand-ticket/" + b"A" * 35 + b"="],
        [b"farhand-ticket/" + b"A" * 33 + b"B"],  # padding bits that are not zero
        [b"farhand-ticket/" + b"A" * 30 + b" A"],
        [b"farhand-ticket/" + b"\xff" * 40],
        [b"Farhand-ticket/" + b"A" * 36],
        [b"farhand-ticket/" + b"AAAA" * 60],
        [b"farhand-ticket/!", b"farhand-ticket/" + b"A" * 36],
    ],
)
def test_names_that_show_no_ticket(names: list[bytes]) -> None:
    assert shown_ticket(names) is None


@given(st.lists(st.binary(max_size=255), max_size=4))
def test_arbitrary_names_are_never_an_error(names: list[bytes]) -> None:
    shown_ticket([b"farhand-ticket/" + name for name in names])
