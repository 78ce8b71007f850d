"""What words name here and there, and which names complete them."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.repl.completion import MAX_NAMES, completion_query
from farhand_client.repl.paths import local_names, local_paths, remote_path


@pytest.mark.parametrize(
    ("word", "directory", "path"),
    [
        ("a", None, b"a"),
        ("a", b"/srv", b"/srv/a"),
        ("/a", b"/srv", b"/a"),
        ("~", b"/srv", b"."),
        ("~/a", b"/srv", b"a"),
        ("~ann", None, b"~ann"),
        ("\udcff", b"/\xfe", b"/\xfe/\xff"),
    ],
)
def test_remote_paths_begin_where_the_shell_is(word: str, directory: bytes | None, path: bytes) -> None:
    assert remote_path(word, directory) == path


def test_a_pattern_stands_for_what_matches_unless_a_file_has_that_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    (home / "b[1]").touch()
    (home / "b1").touch()
    (home / "b2").touch()
    assert local_paths("b[1]") == [b"b[1]"]
    assert local_paths("b?") == [b"b1", b"b2"]
    assert local_paths("none*") == [b"none*"]
    assert local_paths("~/b1") == [bytes(home / "b1")]


def test_names_here_are_completed_as_names_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "sub dir").mkdir()
    (home / "sub dir/.hidden").touch()
    (home / "sub dir/shown").touch()
    (home / "surface").symlink_to("missing")

    def completed(words: str) -> list[str]:
        query = completion_query(f"cat {words}")
        assert query is not None
        query = query.without_bash()
        return [answer.text for answer in query.answers(local_names(query))]

    assert completed("su") == ["sub\\ dir/", "surface"]
    assert completed("sub\\ dir/") == ["shown "]
    assert completed("'sub dir/.") == [".hidden' "]
    assert completed("~/sub\\ dir/s") == ["shown "]
    assert completed("missing/") == []
    for number in range(MAX_NAMES + 10):
        (home / f"m{number}").touch()
    assert len(completed("m")) == MAX_NAMES
