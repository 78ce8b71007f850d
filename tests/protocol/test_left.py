"""A description of left processes is bounded, whatever they are called and however many they are."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from farhand_protocol.left import MAX_PROCESS_NAME, MAX_PROCESS_NAMES, MAX_PROCESS_PIDS, LeftProcesses


def test_the_largest_description_is_accepted() -> None:
    names = ("\x1b" * MAX_PROCESS_NAME,) * MAX_PROCESS_NAMES
    left = LeftProcesses(count=10_000, at_least=True, names=names, pids=tuple(range(1, MAX_PROCESS_PIDS + 1)))
    assert LeftProcesses.model_validate_json(left.model_dump_json()) == left
    assert len(left.model_dump_json()) < 2048


@pytest.mark.parametrize(
    "fields",
    [
        {"names": ["x"] * (MAX_PROCESS_NAMES + 1)},
        {"names": ["x" * (MAX_PROCESS_NAME + 1)]},
        {"pids": [1] * (MAX_PROCESS_PIDS + 1)},
        {"pids": [0]},
        {"count": -1},
        {"kept": True},
    ],
)
def test_anything_larger_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LeftProcesses.model_validate({"count": 1} | fields)


@pytest.mark.parametrize(("count", "at_least", "text"), [(1, False, "1 process"), (2, True, "at least 2 processes")])
def test_they_are_counted_in_words(count: int, at_least: bool, text: str) -> None:
    assert LeftProcesses(count=count, at_least=at_least).counted == text
