"""A ticket is shown as the name of an application protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import ALPN
from farhand_protocol.tickets import MAX_TICKET, shown_ticket, ticket_protocol


@given(st.binary(min_size=1, max_size=MAX_TICKET))
def test_a_ticket_is_read_as_it_was_shown(ticket: bytes) -> None:
    name = ticket_protocol(ticket)
    assert len(name) <= 255
    assert shown_ticket([ALPN.encode(), name.encode()]) == ticket


@pytest.mark.parametrize("size", [0, MAX_TICKET + 1])
def test_a_ticket_of_another_size_cannot_be_shown(size: int) -> None:
    with pytest.raises(ValueError, match=f"not {size}"):
        ticket_protocol(bytes(size))


@pytest.mark.parametrize(
    "names",
    [
        [],
        [b"farhand/1"],
        [b"farhand-ticket/"],
        [b"farhand-ticket/A"],
        [b"farhand-ticket/A+/A"],
        [b"farhand-ticket/AA A"],
        [b"farhand-ticket/\xff\xff\xff\xff"],
        [b"Farhand-ticket/AAAA"],
        [b"farhand-ticket/" + b"AAAA" * 43],
        [b"farhand-ticket/!", b"farhand-ticket/AAAA"],
    ],
)
def test_names_that_show_no_ticket(names: list[bytes]) -> None:
    assert shown_ticket(names) is None


@given(st.lists(st.binary(max_size=255), max_size=4))
def test_arbitrary_names_are_never_an_error(names: list[bytes]) -> None:
    shown_ticket([b"farhand-ticket/" + name for name in names])
