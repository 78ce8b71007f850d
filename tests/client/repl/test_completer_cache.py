"""What was asked for a moment ago is not asked again."""

from __future__ import annotations

import pytest

from farhand_client.repl.completer import LIFETIME, MOST, Cache

KEY = ("web", "paths", "src/")
PRINTED = b" main.py\0/mail\0 Makefile\0"


@pytest.fixture
def cache() -> Cache:
    made = Cache()
    made.put(KEY, "", PRINTED, 0.0, whole=True)
    return made


@pytest.mark.parametrize(
    ("begin", "printed"), [("", PRINTED), ("ma", b" main.py\0/mail\0"), ("mai", b" main.py\0/mail\0"), ("x", b"")]
)
def test_what_is_typed_on_narrows_it(cache: Cache, begin: str, printed: bytes) -> None:
    assert cache.get(KEY, begin, 1.0) == printed


def test_a_moment_is_short(cache: Cache) -> None:
    assert cache.get(KEY, "", LIFETIME - 0.1) is not None
    assert cache.get(KEY, "", LIFETIME) is None


def test_what_a_line_changes_is_seen(cache: Cache) -> None:
    cache.clear()
    assert cache.get(KEY, "", 1.0) is None


def test_another_place_is_another_question(cache: Cache) -> None:
    assert cache.get(("web", "paths", ""), "", 1.0) is None
    assert cache.get(("db", "paths", "src/"), "", 1.0) is None


def test_hidden_files_are_asked_for(cache: Cache) -> None:
    assert cache.get(KEY, ".", 1.0) is None
    cache.put(KEY, ".", b" .git\0 .env\0", 0.0, whole=True)
    assert cache.get(KEY, ".e", 1.0) == b" .env\0"
    assert cache.get(KEY, "", 1.0) is None


def test_names_that_are_not_all_are_not_narrowed(cache: Cache) -> None:
    cache.put(KEY, "m", PRINTED, 0.0, whole=False)
    assert cache.get(KEY, "m", 1.0) is not None
    assert cache.get(KEY, "mai", 1.0) is None


def test_it_does_not_grow_without_end(cache: Cache) -> None:
    for number in range(MOST):
        cache.put(("web", "paths", str(number)), "", b"", 0.0, whole=True)
    assert cache.get(KEY, "", 1.0) is None
    assert cache.get(("web", "paths", "0"), "", 1.0) == b""
