"""What was made is known, and exactly that is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.up.there.record import Record, content_of, locked, write_whole
from farhand_client.up.there.trouble import FarSideError
from tests.support.far_places import far_places, tree_of


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """The record of a home in which something was already."""
    (tmp_path / ".config").mkdir()
    with locked(far_places(tmp_path)) as record:
        return record


def again(home: Path) -> Record:
    return Record.load(far_places(home).record_file)


def test_everything_is_taken_back_by_what_reads_the_record(tmp_path: Path, record: Record) -> None:
    record.file(tmp_path / ".config/farhand/a.toml", b"a")
    record.symlink(tmp_path / ".local/bin/a", "/a")
    record.tree(tmp_path / ".local/share/farhand/1.0")
    (tmp_path / ".local/share/farhand/1.0/lib").mkdir(parents=True)
    record.facts["a"] = "b"
    record.save()
    assert again(tmp_path).facts == {"a": "b"}
    assert again(tmp_path).take_back() == []
    assert tree_of(tmp_path) == [".config"]


def test_what_others_have_changed_or_added_stays(tmp_path: Path, record: Record) -> None:
    file, other = tmp_path / "d/a", tmp_path / "d/other"
    record.file(file, b"a")
    file.write_text("b")
    other.write_text("c")
    record.symlink(tmp_path / "s", "/a")
    (tmp_path / "s").unlink()
    (tmp_path / "s").symlink_to("/elsewhere")
    assert again(tmp_path).take_back() == [f"{file} was changed since"]
    assert tree_of(tmp_path) == [".config", "d", "d/a", "d/other", "s"]


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path, record: Record) -> None:
    (tmp_path / "a").write_text("theirs")
    with pytest.raises(FarSideError, match="not from farhand up"):
        record.file(tmp_path / "a", b"ours")
    (tmp_path / "s").symlink_to("/theirs")
    assert not record.symlink(tmp_path / "s", "/ours")
    assert again(tmp_path).take_back() == []
    assert tree_of(tmp_path) == [".config", "a", "s"]


def test_a_file_or_symbolic_link_is_changed_in_one_step_and_only_if_it_differs(tmp_path: Path, record: Record) -> None:
    assert record.file(tmp_path / "a", b"1", 0o600)
    assert not record.file(tmp_path / "a", b"1", 0o600)
    assert record.file(tmp_path / "a", b"2", 0o600)
    assert (tmp_path / "a").read_bytes() == b"2"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    for target in ("x", "x", "y"):
        assert record.symlink(tmp_path / "s", target)
        assert str((tmp_path / "s").readlink()) == target
    assert record.made(tmp_path / "s")


def test_a_tree_that_was_there_before_is_not_ours(tmp_path: Path, record: Record) -> None:
    (tmp_path / "state").mkdir()
    record.tree(tmp_path / "state")
    record.tree(tmp_path / "new")
    record.tree_gone(tmp_path / "new")
    record.take_back()
    assert tree_of(tmp_path) == [".config", "state"]


def test_only_the_lines_that_were_added_are_removed_from_a_key_file(tmp_path: Path, record: Record) -> None:
    file, own = tmp_path / "authorized_keys", tmp_path / "own"
    file.write_text("# mine\nssh-ed25519 AAAA1 me\nssh-ed25519 AAAA2 up\n")
    file.chmod(0o640)
    own.write_text("ssh-ed25519 AAAA2 up\n")
    for each in (file, own, tmp_path / "gone"):
        record.key(each, "AAAA2")
    record.take_back()
    assert file.read_text() == "# mine\nssh-ed25519 AAAA1 me\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert not own.exists()


def test_a_record_that_is_none_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "up.json"
    for text in ("", "[]", '{"trees": 3}'):
        path.write_text(text)
        with pytest.raises(FarSideError, match="is not what farhand up has written"):
            Record.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(FarSideError, match="cannot read"):
        Record.load(path)


def test_two_at_once_are_one_too_many(tmp_path: Path) -> None:
    places = far_places(tmp_path)
    with locked(places), pytest.raises(FarSideError, match="another farhand up is at work"), locked(places):
        pass


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "a", "text", 0o600)  # type: ignore[arg-type]  # this is what fails
    assert tree_of(tmp_path) == ["a"]
    assert content_of(tmp_path / "a") == b"old"
    assert content_of(tmp_path / "none") is None
    with pytest.raises(FarSideError, match="cannot write a file"):
        write_whole(tmp_path / "a/b", b"", 0o600)
    with pytest.raises(FarSideError, match="cannot read a file"):
        content_of(tmp_path)
