"""The options of transfers, under the names of the API, and what is said to options of scp and rsync."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farhand_client.cli.transfer_options import HABITS, parse_transfer, transfer_keywords, transfer_parser
from farhand_client.files.options import SYNC_KEYWORDS


def keywords(line: str, name: str = "sync") -> dict[str, Any]:
    parser = transfer_parser(name, "SRC DEST", "", "")
    return transfer_keywords(parse_transfer(parser, line.split()))


def changed(line: str) -> dict[str, Any]:
    usual = keywords("")
    return {key: value for key, value in keywords(line).items() if value != usual[key]}


def test_the_names_are_those_of_the_api() -> None:
    assert keywords("").keys() == SYNC_KEYWORDS - {"into", "delta"}
    assert "delete" not in keywords("", "put")


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("", {}),
        ("-r --recursive a b", {}),
        ("-aHSP --partial --progress -ltp", {}),
        ("-an", {"dry_run": True}),
        ("-n -c --parents -X", {"dry_run": True, "checksum": True, "parents": True, "xattrs": True}),
        ("a --delete b --in-place", {"delete": True, "in_place": True}),
        ("--max-size 10M --limit-rate 5M/s", {"max_size": 10 << 20, "rate": 5 << 20}),
        ("--mode 0640 --owner ann:www", {"mode": 0o640, "owner": "ann:www"}),
        ("--no-times --no-fsync --sha256", {"times": False, "sync": False, "sha256": True}),
        ("--newer-than @1900000000", {"newer_than": 1.9e9}),
        ("-v --reconnect 5m -I key", {}),
    ],
)
def test_options_have_the_meaning_of_the_api(line: str, given: dict[str, Any]) -> None:
    assert changed(line) == given


def test_an_include_wins_over_every_exclude_and_no_pattern_is_a_comment() -> None:
    line = "--include *.py --exclude * --exclude #*# --exclude !b --include !a"
    assert changed(line) == {"excludes": ["*", "\\#*#", "!b", "!*.py", "!\\!a"]}


def test_excludes_come_from_a_file_in_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list").write_text("# a comment\n*.o\n\n!keep.o\n")
    line = f"--exclude a --exclude-from {tmp_path}/list --exclude #b"
    assert changed(line) == {"excludes": ["a", "# a comment", "*.o", "", "!keep.o", "\\#b"]}
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name, said in (("nothing", "no such file or directory"), ("bytes", "this is no UTF-8 text")):
        with pytest.raises(SystemExit, match="2"):
            keywords(f"--exclude-from {tmp_path}/{name}")
        assert capsys.readouterr().err.endswith(f"{tmp_path}/{name}: {said}\n")


def test_what_follows_two_hyphens_is_no_option() -> None:
    parser = transfer_parser("put", "SRC DEST", "", "")
    assert parse_transfer(parser, ["a", "-n", "--", "-n", "--"]).words == ["a", "-n", "--"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-avz", "unrecognized arguments: -z; nothing is compressed on the way"),
        ("-l 100", "-l; write --limit-rate SIZE; links are always kept"),
        ("--bwlimit=1000", "--bwlimit=1000; write --limit-rate SIZE"),
        ("-z", "-z; nothing is compressed on the way"),
        ("--exlude x", "--exlude; did you mean --exclude?"),
        ("-L", "-L; symbolic links stay links; only one that is SRC itself is followed"),
        ("--backup", "--backup; no older version is kept; with -n you see what would be replaced"),
        ("-i key", "-i; write -I FILE for the key"),
        ("-q -v", "-q prints less and -v more; they cannot be combined"),
        ("--json -v", "--json prints events instead of text; it cannot be combined with -q or -v"),
        ("--mode u=rw", "argument --mode: 'u=rw' is not a mode; write it in octal, as 644 or 0755"),
        ("--limit-rate 0", "argument --limit-rate: must be more than 0 bytes a second"),
    ],
)
def test_what_cannot_be_is_answered_with_what_to_type(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_transfer(transfer_parser("put", "[HOST] SRC… DEST", "", ""), line.split())
    assert capsys.readouterr().err.endswith(f"{said}\n")


def test_habits_are_explained_to_sync_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_transfer(transfer_parser("sync", "SRC DEST", "", ""), ["--bwlimit=1000"])
    assert capsys.readouterr().err.endswith("--bwlimit=1000; write --limit-rate SIZE\n")


def test_no_habit_is_explained_for_an_option_that_there_is() -> None:
    parser = transfer_parser("sync", "SRC DEST", "", "")
    known = {name for action in parser._actions for name in action.option_strings}  # noqa: SLF001  # argparse's own
    assert not known - {"-h"} & HABITS.keys()
