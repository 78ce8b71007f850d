"""Type checkers know every argument that `run`, `start` and `attach` accept, in each of the combinations."""

from __future__ import annotations

import inspect
from typing import Any, get_overloads

import pytest

from farhand_client import Client
from farhand_client import run_keywords as k
from farhand_client.options import RUN_KEYWORDS, START_KEYWORDS

COMBINATIONS = {
    Client.run: (
        (
            *(k.CapturedBytes, k.CapturedText, k.CapturedEncoded, k.CapturedWithErrors, k.CapturedTranslated),
            *(k.RedirectedBytes, k.RedirectedText, k.RedirectedEncoded, k.RedirectedWithErrors, k.RedirectedTranslated),
            k.AnyOutput,
        ),
        RUN_KEYWORDS,
    ),
    Client.start: ((k.StartWithStdin, k.StartOnTerminal, k.StartAny), START_KEYWORDS),
    Client.attach: ((k.AttachKeywords, k.AttachKeywords), frozenset()),
}


@pytest.mark.parametrize("method", COMBINATIONS, ids=lambda method: method.__name__)
def test_each_combination_has_all_arguments(method: Any) -> None:
    combinations, more = COMBINATIONS[method]
    accepted = set(inspect.signature(method).parameters) - {"self", "args", "options", "run_id", "keywords"} | more
    for combination, overload in zip(combinations, get_overloads(method), strict=True):
        explicit = set(inspect.signature(overload).parameters) - {"self", "args", "options", "run_id", "_"}
        assert set(combination.__annotations__) | explicit == accepted, combination
        assert overload.__annotations__["_"] == f"Unpack[k.{combination.__name__}]"
