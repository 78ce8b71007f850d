"""Patterns of files: what they match, and what they do not."""

from __future__ import annotations

import errno
import fnmatch
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files import globs
from farhand_files.globs import compile_pattern, expand, is_pattern, matches
from farhand_files.opening import Area

UNRESTRICTED = Area(None, b"/")


def fits(pattern: bytes, name: bytes) -> bool:
    return matches(compile_pattern(pattern), name)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        (b"*", b"", True),
        (b"*.gz", b"a.gz", True),
        (b"*.gz", b"a.gzz", False),
        (b"a*b*c", b"a1b2b3c", True),
        (b"a*b*c", b"a1b2b3", False),
        (b"**", b"x", True),
        (b"?", b"x", True),
        (b"?", b"", False),
        (b"?", "é".encode(), True),
        (b"?", b"\xff", True),
        (b"[\xff]", b"\xff", True),
        (b"[abc]", b"b", True),
        (b"[!abc]", b"b", False),
        (b"[^abc]", b"d", True),
        (b"[a-c]x", b"cx", True),
        (b"[a-c]", b"d", False),
        (b"[]]", b"]", True),
        (b"[!]]", b"]", False),
        (b"[a-]", b"-", True),
        (b"[[:digit:][:upper:]]", b"7", True),
        (b"[[:digit:]]", b"x", False),
        (b"[[:none:]]", b"n]", True),
        (b"[", b"[", True),
        (b"[ab", b"[ab", True),
        (b"\\*", b"*", True),
        (b"\\*", b"x", False),
        (b"[\\]]", b"]", True),
        (b"a\\", b"a\\", True),
        (b"a\nb*", b"a\nbc", True),
    ],
)
def test_a_pattern_matches_as_in_glob_7(pattern: bytes, name: bytes, expected: bool) -> None:
    assert fits(pattern, name) is expected


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_stars_and_question_marks_match_as_in_fnmatch(pattern: str, name: str) -> None:
    assert fits(pattern.encode(), name.encode()) is fnmatch.fnmatchcase(name, pattern)


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_no_bytes_break_the_matching(pattern: bytes, name: bytes) -> None:
    assert fits(pattern, name) in (True, False)


def test_matching_takes_no_exponential_time() -> None:
    assert not fits(b"*a" * 100 + b"b", b"a" * 255)


@pytest.fixture
def tree(tmp_path: Path) -> bytes:
    for name in ("a1/x.gz", "a1/y.txt", "a2/x.gz", "b/z.gz", ".hidden/x.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".dot").write_bytes(b"")
    (tmp_path / "link").symlink_to("a1")
    return os.fsencode(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (b"a*", [b"a1", b"a2"]),
        (b"*", [b"a1", b"a2", b"b", b"link"]),
        (b".*", [b".dot", b".hidden"]),
        (b"a*/*.gz", [b"a1/x.gz", b"a2/x.gz"]),
        (b"*/x.gz", [b"a1/x.gz", b"a2/x.gz", b"link/x.gz"]),
        (b"a*/", [b"a1/", b"a2/"]),
        (b"*/y.txt", [b"a1/y.txt", b"link/y.txt"]),
        (b"none*", []),
        (b"none/*", []),
        (b".dot/*", []),
        (b"a1", [b"a1"]),
        (b"missing", [b"missing"]),
    ],
)
def test_a_pattern_is_expanded_to_sorted_paths(tree: bytes, pattern: bytes, expected: list[bytes]) -> None:
    assert expand(Area(None, tree), pattern) == expected
    if is_pattern(pattern):
        assert expand(UNRESTRICTED, tree + b"/" + pattern) == [tree + b"/" + each for each in expected]


def test_a_name_that_exists_wins_over_what_it_would_match(tree: bytes) -> None:
    with open(tree + b"/a[12]", "wb"):
        pass
    assert expand(Area(None, tree), b"a[12]") == [b"a[12]"]


def test_a_pattern_matches_nothing_outside_of_what_may_be_read(tree: bytes) -> None:
    with pytest.raises(PermissionError):
        expand(Area([tree + b"/a1"], tree), b"b/*")


def test_too_many_matches_are_refused(tree: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(globs, "MAX_MATCHES", 2)
    with pytest.raises(OSError, match="more than 2 files match") as raised:
        expand(Area(None, tree), b"*")
    assert raised.value.errno == errno.E2BIG
    with pytest.raises(OSError, match="more than 2 files match"):
        expand(Area(None, tree), b"a*/*")
