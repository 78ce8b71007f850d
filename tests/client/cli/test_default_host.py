"""HOST may be left out where there is a default, and which word is HOST follows from their number and form."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from farhand_client import AddressError
from farhand_client.cli.default_host import default_host, parse_with_host, required_default
from farhand_client.cli.hints import TypedCommand
from farhand_client.cli.options import add_run_id, add_run_options, command_parser
from farhand_client.cli.run import run_command

WHOLE = "01890a5d-ac96-774b-bcce-b302099a8057"
SHOWN = WHOLE[:13]
PRINT = "SHA256:" + "x" * 43


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    monkeypatch.delenv("FARHAND_HOST", raising=False)
    file = home / "config/farhand/config.toml"
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def default(config: Path) -> None:
    config.write_text("default_host = 'usual'")


def parser(kind: str) -> argparse.ArgumentParser:
    made = command_parser("test", "[HOST]", "Tests.")
    add_run_options(made)
    if kind in ("id", "signal"):
        add_run_id(made)
    if kind == "ids":
        add_run_id(made, several=True)
    if kind == "signal":
        made.add_argument("signal")
    if kind == "trust":
        made.add_argument("fingerprint", nargs="?")
    return made


@pytest.mark.usefixtures("default")
@pytest.mark.parametrize(
    ("kind", "line", "host", "rest"),
    [
        ("", "", "usual", {}),
        ("", "web", "web", {}),
        ("", "--json web", "web", {"json": True}),
        ("id", "0189", "usual", {"id": "0189"}),
        ("id", "web 0189", "web", {"id": "0189"}),
        ("id", "web --json 0189", "web", {"id": "0189", "json": True}),
        ("id", "--json 0189", "usual", {"id": "0189", "json": True}),
        ("signal", "0189 TERM", "usual", {"id": "0189", "signal": "TERM"}),
        ("signal", "web 0189 --json TERM", "web", {"id": "0189", "signal": "TERM"}),
        ("ids", "0189", "usual", {"ids": ["0189"]}),
        ("ids", "web 0189", "web", {"ids": ["0189"]}),
        ("ids", "web 0189 0190", "web", {"ids": ["0189", "0190"]}),
        ("ids", "beef 0189", "beef", {"ids": ["0189"]}),
        ("ids", f"{SHOWN} 0190", "usual", {"ids": [SHOWN, "0190"]}),
        ("ids", f"--json {WHOLE} {SHOWN}", "usual", {"ids": [WHOLE, SHOWN], "json": True}),
        ("trust", PRINT, "usual", {"fingerprint": PRINT}),
        ("trust", f"web {PRINT}", "web", {"fingerprint": PRINT}),
        ("trust", "web", "web", {"fingerprint": None}),
    ],
)
def test_the_words_without_host_belong_to_the_default(kind: str, line: str, host: str, rest: dict[str, object]) -> None:
    options = vars(parse_with_host(parser(kind), line.split()))
    assert options["host"] == host
    assert {name: options[name] for name in rest} == rest


@pytest.mark.parametrize(
    ("kind", "line", "sentence"),
    [
        ("", "", 'HOST is missing; to make HOST optional, set default_host = "HOST" in {config}, or FARHAND_HOST'),
        ("id", "0189", "HOST or ID is missing; to make HOST optional, set default_host"),
        ("ids", WHOLE, "HOST or ID is missing; to make HOST optional, set default_host"),
        ("ids", f"{SHOWN} {WHOLE}", "HOST or ID is missing; to make HOST optional, set default_host"),
        ("id", "", "the following arguments are required: ID"),
        ("id", "web nope", "argument ID: no run id begins with 'nope'"),
        ("trust", "SHA256:x", "argument FINGERPRINT: 'SHA256:x' is no fingerprint"),
    ],
)
def test_without_a_default_the_error_says_how_to_set_it(
    config: Path, capsys: pytest.CaptureFixture[str], kind: str, line: str, sentence: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_with_host(parser(kind), line.split())
    assert caught.value.code == 2
    assert f"error: {sentence.format(config=config)}" in capsys.readouterr().err


@pytest.mark.usefixtures("default")
def test_a_wrong_id_may_be_a_host_without_an_id(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_with_host(parser("id"), ["web"])
    assert capsys.readouterr().err.endswith("; HOST is 'usual', the default\n")


def test_the_environment_takes_precedence_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_host() is None
    config.write_text("default_host = 'usual'")
    assert default_host() == "usual"
    monkeypatch.setenv("FARHAND_HOST", "other")
    assert default_host() == "other"
    monkeypatch.setenv("FARHAND_HOST", "")
    assert required_default(parser("")) == "usual"


def test_a_mistake_in_the_file_is_reported_only_if_the_default_is_needed(config: Path) -> None:
    config.write_text("default_host = 1")
    assert parse_with_host(parser(""), ["web"]).host == "web"
    with pytest.raises(AddressError, match="default_host must be a string"):
        parse_with_host(parser(""), [])


def test_a_default_that_is_no_host_is_reported_with_its_place(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("\ndefault_host = 'a..b'")
    with pytest.raises(AddressError) as caught:
        parse_with_host(parser(""), [])
    assert str(caught.value).startswith(f"{config}:2: default_host: 'a..b' is not a host name")
    monkeypatch.setenv("FARHAND_HOST", "web:")
    with pytest.raises(AddressError, match=r"^FARHAND_HOST: 'web:': the port after the colon is missing$"):
        required_default(parser(""))


@pytest.mark.parametrize(
    ("default", "line", "host", "words"),
    [
        ("usual", "-- ls -l", "usual", ["ls", "-l"]),
        ("usual", "-n -- ls", "usual", ["ls"]),
        ("usual", "web -- ls", "web", ["ls"]),
        ("usual", "web ls -- x", "web", ["ls", "--", "x"]),
        ("usual", "-- web -- ls", "web", ["ls"]),
        ("usual", "-- -x", "usual", ["-x"]),
        ("", "-- web ls", "web", ["ls"]),
    ],
)
def test_run_uses_the_default_if_options_and_command_are_separated_by_dashes(
    monkeypatch: pytest.MonkeyPatch, config: Path, default: str, line: str, host: str, words: list[str]
) -> None:
    monkeypatch.setenv("FARHAND_HOST", default)
    started: list[TypedCommand] = []

    def execute(typed: TypedCommand, *others: object) -> int:
        started.append(typed)
        return 0

    monkeypatch.setattr("farhand_client.cli.run._execute", execute)
    assert run_command(line.split()) == 0
    assert [(typed.host, typed.words) for typed in started] == [(host, words)]


@pytest.mark.parametrize(
    ("default", "line", "sentence"),
    [
        ("", "-- ls", "HOST is missing; to make HOST optional, set default_host"),
        ("usual", "", "no command after HOST"),
        ("usual", "ls", "no command after HOST; for a prompt, use `farhand repl HOST`; to run ls on the default host"),
    ],
)
def test_run_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    default: str,
    line: str,
    sentence: str,
) -> None:
    monkeypatch.setenv("FARHAND_HOST", default)
    with pytest.raises(SystemExit):
        run_command(line.split())
    assert sentence in capsys.readouterr().err
