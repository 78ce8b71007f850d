"""Invalid limits cannot be constructed, and no message comes near the limits."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from farhand_protocol import limits as numbers
from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.limits import MAX_CHANNELS, MAX_PAYLOAD, MAX_WINDOW, MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.model import Argument, EnvironmentName
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


def test_limits_are_values() -> None:
    small = Limits(data=MIN_DATA)
    assert small == Limits().replace(data=MIN_DATA) != Limits()
    assert hash(small) == hash(Limits(data=MIN_DATA))
    assert (small.data, small.window) == (MIN_DATA, Limits().window)
    assert "4096" in repr(small)
    with pytest.raises(AttributeError, match="immutable"):
        small.data = 1
    with pytest.raises(TypeError, match="no such limits: dta"):
        Limits(dta=1)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA, channels=1),
        Limits(message=MAX_PAYLOAD, data=MAX_PAYLOAD, window=MAX_WINDOW, channels=MAX_CHANNELS),
    ],
)
def test_all_valid_limits_can_be_announced(limits: Limits) -> None:
    announced = Connection(Side.CLIENT, limits).announced_limits
    assert announced.model_dump() == {
        "message": limits.message,
        "data": limits.data,
        "window": limits.window,
        "channels": limits.channels,
    }


MESSAGES: list[type[m.Message]] = list(get_args(m.AnyMessage))


def _nesting(kind: Any) -> int:
    """Return how deep the JSON of a type nests: its own array or object, and its contents."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return 1 + max((_nesting(hint) for hint in get_type_hints(kind, include_extras=True).values()), default=0)
    if kind in (Argument, EnvironmentName):
        return 1  # bytes that are not UTF-8 are an object
    inner = max((_nesting(part) for part in get_args(kind)), default=0)
    return inner + (get_origin(kind) is tuple)


def _members(kind: Any) -> int:
    """Return the number of members of the widest object in the JSON of a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return max(
            len(kind.model_fields), *(_members(hint) for hint in get_type_hints(kind, include_extras=True).values())
        )
    return max((_members(part) for part in get_args(kind)), default=0)


def test_the_deepest_and_the_widest_message_are_as_the_limits_say() -> None:
    text = inspect.getsource(numbers)
    deepest, widest = max(map(_nesting, MESSAGES)), max(map(_members, MESSAGES))
    assert f"the deepest model has {deepest}." in text
    assert f"the widest model has {widest}," in text
    assert deepest * 2 <= Limits().nesting
    assert widest * 2 <= Limits().keys
