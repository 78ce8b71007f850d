"""The rest of a line is suggested from the history, and taken as a whole or word by word."""

from __future__ import annotations

import asyncio
import time

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from farhand_client.repl.suggestion import NEXT_WORD, HistorySuggester, suggestion_bindings

ENTRIES = ["for x in a\ndo\n echo $x\ndone", "git commit -m x", "git checkout main", "git", "git commit -m x", "make"]


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("g", "it commit -m x"),
        ("git ch", "eckout main"),
        ("git commit -m x", None),
        ("git commit -m y", None),
        ("", None),
        (" ", None),
        (" g", None),
        ("m", "ake"),
        ("for", " x in a"),
        ("for x in a", None),
        ("for x in a\n", "do"),
        ("for x in a\ndo\n ", "echo $x"),
    ],
)
def test_the_latest_entry_that_begins_with_the_text_is_suggested(typed: str, suggested: str | None) -> None:
    found = HistorySuggester(lambda: ENTRIES).get_suggestion(Buffer(), Document(typed))
    assert (found.text if found is not None else None) == suggested


@pytest.mark.parametrize(
    ("suggestion", "words"),
    [
        ("it commit -m x", ["it ", "commit ", "-m ", "x"]),
        (" commit", [" commit"]),
        ("/usr/local/bin", ["/", "usr/", "local/", "bin"]),
        ("  a", ["  a"]),
    ],
)
def test_a_suggestion_is_taken_word_by_word(suggestion: str, words: list[str]) -> None:
    taken = []
    while suggestion:
        word = NEXT_WORD.match(suggestion)
        assert word is not None
        taken.append(word[0])
        suggestion = suggestion[word.end() :]
    assert taken == words


def test_ten_thousand_entries_are_searched_without_delay() -> None:
    entries = [f"command number {number} with some arguments" for number in range(10_000)]
    suggester, document = HistorySuggester(lambda: entries), Document("command nowhere")
    began = time.process_time()
    for _ in range(20):
        assert suggester.get_suggestion(Buffer(), document) is None
    assert time.process_time() - began < 5  # one search takes a millisecond


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("\x1b[C", "git commit -m x"),
        ("\x1b[F", "git commit -m x"),
        ("\x05", "git commit -m x"),
        ("\x06", "git commit -m x"),
        ("\x1bf", "git "),
        ("\x1b[1;5C", "git "),
        ("\x1b[1;3C", "git "),
        ("\x1b[D\x1bf", "g"),
        ("", "g"),
    ],
)
async def test_keys_take_all_or_a_word_of_what_is_suggested(keys: str, line: str) -> None:
    with create_pipe_input() as typed:
        shown = asyncio.Event()
        session: PromptSession[str] = PromptSession(
            auto_suggest=HistorySuggester(lambda: ENTRIES),
            key_bindings=suggestion_bindings(),
            input=typed,
            output=DummyOutput(),
        )

        def rendered(app: object) -> None:
            if session.default_buffer.suggestion is not None:
                shown.set()

        session.app.after_render += rendered
        reading = asyncio.ensure_future(session.prompt_async())
        typed.send_text("g")
        await asyncio.wait_for(shown.wait(), 10)
        typed.send_text(keys + "\r")
        assert await asyncio.wait_for(reading, 10) == line
