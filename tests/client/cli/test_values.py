"""Option values: what is accepted, what it means, and what is refused."""

from __future__ import annotations

import argparse

import pytest

from farhand_client.cli.values import (
    duration,
    escape_character,
    limits,
    new_run_id,
    positive_seconds,
    run_id,
    size,
    speed,
    terminal_size,
    variable,
)


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("0.5", 0.5), ("1e3", 1000.0)])
def test_seconds_are_parsed(text: str, value: float) -> None:
    assert positive_seconds(text) == value
    with pytest.raises(argparse.ArgumentTypeError):
        positive_seconds("-" + text)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("65536", 65536), ("64k", 65536), ("64K", 65536), ("2M", 2 << 20), ("1G", 1 << 30)]
)
def test_sizes_have_units(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "K", "-1", "1.5M", "1 M", "1X", "1MB", "9" * 30, "²"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


def test_limits_have_the_names_of_the_api() -> None:
    assert limits("memory=1K,cpu=0.5,processes=2,files=3,file-size=0,output=1M") == {
        "memory": 1024,
        "cpu": 0.5,
        "processes": 2,
        "files": 3,
        "file_size": 0,
        "output": 1 << 20,
    }
    for wrong in ("ram=1", "memory", "memory=0", "cpu=0", "cpu=nan", "processes=0", "files=x", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            limits(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("30m", 1800), ("8h", 28800), ("2d", 172800)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "1.5h", "8H", "1w", "٣h", "4000d", "8 h"])
def test_wrong_durations_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a time|more than ten years"):
        duration(text)


def test_variables_have_a_value_or_pass_the_local_one_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "local")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert [variable(text) for text in ("A=", "A=b=c", "HERE", "NOWHERE")] == [
        (b"A", b""),
        (b"A", b"b=c"),
        (b"HERE", b"local"),
        None,
    ]
    with pytest.raises(argparse.ArgumentTypeError, match="no name before the equals sign"):
        variable("=x")


def test_terminal_sizes_have_columns_and_rows() -> None:
    assert terminal_size("80x24") == (80, 24)
    for wrong in ("80", "80x", "x24", "0x24", "65536x1", "80X24", "-1x24"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a terminal size"):
            terminal_size(wrong)


def test_speeds_are_positive_factors() -> None:
    assert [speed(text) for text in ("2", "0.5")] == [2.0, 0.5]
    for wrong in ("0", "-1", "fast", "inf", "nan"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a speed"):
            speed(wrong)


def test_ids_of_runs_are_whole_or_a_prefix_of_four_characters() -> None:
    whole = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert (new_run_id(whole), run_id(whole), run_id(whole[:4])) == (whole, whole, whole[:4])
    with pytest.raises(argparse.ArgumentTypeError, match="not a run id"):
        new_run_id(whole[:8])
    with pytest.raises(argparse.ArgumentTypeError, match="too short for an id; type at least 4 characters"):
        run_id(whole[:3])
    with pytest.raises(argparse.ArgumentTypeError):
        run_id("nope")


def test_escape_characters_are_single_or_control_characters_or_none() -> None:
    assert [escape_character(text) for text in ("~", "^]", "none")] == [ord("~"), 0x1D, None]
    with pytest.raises(argparse.ArgumentTypeError):
        escape_character("ab")
