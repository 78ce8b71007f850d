"""A forward that cannot be made is named, with what to write instead."""

from __future__ import annotations

import pytest

from farhand_client.errors import ForwardError
from farhand_client.forwards.refusal import refused_forward
from farhand_client.forwards.specs import parse_spec
from farhand_forwards.targets import ForwardCause

BUSY = "another program listens there"


@pytest.mark.parametrize(
    ("text", "cause", "sentence"),
    [
        ("80:db:80", "busy", f"-L 80:db:80: {BUSY}; choose another port, or 0 for any that is free"),
        ("0:db:80", "busy", f"-L 0:db:80: {BUSY}"),
        ("/tmp/s:db:80", "busy", f"-L /tmp/s:db:80: {BUSY}"),
        ("80:db:80", "denied", f"-L 80:db:80: {BUSY}"),
    ],
)
def test_the_forward_is_named(text: str, cause: ForwardCause, sentence: str) -> None:
    refused = refused_forward(parse_spec("-L", text), ForwardError(cause, BUSY))
    assert (refused.cause, str(refused)) == (cause, sentence)
