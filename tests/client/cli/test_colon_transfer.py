"""`:put` and `:get` of the REPL take the options of the commands, and say what is wrong without ending it."""

from __future__ import annotations

import pytest

from farhand_client.cli.colon_transfer import parse_colon_transfer


def test_words_and_options_are_those_of_the_command() -> None:
    parsed = parse_colon_transfer("put", ["-v", "--mode", "640", "a", "b", "there"])
    assert parsed is not None
    assert parsed.words == ("a", "b", "there")
    assert parsed.keywords["mode"] == 0o640
    assert parsed.shown["verbose"]
    assert not parsed.shown["quiet"]


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("put", ["--mod", "640", "a"], ":put: unrecognized arguments: --mod.*did you mean --mode"),
        ("get", ["--mode", "rw", "a"], ":get: argument --mode"),
        ("put", ["--json", "a"], ":put: unrecognized arguments: --json"),
        ("put", ["--via", "gate", "a"], ":put: unrecognized arguments: --via"),
    ],
)
def test_a_mistake_is_a_sentence(name: str, words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"(?s)^{sentence}"):
        parse_colon_transfer(name, words)


@pytest.mark.parametrize("name", ["put", "get"])
def test_help_is_printed_and_the_repl_goes_on(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_colon_transfer(name, ["--help"]) is None
    assert capsys.readouterr().out.startswith(f"usage: :{name} [OPTION…] SRC…")
