"""Messages on channel 0: the ranges of what the first messages announce."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from farhand_protocol import messages as m
from farhand_protocol.limits import MAX_CHANNELS, MAX_PAYLOAD, MAX_WINDOW, MIN_DATA, MIN_MESSAGE, Limits
from tests.support.pairs import hello, welcome

LIMITS = {"message": MIN_MESSAGE, "data": MIN_DATA, "window": MIN_DATA, "channels": 1}


def test_the_first_messages_are_received_as_sent() -> None:
    for message in (hello(), welcome(), welcome(login=True)):
        assert m.decode(m.encode(message), Limits()) == message


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("message", MIN_MESSAGE, MAX_PAYLOAD),
        ("data", MIN_DATA, MAX_PAYLOAD),
        ("window", MIN_DATA, MAX_WINDOW),
        ("channels", 1, MAX_CHANNELS),
    ],
)
def test_announced_limits_are_in_range(name: str, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        assert m.AnnouncedLimits.model_validate(LIMITS | {name: value}).model_dump()[name] == value
    for value in (lowest - 1, highest + 1):
        with pytest.raises(ValidationError, match=name):
            m.AnnouncedLimits.model_validate(LIMITS | {name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"versions": []},
        {"versions": [0]},
        {"versions": list(range(1, 18))},
        {"features": ["UPPER"]},
        {"features": ["x"] * 65},
        {"nonce": "AA=="},
        {"user": ""},
        {"server": "x" * 256},
    ],
)
def test_a_hello_keeps_to_its_ranges(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        m.Hello.model_validate_json(json.dumps(json.loads(m.encode(hello())) | changes))
