"""The cache of completions: an answer serves longer beginnings, for a few seconds."""

from __future__ import annotations

import pytest

from farhand_client.repl.completer import CACHE_LIFETIME, MAX_CACHED_ANSWERS, OPTIONS_LIFETIME, CompletionCache

KEY = ("web", "paths", "src/")
PRINTED = b" main.py\0/mail\0 Makefile\0"


@pytest.fixture
def cache() -> CompletionCache:
    made = CompletionCache()
    made.put(KEY, "", PRINTED, 0.0, complete=True)
    return made


@pytest.mark.parametrize(
    ("begin", "printed"), [("", PRINTED), ("ma", b" main.py\0/mail\0"), ("mai", b" main.py\0/mail\0"), ("x", b"")]
)
def test_a_longer_beginning_narrows_the_answer(cache: CompletionCache, begin: str, printed: bytes) -> None:
    assert cache.get(KEY, begin, 1.0) == printed


def test_an_answer_expires(cache: CompletionCache) -> None:
    assert cache.get(KEY, "", CACHE_LIFETIME - 0.1) is not None
    assert cache.get(KEY, "", CACHE_LIFETIME) is None


def test_clearing_removes_all_answers(cache: CompletionCache) -> None:
    cache.clear()
    assert cache.get(KEY, "", 1.0) is None


def test_what_lasts_survives_a_line_and_expires_later(cache: CompletionCache) -> None:
    key = ("web", "arguments", "", "git", "")
    cache.put(key, "--", b"a--all\0n--file=\0", 0.0, complete=True, lasting=True)
    cache.clear()
    assert cache.get(key, "--f", CACHE_LIFETIME + 1) == b"a--all\0n--file=\0", "the query narrows it"
    assert cache.get(key, "--f", OPTIONS_LIFETIME) is None


def test_options_are_not_part_of_the_answer_for_an_empty_beginning_or_a_dash(cache: CompletionCache) -> None:
    assert cache.get(KEY, "-", 1.0) is None
    cache.put(KEY, "-", b"a-a\0", 0.0, complete=True)
    assert cache.get(KEY, "-", 1.0) == b"a-a\0"
    assert cache.get(KEY, "--", 1.0) is None


def test_an_answer_is_for_one_host_and_one_directory(cache: CompletionCache) -> None:
    assert cache.get(("web", "paths", ""), "", 1.0) is None
    assert cache.get(("db", "paths", "src/"), "", 1.0) is None


def test_hidden_files_are_not_part_of_the_answer_for_an_empty_beginning(cache: CompletionCache) -> None:
    assert cache.get(KEY, ".", 1.0) is None
    cache.put(KEY, ".", b" .git\0 .env\0", 0.0, complete=True)
    assert cache.get(KEY, ".e", 1.0) == b" .env\0"
    assert cache.get(KEY, "", 1.0) is None


def test_an_incomplete_answer_is_not_narrowed(cache: CompletionCache) -> None:
    cache.put(KEY, "m", PRINTED, 0.0, complete=False)
    assert cache.get(KEY, "m", 1.0) is not None
    assert cache.get(KEY, "mai", 1.0) is None


def test_the_oldest_answer_is_removed_when_the_cache_is_full(cache: CompletionCache) -> None:
    for number in range(MAX_CACHED_ANSWERS):
        cache.put(("web", "paths", str(number)), "", b"", 0.0, complete=True)
    assert cache.get(KEY, "", 1.0) is None
    assert cache.get(("web", "paths", "0"), "", 1.0) == b""
