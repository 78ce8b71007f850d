"""Text for people inside messages."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator

MAX_SENTENCE: Final = 2048
"""Characters: with 6 bytes for each (a JSON escape) a message with one sentence fits the smallest message limit."""


def _fit(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.encode(errors="backslashreplace").decode()
    return text if len(text) <= MAX_SENTENCE else text[: MAX_SENTENCE - 1] + "…"


Sentence = Annotated[str, BeforeValidator(_fit)]
"""A text of at most `MAX_SENTENCE` characters. A longer one is cut and a lone surrogate (an undecodable file name,
PEP 383) written as an escape: an error must never fail for what it quotes."""
