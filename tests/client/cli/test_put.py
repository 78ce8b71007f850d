"""`farhand put` and `farhand get`: HOST, SRC and DEST, and what is said to those who type them as for scp."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.cli.commands import run_command
from farhand_protocol.values import MAX_PATHS
from tests.support.fake_transfers import FakeTransferClient


@pytest.fixture(autouse=True)
def directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a file, and a configuration with a host."""
    monkeypatch.chdir(home)
    monkeypatch.delenv("FARHAND_HOST", raising=False)
    (home / "f").touch()
    (home / "config/farhand").mkdir(parents=True)
    (home / "config/farhand/config.toml").write_text("[hosts.web]\naddress = 'web.example'")
    return home


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        run_command([*line])
    return capsys.readouterr().err.rpartition(": error: ")[2].rstrip("\n")


def test_host_sources_and_destination_are_words_of_their_own(transfers: FakeTransferClient) -> None:
    assert run_command(["put", "web", "a", "b/", "/srv"]) == 0
    assert run_command(["get", "web", "~/a*", "/etc/\udcff", "here"]) == 0
    assert transfers.calls == [
        ("put", (["a", "b/"], b"/srv"), {}),
        ("get", ([b"a*", b"/etc/\xff"], "here"), {}),
    ]
    assert transfers.hosts == ["web", "web"]


def test_a_path_may_hold_colons_and_hyphens(transfers: FakeTransferClient) -> None:
    assert run_command(["put", "web", "--", "-a", "b:c", "d:e"]) == 0
    assert transfers.calls == [("put", (["-a", "b:c"], b"d:e"), {})]


def test_a_hyphen_is_stdin_or_stdout(transfers: FakeTransferClient) -> None:
    assert run_command(["put", "web", "-", "dump"]) == 0
    assert run_command(["get", "web", "dump", "-"]) == 0
    assert transfers.calls == [("put", ([0], b"dump"), {}), ("get", ([b"dump"], 1), {})]


def test_host_may_be_left_out_where_there_is_a_default(
    transfers: FakeTransferClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARHAND_HOST", "web")
    assert run_command(["put", "f", "g"]) == 0
    assert run_command(["get", "f", "."]) == 0
    assert run_command(["put", "other", "f", "g"]) == 0
    assert transfers.hosts == ["web", "web", "other"]


@pytest.mark.usefixtures("transfers")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("put web f", "DEST is missing; for in the home directory there, write farhand put web f ."),
        ("get web f", "DEST is missing; for in this directory, write farhand get web f ."),
        ("put web", "SRC and DEST are missing; write farhand put web SRC DEST"),
        ("put web: f", "HOST is a word of its own; did you mean farhand put web f .?"),
        ("put web: f /srv", "HOST is a word of its own; did you mean farhand put web f /srv?"),
        ("put f web:/x", "HOST is a word of its own; did you mean farhand put web f /x?"),
        ("put f g ann@web:", "HOST is a word of its own; did you mean farhand put ann@web f g .?"),
        ("put f scp://web/x", "HOST is a word of its own; did you mean farhand cp f web:/x?"),
        ("get web:/x .", "HOST is a word of its own; did you mean farhand cp web:/x .?"),
        ("get web:/x", "HOST is a word of its own; did you mean farhand cp web:/x .?"),
        ("put web - f g", "- is stdin, which is one file; put it alone, without other SRC"),
        ("put web - d/", "stdin has no name; write DEST as the path of a file"),
        ("put web - -", "SRC is stdin, and a file there is not stdout; for one that is named -, write DEST as ./-"),
        ("get web a b -", "- is one file, to which only one SRC can be written; for several: farhand run web cat a b"),
        ("get --json web a -", "--json writes events to stdout; it cannot be combined with stdout for DEST"),
    ],
)
def test_what_is_typed_as_for_scp_is_answered_with_what_to_type(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *line.split()) == said


def test_the_paths_that_go_to_the_service_are_bounded_and_those_here_are_not(
    transfers: FakeTransferClient, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"f{number}" for number in range(MAX_PATHS + 1)]
    assert run_command(["put", "web", *names, "d/"]) == 0
    assert transfers.calls[0][1] == (names, b"d/")
    assert refused(capsys, "get", "web", *names, "d/") == (
        "1025 SRC are more than 1024; use a pattern in quotes, which web expands"
    )


def test_an_empty_path_is_refused(transfers: FakeTransferClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "put", "web", "f", "") == "DEST is empty; for the home directory there, write ."
    assert refused(capsys, "put", "web", "f", "", "d/") == "SRC is empty; for this directory, write ."
    assert refused(capsys, "get", "web", "f", "") == "DEST is empty; for this directory, write ."
    assert refused(capsys, "get", "web", "", ".") == "SRC is empty; for the home directory there, write ."
    assert not transfers.calls


@pytest.mark.usefixtures("transfers")
def test_without_any_word_a_default_host_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "put").startswith("HOST, SRC and DEST are missing; to make HOST optional")


def test_a_host_with_a_port_is_a_host(transfers: FakeTransferClient) -> None:
    assert run_command(["get", "web:7022", "a", "b"]) == 0
    assert run_command(["put", "ann@web:7022", "f", "b"]) == 0
    assert transfers.hosts == ["web:7022", "ann@web:7022"]


def test_the_help_says_what_is_promised(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_command(["put", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: farhand put [OPTION…] [HOST] SRC… DEST Send files to another machine.")
    assert "at once and whole" in text
    assert "SIZE is bytes" in text
