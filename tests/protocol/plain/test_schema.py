"""The generated module says what the models say."""

from __future__ import annotations

from tests.support.plain_schema import PATH, schema


def test_the_schema_is_that_of_the_models() -> None:
    assert PATH.read_text() == schema(), "run: python -m tests.support.plain_schema"
