"""Text for people inside messages."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator

MAX_TEXT: Final = 2048
"""Characters: with 6 bytes for each (a JSON escape) a message with one sentence fits the smallest message limit."""


MAX_SHORT_TEXT: Final = 512
"""Characters: with 6 bytes for each, and a command and a name beside it, it fits that limit as well."""


def _fit(value: Any, limit: int) -> Any:
    if not isinstance(value, str):
        return value
    text = value.encode(errors="backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


Text = Annotated[str, BeforeValidator(lambda value: _fit(value, MAX_TEXT))]
"""A text of at most `MAX_TEXT` characters. A longer one is cut and a lone surrogate (an undecodable file name,
PEP 383) written as an escape: an error must never fail for what it quotes."""

ShortText = Annotated[str, BeforeValidator(lambda value: _fit(value, MAX_SHORT_TEXT))]
"""The same for a part of something larger: at most `MAX_SHORT_TEXT` characters."""
