"""Selection: what the options of a transfer take, with the excludes of gitignore(5), whatever bytes names have."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files.options import TransferOptions
from farhand_files.selection import Selection
from farhand_files.wire import WireError


def selection(*excludes: str, **options: Any) -> Selection:
    return Selection(TransferOptions("put", (b"x",), excludes=excludes, **options))


def taken(excludes: list[str], paths: list[bytes]) -> list[bytes]:
    """Return the paths that are taken; a directory's ends with a slash. What is below one that is not is not asked."""
    chosen = selection(*excludes)
    kept: list[bytes] = []
    left: list[bytes] = []
    for path in paths:
        if any(path.startswith(directory) for directory in left):
            continue
        takes = chosen.takes(path.rstrip(b"/"), path.endswith(b"/"), 1, 1)
        (kept if takes else left if path.endswith(b"/") else []).append(path)
    return kept


@pytest.mark.parametrize(
    ("excludes", "paths", "kept"),
    [
        ([], [b"a", b"b/"], [b"a", b"b/"]),
        (["*.o"], [b"a.o", b"b/", b"b/a.o", b"b/a.c"], [b"b/", b"b/a.c"]),
        (["*.o", "!keep.o"], [b"a.o", b"keep.o", b"b/", b"b/keep.o"], [b"keep.o", b"b/", b"b/keep.o"]),
        (["!keep.o", "*.o"], [b"keep.o"], []),
        (["build/"], [b"build", b"c/", b"c/build/", b"c/build/x"], [b"build", b"c/"]),
        (["/build"], [b"build", b"c/", b"c/build"], [b"c/", b"c/build"]),
        (["c/build"], [b"c/", b"c/build", b"d/", b"d/c/", b"d/c/build"], [b"c/", b"d/", b"d/c/", b"d/c/build"]),
        (["x/**", "!x/y/", "!*/z"], [b"x/", b"x/y/", b"x/y/a", b"x/y/z"], [b"x/", b"x/y/"]),
        (["x/**"], [b"x/", b"x/a", b"y/", b"y/x/", b"y/x/a"], [b"x/", b"y/", b"y/x/", b"y/x/a"]),
        (["x/**", "!x/keep"], [b"x/", b"x/a", b"x/keep"], [b"x/", b"x/keep"]),
        (["x/**/"], [b"x/", b"x/a", b"x/b/"], [b"x/", b"x/a"]),
        (["d/", "!d/keep"], [b"d/", b"d/keep"], []),
        (["# no pattern", "", "/"], [b"# no pattern", b"a"], [b"# no pattern", b"a"]),
        (["\\#a", "\\!b"], [b"#a", b"!b", b"a", b"b"], [b"a", b"b"]),
        (["a  ", "b\\  "], [b"a", b"b", b"b ", b"a  "], [b"b", b"a  "]),
        (["a\t"], [b"a", b"a\t"], [b"a"]),
        (["à"], ["à".encode(), b"\xc3"], [b"\xc3"]),
        (["?"], [b"\n", b"\xff", "à".encode(), b"ab"], ["à".encode(), b"ab"]),
        (["*"], [b"\n", b"\xff\n", b"a/"], []),
        (["\udcff*"], [b"\xff\n", b"\xfe"], [b"\xfe"]),
        (["x["], [b"x[", b"x"], [b"x[", b"x"]),
        (["[!a-c]"], [b"a", b"d"], [b"a"]),
        (["[[x]"], [b"[", b"x", b"y"], [b"y"]),
    ],
)
def test_excludes_mean_what_they_mean_to_git(excludes: list[str], paths: list[bytes], kept: list[bytes]) -> None:
    assert taken(excludes, paths) == kept


def test_the_directory_that_is_transferred_itself_is_taken() -> None:
    assert selection("*").takes(b"", True)


@pytest.mark.parametrize("exclude", ["\\", "a\\", "[z-a]", "!"])
def test_what_is_no_pattern_is_refused(exclude: str) -> None:
    with pytest.raises(WireError, match="no pattern of gitignore"):
        selection(exclude)


def test_a_class_of_characters_is_refused_because_it_would_mean_something_else() -> None:
    with pytest.raises(WireError, match=r"write a range such as \[a-z\] instead"):
        selection("[[:alpha:]]")


@pytest.mark.parametrize(
    ("options", "size", "mtime", "takes"),
    [
        ({"max_size": 10}, 10, 0, True),
        ({"max_size": 10}, 11, 0, False),
        ({"max_size": 10}, -1, 0, True),  # its size is unknown
        ({"newer_than": 5}, 0, 6, True),
        ({"newer_than": 5}, 0, 5, False),
        ({"max_size": 10, "newer_than": 5}, 11, 6, False),
        ({"max_size": 10, "newer_than": 5, "delete": True}, 11, 4, True),  # the receiver has to know that it exists
    ],
)
def test_sizes_and_times_select_regular_files(options: dict[str, Any], size: int, mtime: int, takes: bool) -> None:
    assert selection(**options).takes(b"file", False, size, mtime) is takes
    assert selection(**options).takes(b"directory", True)


def test_what_is_too_large_is_not_excluded() -> None:
    assert not selection("a", max_size=1).excludes(b"b", False)


@given(st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & set(b"/\0")))
def test_any_name_can_be_excluded_by_naming_it(name: bytes) -> None:
    pattern = b"/" + b"".join(b"\\" + bytes((each,)) for each in name)
    chosen = selection(pattern.decode("utf-8", "surrogateescape"))
    assert not chosen.takes(name, False)
    assert chosen.takes(name + b"x", False)


def test_a_thousand_excludes_are_accepted() -> None:
    chosen = selection(*(f"*{'name' * 10}{number}" for number in range(1000)))
    assert not chosen.takes(b"x" + b"name" * 10 + b"7", False)


def test_too_many_or_too_long_excludes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_files.selection.MAX_MEMORY", 1 << 16)
    with pytest.raises(WireError, match="too many or too long"):
        selection("?" * 1000, "*" + "a" * 1000)


def test_a_pattern_that_is_hard_for_others_is_matched_in_linear_time() -> None:
    assert selection("*a" * 60 + "b").takes(b"a" * 255, False)


def test_patterns_cost_nothing_without_excludes() -> None:
    program = """if True:
        import sys
        from farhand_files.options import TransferOptions
        from farhand_files.selection import Selection
        assert Selection(TransferOptions("put", (b"x",))).takes(b"x", False, 1, 1)
        sys.exit("pathspec" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
