"""`farhand` finds the command, and prints help for it."""

from __future__ import annotations

import re

import pytest

from farhand_client.cli.commands import COMMANDS, run_command
from tests.support.command import farhand


async def test_help_and_version_are_printed_on_stdout() -> None:
    assert (await farhand("--version")).stdout.startswith(b"farhand 0.")
    for line in (["--help"], ["run", "--help"], ["ping", "--help"], ["trust", "--help"], ["local", "--help"]):
        done = await farhand(*line)
        assert (done.code, done.stderr) == (0, b"")
        assert b"usage: farhand" in done.stdout


def test_the_usage_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if re.match("  [a-z]", line)]
    assert listed == list(COMMANDS)


def test_the_usage_is_wrapped_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (30, 60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        run_command(["--help"])
        printed = capsys.readouterr().out
        assert all(len(line) <= columns or len(line.split()) == 1 for line in printed.splitlines())
        assert "wait until runs end, or for something in their output" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("line", "sentence"), [([], "no command given"), (["nope\udcff"], "unknown command 'nope\\xff'")]
)
def test_without_a_known_command_the_usage_is_printed_on_stderr(
    line: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"farhand: {sentence}\nusage: farhand COMMAND")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_command([name, "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: farhand {name} ")
