"""Names: a path from the other side is accepted only if it leads to a place below the destination."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_files.names import MAX_COMPONENT, BadName, check_path, entry_path, folded, is_temporary, spellings
from farhand_files.wire import MAX_PATH

TEMPORARY = b".farhand-0123456789abcdef-00ff00ff.part"


@pytest.mark.parametrize(
    "path",
    [
        *(b"a", b"a/b/c", b"\xff\n", b"...", b"..a", b"a..", b"-", b"~", b"a b", b"\\", b"c:", b"n" * MAX_COMPONENT),
        *(TEMPORARY + b"2", b"x" + TEMPORARY, b".farhand-"),
        *("é".encode(), unicodedata.normalize("NFD", "é").encode()),
    ],
)
def test_a_path_is_split_into_its_names_unchanged(path: bytes) -> None:
    assert check_path(path) == tuple(path.split(b"/"))


def test_the_empty_path_is_the_destination_itself() -> None:
    assert check_path(b"") == ()


def test_the_longest_path_is_accepted() -> None:
    longest = b"/".join([b"n" * MAX_COMPONENT] * 16)
    assert len(longest) == MAX_PATH - 1
    assert len(check_path(longest)) == 16
    assert len(check_path(b"ab/" + longest[2:])) == 17


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (b"/", "is absolute"),
        (b"/etc/passwd", "is absolute"),
        (b"..", "contains '..'"),
        (b"../x", "contains '..'"),
        (b"a/../../x", "contains '..'"),
        (b"a/..", "contains '..'"),
        (b".", "contains '.', which is no name"),
        (b"./a", "contains '.', which is no name"),
        (b"a/./b", "contains '.', which is no name"),
        (b"a//b", "has an empty component"),
        (b"a/", "has an empty component"),
        (b"a\0b", "contains a NUL character"),
        (b"a/" + b"n" * (MAX_COMPONENT + 1), "has a component of 256 bytes; the maximum is 255"),
        (b"a/" * (MAX_PATH // 2) + b"b", "has 4097 bytes; the maximum is 4096"),
        (TEMPORARY, "reserved for temporary files"),
        (b"a/" + TEMPORARY + b"/b", "reserved for temporary files"),
        (b"a/" + TEMPORARY.upper(), "reserved for temporary files"),
    ],
)
def test_what_leads_elsewhere_is_refused_and_says_why(path: bytes, why: str) -> None:
    with pytest.raises(BadName) as refused:
        check_path(path)
    assert why in str(refused.value)


def test_a_refusal_shows_a_long_or_hostile_path_briefly() -> None:
    with pytest.raises(BadName) as refused:
        check_path(b"\x1b[2J\n" + b"n" * 5000)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


@given(st.binary(max_size=40) | st.lists(st.sampled_from([b"..", b".", b"", b"a", b"\xff"])).map(b"/".join))
def test_what_is_accepted_never_leads_above_its_beginning(path: bytes) -> None:
    try:
        names = check_path(path)
    except BadName:
        return
    assert b"/".join(names) == path
    joined = os.path.normpath(os.path.join(b"/top", *names))
    assert joined == b"/top" + (b"/" + path if path else b"")


@pytest.mark.parametrize("name", [TEMPORARY, TEMPORARY.upper()])
def test_the_receivers_own_temporary_files_are_known(name: bytes) -> None:
    assert is_temporary(name)


@pytest.mark.parametrize("name", [b"", b".farhand-.part", TEMPORARY + b"\n", TEMPORARY[:-1], b"x" + TEMPORARY])
def test_other_names_are_no_temporary_files(name: bytes) -> None:
    assert not is_temporary(name)


@pytest.mark.parametrize(
    ("one", "other"), [("README", "readme"), ("Straße", "STRASSE"), ("é", "e\u0301"), ("É.txt", "e\u0301.TXT")]
)
def test_spellings_that_may_not_be_distinguished_have_a_form_in_common(one: str, other: str) -> None:
    assert folded(one.encode()) == folded(other.encode())


@given(st.binary(max_size=40))
def test_any_name_has_a_form_and_no_other_spelling_is_itself(name: bytes) -> None:
    others = spellings(name)
    assert name not in others
    assert all(folded(other) == folded(folded(name)) or not name.isascii() for other in others)


def test_a_spelling_differs_by_case_or_form() -> None:
    assert spellings(b"ReadMe") == {b"readme", b"README"}
    assert spellings("é".encode()) == {"É".encode(), "e\u0301".encode()}
    assert spellings(b"1-2") == set()
    assert spellings(b"\xff") == set()


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        (b"site/a", b"site/a"),
        (b"/srv/www/site/a", b"site/a"),
        (b"/srv/site/b", None),
        (b"/srv/mysite/a", None),
        (b"x/a", b"a"),
        (b"", None),
    ],
)
def test_the_entry_is_found_that_a_side_has_named_by_its_own_path(named: bytes, meant: bytes | None) -> None:
    assert entry_path(named, {b"site/a": 1, b"a": 2} if meant == b"a" else {b"site/a": 1}) == meant
    assert entry_path(named, ()) is None
