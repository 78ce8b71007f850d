"""All connections of an event loop receive into one buffer."""

from __future__ import annotations

from farhand_protocol.buffers import RECEIVE_SIZE, shared_buffer


class Loop:
    """Something that can be referred to weakly."""


def test_each_loop_has_one_buffer_of_its_own() -> None:
    one, other = Loop(), Loop()
    assert shared_buffer(one) is shared_buffer(one)
    assert shared_buffer(one) is not shared_buffer(other)
    assert len(shared_buffer(one)) == RECEIVE_SIZE
