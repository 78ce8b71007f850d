"""What is moved is a path or an open file; whatever else was passed, the error says what to pass instead."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from farhand_client.files.places import (
    OpenFile,
    Remote,
    local_destination,
    local_path,
    local_sources,
    remote_path,
    remote_paths,
)


def test_paths_are_bytes_whatever_they_hold() -> None:
    assert local_sources(["a", b"\xff\n", Path("c/")], "sources") == (b"a", b"\xff\n", b"c")
    assert local_sources("ab", "sources") == (b"ab",)
    assert local_sources((name for name in "ab"), "sources") == (b"a", b"b")
    assert remote_paths([Remote("a"), "b/", b"\xff"], "sources") == (b"a", b"b/", b"\xff")
    assert remote_paths(Remote(Path("/srv")), "sources") == (b"/srv",)
    assert local_destination("\udcff", "destination") == b"\xff"
    assert local_path("a/", "source") == b"a/"


def test_an_empty_path_on_the_service_is_the_home() -> None:
    assert remote_path("", "destination") == remote_path(Remote(""), "destination") == b"."


def test_an_open_file_is_read_where_python_is(tmp_path: Path) -> None:
    path = tmp_path / "some name"
    path.write_bytes(b"0123456789" * 1000)
    with path.open("rb") as file:
        file.read(3)
        (source,) = local_sources(file, "sources")
        assert source == OpenFile(file.fileno(), b"some name")
        assert os.read(file.fileno(), 3) == b"345"
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb"):
        assert local_sources([pipe, reading], "sources") == (OpenFile(reading, b"stdin"),) * 2


def test_an_open_file_is_written_after_what_python_has_written(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        file.write(b"head")
        assert local_destination(file, "destination") == OpenFile(file.fileno(), b"out")
        assert path.read_bytes() == b"head"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ([], ValueError, r"sources has 0 elements; it must have at least 1"),
        ("", ValueError, "sources is an empty path"),
        (["a", ""], ValueError, r"sources\[1\] is an empty path"),
        ("a\0b", ValueError, "sources contains a NUL byte"),
        (None, TypeError, "sources is None; it must be a path, an open file, or several"),
        ([3.5], TypeError, r"sources\[0\] is float; it must be a path, or an open file"),
        (True, TypeError, "sources is bool"),
        (io.BytesIO(b"x"), TypeError, "sources is BytesIO; it must be a path, or an open file of the operating system"),
        (io.StringIO("x"), TypeError, "sources is StringIO, which has no bytes"),
        (Remote("a"), TypeError, "sources is a Remote; it must be a path on this machine"),
        ([Remote("a")], TypeError, r"sources\[0\] is a Remote"),
        (10**6, ValueError, "sources is 1000000, which is not an open file descriptor"),
    ],
)
def test_what_cannot_be_sent_is_refused(value: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        local_sources(value, "sources")


def test_a_file_that_was_opened_for_something_else_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryFile("wb", buffering=0) as both, (tmp_path / "a").open("wb") as writing:
        local_sources(both, "sources")
        with pytest.raises(ValueError, match="which was not opened for reading"):
            local_sources(writing, "sources")
    with (tmp_path / "a").open("rb") as reading, pytest.raises(ValueError, match="which was not opened for writing"):
        local_destination(reading, "destination")
    with pytest.raises(TypeError, match="it must be a path, or an open file"):
        local_destination(reading, "destination")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match="the descriptor of a directory; pass its path"):
            local_sources(directory, "sources")
    finally:
        os.close(directory)


@pytest.mark.parametrize("value", [None, 3, ["a"], 2.5])
def test_what_is_no_path_on_the_service_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"destination is .*; it must be str, bytes or a path"):
        remote_path(value, "destination")
