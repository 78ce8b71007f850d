"""ssh's files are read with what they include, and refused where others can write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.sshconfig.line import SshConfigError
from farhand_client.sshconfig.lookup import SshHost, look_up
from farhand_client.sshconfig.reading import ConfigFiles


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, in a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    path = tmp_path / ".ssh" / "config"
    path.touch(0o600)
    return path


def found(host: str, *, lenient: bool = False) -> SshHost:
    return look_up(host, ConfigFiles(lenient=lenient))


def test_the_file_in_the_home_is_read(config: Path) -> None:
    config.write_text("Host web\n User ann\n")
    assert found("web").user == "ann"
    assert found("db").user is None


def test_included_files_belong_to_the_section_that_includes_them(config: Path) -> None:
    for name, text in (("a.conf", "User ann\nHost db\nPort 7\n"), ("b.conf", "Port 2222\n"), (".c.conf", "User no\n")):
        (config.parent / name).write_text(text)
        (config.parent / name).chmod(0o600)
    config.write_text("Host web\n Include *.conf\nUser bob\nHost *\nUser zoe\n")
    web, other = found("web"), found("db")
    assert (web.user, web.port, other.user, other.port) == ("ann", 2222, "zoe", 22)


def test_files_in_other_folders_are_included_by_patterns(config: Path) -> None:
    folder = config.parent / "more" / "x1"
    folder.mkdir(parents=True)
    (folder / "one").write_text("Host web\nPort 5\n")
    config.write_text("Include ~/.ssh/mor?/x[12]/*\nInclude nowhere/*\n")
    assert found("web").port == 5


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(config: Path, mode: int) -> None:
    config.write_text("User ann\n")
    config.chmod(mode)
    with pytest.raises(SshConfigError, match=f"Bad owner or permissions on {config}"):
        found("web")


def test_files_that_include_each_other_are_refused(config: Path) -> None:
    config.write_text("Include config\n")
    with pytest.raises(SshConfigError, match="Too many recursive configuration includes"):
        found("web")


def test_all_mistakes_are_told_with_their_lines(config: Path) -> None:
    config.write_text("Nonsense yes\nUser ann\nPort x\n")
    with pytest.raises(SshConfigError) as caught:
        found("web")
    assert str(caught.value).splitlines() == [
        f"{config}: line 1: Bad configuration option: nonsense",
        f"{config} line 3: Bad port 'x'.",
        f"{config}: terminating, 2 bad configuration options",
    ]


def test_a_lenient_reader_ignores_unknown_keywords_and_the_sections_of_other_hosts(config: Path) -> None:
    config.write_text("NewKeyword yes\nHost db\n Port x\n  match all\nUser ann\n")
    assert found("web", lenient=True).user == "ann"


def test_a_file_that_is_named_must_be_there(config: Path) -> None:
    config.write_text("User ann\n")
    assert look_up("web", ConfigFiles("none")).user is None
    with pytest.raises(SshConfigError, match="Can't open user config file /nowhere: No such file or directory"):
        look_up("web", ConfigFiles("/nowhere"))


def test_a_huge_file_is_refused(config: Path) -> None:
    config.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(SshConfigError, match="larger than"):
        found("web")


def test_a_command_in_match_gets_the_names_and_no_input(config: Path) -> None:
    mark = config.parent / "mark"
    config.write_text(f'Host web\nHostName %h.example\nMatch exec "echo %h %n %p > {mark}"\nPort 9\n')
    assert found("web").port == 9
    assert mark.read_text() == "web.example web 22\n"
