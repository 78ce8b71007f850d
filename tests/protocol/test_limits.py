"""Limits that cannot be kept cannot be made."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_protocol.connection import Connection
from farhand_protocol.limits import MAX_CHANNELS, MAX_PAYLOAD, MAX_WINDOW, MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.states import Side


@pytest.mark.parametrize(
    "limits",
    [
        {"message": MIN_MESSAGE - 1, "login_message": MIN_MESSAGE - 1},
        {"login_message": MIN_MESSAGE - 1},
        {"login_message": 2 * MIN_MESSAGE, "message": MIN_MESSAGE},
        {"message": MAX_PAYLOAD + 1},
        {"data": MIN_DATA - 1},
        {"data": MAX_PAYLOAD + 1, "window": MAX_WINDOW},
        {"data": MIN_DATA + 1, "window": MIN_DATA},
        {"window": MAX_WINDOW + 1},
        {"channels": 0},
        {"channels": MAX_CHANNELS + 1},
    ],
)
def test_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        Limits(**limits)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA, channels=1),
        Limits(message=MAX_PAYLOAD, data=MAX_PAYLOAD, window=MAX_WINDOW, channels=MAX_CHANNELS),
    ],
)
def test_whatever_can_be_made_can_be_announced(limits: Limits) -> None:
    announced = Connection(Side.CLIENT, limits).announced
    assert announced.model_dump() == {
        "message": limits.message,
        "data": limits.data,
        "window": limits.window,
        "channels": limits.channels,
    }
