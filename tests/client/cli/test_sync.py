"""`farhand sync` and `farhand cp`: `HOST:PATH` says which side is the other machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client import Remote
from farhand_client.cli.commands import run_command
from tests.support.fake_transfers import FakeTransferClient


@pytest.fixture(autouse=True)
def directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    monkeypatch.delenv("FARHAND_HOST", raising=False)
    return home


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        run_command([*line])
    return capsys.readouterr().err.rpartition(": error: ")[2].rstrip("\n")


def test_either_side_may_be_the_other_machine(transfers: FakeTransferClient) -> None:
    assert run_command(["sync", "--delete", "site/", "web:/srv/www"]) == 0
    assert run_command(["sync", "[::1]:7022:~/x/", "./a:b"]) == 0
    assert transfers.calls == [
        ("sync", ("site/", Remote(b"/srv/www")), {"delete": True}),
        ("sync", (Remote(b"x/"), "./a:b"), {}),
    ]
    assert transfers.hosts == ["web", "[::1]:7022"]


def test_cp_is_put_or_get(transfers: FakeTransferClient) -> None:
    assert run_command(["cp", "-r", "a", "b", "ann@web:"]) == 0
    assert run_command(["cp", "web:a", "web:b", "."]) == 0
    assert run_command(["cp", "-", "web:a"]) == 0
    assert transfers.calls == [
        ("put", (["a", "b"], b"."), {}),
        ("get", ([b"a", b"b"], "."), {}),
        ("put", ([0], b"a"), {}),
    ]
    assert transfers.hosts == ["ann@web", "web", "web"]


def test_a_host_that_is_left_out_is_the_default_one(
    transfers: FakeTransferClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "cp", "a", ":b").startswith("HOST before the colon is missing; to make HOST optional")
    monkeypatch.setenv("FARHAND_HOST", "web")
    assert run_command(["cp", "a", ":b"]) == 0
    assert transfers.hosts == ["web"]


@pytest.mark.usefixtures("transfers")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "cp a b",
            "SRC and DEST are both on this machine; write the other machine's as HOST:PATH; "
            "for a copy on this machine, use plain cp",
        ),
        ("sync web:a db:b", "SRC and DEST are both on other machines; get it from one and put it on the other one"),
        ("sync a web:b c", "sync takes SRC and DEST, one of them as HOST:PATH, not 3 words"),
        ("sync - web:b", "- is stdin or stdout, which are no directories; use farhand put or farhand get"),
        ("cp a", "SRC or DEST is missing; write HOST:PATH for one of them, and . for this directory"),
        ("cp a web:b .", "SRC are both here and on another machine; DEST is here, so write HOST:PATH for each SRC"),
        ("cp web:a db:b .", "SRC are on several machines; fetch from one after the other"),
        ("cp a ssh://web/b", "'ssh://web/b' is a URL; write web:/b"),
        ("put web --delete a b", "unrecognized arguments: --delete a b; farhand sync deletes"),
    ],
)
def test_what_is_not_possible_is_answered_with_what_to_do(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *line.split()) == said


def test_an_empty_path_is_refused(transfers: FakeTransferClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "cp", "web:f", "") == "DEST is empty; for this directory, write ."
    assert refused(capsys, "sync", "", "web:d") == "SRC is empty; for this directory, write ."
    assert not transfers.calls


@pytest.mark.usefixtures("transfers")
def test_a_file_here_whose_name_has_a_colon_is_explained(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "12:30").touch()
    assert refused(capsys, "cp", "12:30", "web:").startswith("'12:30' is a path on another machine, as it is written")
