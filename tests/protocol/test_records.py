"""Named tuples that behave as those of `typing`."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import Any

import pytest

from farhand_protocol import records


class Ours(records.NamedTuple):
    """A class of ours, beside one of `typing.NamedTuple` with the same fields."""

    first: int
    second: str = "b"

    @property
    def doubled(self) -> int:
        """A property of it."""
        return 2 * self.first


class Theirs(typing.NamedTuple):
    """The same by the standard library."""

    first: int
    second: str = "b"

    @property
    def doubled(self) -> int:
        """A property of it."""
        return 2 * self.first


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_a_record_is_a_tuple_with_names(kind: Any) -> None:
    made = kind(1)
    assert made == (1, "b")
    assert (made.first, made.second, made.doubled) == (1, "b", 2)
    assert kind(second="c", first=1) == kind(1, "c") == made._replace(second="c")
    assert made._asdict() == {"first": 1, "second": "b"}
    assert kind._fields == ("first", "second")
    assert repr(made) == f"{kind.__name__}(first=1, second='b')"
    assert copy.deepcopy(made) == made
    assert type(pickle.loads(pickle.dumps(made))) is kind
    with pytest.raises(AttributeError):
        made.first = 2
    match made:
        case kind(1, second=second):
            assert second == "b"
        case _:
            raise AssertionError


@pytest.mark.parametrize("kind", [Ours, Theirs])
@pytest.mark.parametrize(("values", "named"), [((), {}), ((1, "b", 3), {}), ((1,), {"third": 3}), ((1,), {"first": 3})])
def test_wrong_fields_are_an_error(kind: Any, values: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        kind(*values, **named)
