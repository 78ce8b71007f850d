"""Reading a small file never blocks, and each refusal is a sentence for the user."""

import os
from pathlib import Path

import pytest

from farhand_client.trust.files import read_small_file


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_small_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(ValueError, match="file is larger than 4 bytes"):
        read_small_file(tmp_path / "file", 4)


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read_small_file(tmp_path / "nothing", 5) is None


def test_a_file_that_is_not_regular_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="fifo is not a regular file"):
        read_small_file(tmp_path / "fifo", 5)
    with pytest.raises(ValueError, match="is not a regular file"):
        read_small_file(tmp_path, 5)


def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot open .*/file/file: Not a directory"):
        read_small_file(tmp_path / "file" / "file", 5)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> object:
        raise OSError(5, "Input/output error")

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "fdopen", fail)
    with pytest.raises(ValueError, match=r"cannot read .*file: Input/output error"):
        read_small_file(tmp_path / "file", 5)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_a_private_file_must_be_closed_to_others(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o600)
    assert read_small_file(path, 5, private=True) == b""
    path.chmod(mode)
    assert read_small_file(path, 5) == b""
    with pytest.raises(ValueError, match=rf"accessible to others \(mode {mode:04o}\); run: chmod 600 {path}"):
        read_small_file(path, 5, private=True)
