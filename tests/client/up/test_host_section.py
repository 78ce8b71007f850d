"""A host is added to config.toml, changed and removed, and everything else in the file stays as it was typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.errors import AddressError, ConnectError, FarhandError
from farhand_client.up.host_section import changed_file, not_by_ssh, section_of, sections_of, with_host, without_host

OTHERS = """\
# My hosts
default_host = "db"   # the usual one

[hosts.db]
address = "me@db"     # typed by hand

# the printer
[hosts."10.0.0.1"]
address = "10.0.0.1"
"""


def test_a_section_is_added_at_the_end_and_taken_back() -> None:
    text = with_host(OTHERS, "web", "ann@web", "ann@web.example")
    assert text == OTHERS + '\n[hosts.web]  # farhand up ann@web.example\naddress = "ann@web"\n'
    assert without_host(text, "web") == OTHERS


def test_the_first_section_makes_the_file() -> None:
    assert with_host("", "web", "web", "web") == '[hosts.web]  # farhand up web\naddress = "web"\n'
    assert without_host(with_host("", "web", "web", "web"), "web") == ""


def test_a_name_that_is_no_bare_key_is_quoted() -> None:
    text = with_host("", "web.example.org", "ann@web.example.org", "web.example.org")
    assert text.startswith('[hosts."web.example.org"]')
    assert [section.name for section in sections_of(text)] == ["web.example.org"]


def test_ours_gets_its_new_address_and_keeps_what_was_added_to_it() -> None:
    text = with_host(OTHERS, "web", "ann@web", "ann@web") + 'identities = ["~/.ssh/id_web"]\n\n# last words\n'
    changed = with_host(text, "web", "ssh:ann@web", "ann@web")
    assert changed == text.replace('"ann@web"', '"ssh:ann@web"')
    assert without_host(changed, "web") == OTHERS + "\n# last words\n"


def test_the_same_address_changes_nothing_even_if_a_user_has_written_it() -> None:
    assert with_host(OTHERS, "db", "me@db", "me@db") == OTHERS


def test_the_section_of_somebody_else_is_neither_changed_nor_removed() -> None:
    with pytest.raises(AddressError, match="another name with --name"):
        with_host(OTHERS, "db", "ann@db", "ann@db")
    assert without_host(OTHERS, "db") == OTHERS


def test_who_made_a_section_is_in_its_header() -> None:
    text = with_host(OTHERS, "web", "ann@web", "ann@web")
    assert [(section.name, section.made_for) for section in sections_of(text)] == [
        ("db", None),
        ("10.0.0.1", None),
        ("web", "ann@web"),
    ]


def test_a_file_that_cannot_be_changed_safely_is_refused() -> None:
    text = '[hosts.web]  # farhand up web\naddress = """a\naddress = """\n'
    with pytest.raises(AddressError, match="by hand"):
        with_host(text, "web", "b", "web")
    with pytest.raises(AddressError, match="remove its section"):
        with_host('[hosts.web]  # farhand up web\n"address" = "a"\n', "web", "b", "web")


def test_what_is_no_toml_is_reported() -> None:
    with pytest.raises(AddressError, match="not valid TOML"):
        with_host("[hosts", "web", "web", "web")


@given(st.text(alphabet='[]#="\n \\.abhosts', max_size=60))
def test_whatever_the_file_is_it_means_the_same_afterwards(text: str) -> None:
    try:
        changed = with_host(text, "web", "ann@web", "web")
    except AddressError:
        return
    back = without_host(changed, "web")
    assert sections_of(back) == sections_of(text) or back == text


def test_a_file_is_changed_in_one_step_through_a_symbolic_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("a = 1\n")
    real.chmod(0o640)
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir()
    path.symlink_to(real)
    with changed_file(path) as texts:
        texts[0] += "b = 2\n"
    assert path.is_symlink()
    assert real.read_text() == "a = 1\nb = 2\n"
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "dotfiles.toml"]


def test_an_empty_file_is_removed_and_an_unchanged_one_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("a = 1\n")
    before = path.stat()
    with changed_file(path):
        pass
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with changed_file(path) as texts:
        texts[0] = "\n"
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FarhandError, match="cannot write"), changed_file(tmp_path / "file" / "config.toml"):
        pass
    (tmp_path / "config.toml").write_bytes(b"\xff")
    with pytest.raises(AddressError, match="not UTF-8"), changed_file(tmp_path / "config.toml"):
        pass


def test_a_name_that_only_config_toml_has_is_told_from_one_that_farhand_up_has_given(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    failure = ConnectError("ssh to db has failed")
    assert not_by_ssh(failure, section_of(path, "db"), path) is failure
    path.write_text(with_host(OTHERS, "web", "ann@web", "ann@web.example"))
    assert not_by_ssh(failure, section_of(path, "web"), path) is failure
    found = section_of(path, "web")
    assert found is not None
    assert found.made_for == "ann@web.example"
    advised = str(not_by_ssh(failure, section_of(path, "db"), path))
    assert advised.startswith(
        f"ssh to db has failed; {path} has db with the address 'me@db', but farhand up goes by ssh"
    )
