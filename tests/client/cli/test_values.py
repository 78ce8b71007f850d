"""Option values: what is accepted, what it means, and what is refused."""

from __future__ import annotations

import argparse
import time

import pytest

from farhand_client.cli.values import (
    MAX_DURATION,
    duration,
    escape_character,
    file_mode,
    limits,
    moment,
    new_run_id,
    positive_duration,
    run_id,
    size,
    speed,
    terminal_size,
    transfer_rate,
    variable,
)
from farhand_protocol.model import MAX_SECONDS


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1.0), ("0.5", 0.5), ("1e3", 1000.0), ("5m", 300.0), ("1h30m", 5400.0)]
)
def test_times_are_seconds_or_have_units(text: str, value: float) -> None:
    assert (duration(text), positive_duration(text)) == (value, value)
    with pytest.raises(argparse.ArgumentTypeError):
        positive_duration("-" + text)


def test_a_time_may_be_zero_only_where_that_means_something() -> None:
    assert duration("0") == 0
    with pytest.raises(argparse.ArgumentTypeError, match="must be more than 0, not '0s'"):
        positive_duration("0s")


@pytest.mark.parametrize("text", ["", "h", "-1", "8H", "1w", "٣h", "nan", "inf"])
def test_wrong_times_are_refused_with_what_may_be_typed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        duration(text)
    assert str(caught.value) == f"must be seconds (90, 0.5) or a form like 30s, 5m, 1h30m, 2d, not {text!r}"


def test_more_than_ten_years_is_no_time() -> None:
    assert MAX_DURATION == MAX_SECONDS
    with pytest.raises(argparse.ArgumentTypeError, match="'4000d' is more than ten years"):
        duration("4000d")


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("64k", 65536), ("1.5M", 3 << 19), ("1 GiB", 1 << 30), ("1MB", 10**6)]
)
def test_sizes_have_units(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "K", "-1", "1X", "²"])
def test_wrong_sizes_are_refused_with_what_may_be_typed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        size(text)
    assert str(caught.value) == (f"must be bytes (65536) or a form like 64K, 512M, 1.5G, 64 KiB, 2 MB, not {text!r}")


def test_a_size_fits_a_file() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is too large"):
        size("8388608T")


def test_limits_have_the_names_of_the_api() -> None:
    assert limits("memory=1K,cpu=0.5m,processes=2,files=3,file-size=0,output=1M") == {
        "memory": 1024,
        "cpu": 30.0,
        "processes": 2,
        "files": 3,
        "file_size": 0,
        "output": 1 << 20,
    }
    for wrong in ("ram=1", "memory", "memory=0", "cpu=0", "cpu=nan", "processes=0", "files=x", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            limits(wrong)


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


@pytest.mark.parametrize(("text", "value"), [("1K", 1024), ("10M/s", 10 << 20), ("5", 5)])
def test_a_rate_is_a_size_each_second(text: str, value: int) -> None:
    assert transfer_rate(text) == value


def test_a_rate_is_more_than_nothing() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be more than 0 bytes a second"):
        transfer_rate("0/s")


@pytest.mark.parametrize(("text", "value"), [("644", 0o644), ("0755", 0o755), ("04755", 0o4755), ("0", 0)])
def test_a_mode_is_octal(text: str, value: int) -> None:
    assert file_mode(text) == value


@pytest.mark.parametrize("text", ["", "u=rw", "0o644", "888", "10000", "-1", "000000644"])
def test_other_modes_are_refused_with_what_may_be_typed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a mode; write it in octal, as 644 or 0755"):
        file_mode(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("@1900000000", 1.9e9),
        ("@0.5", 0.5),
        ("2030-06-30T08:00+00:00", 1909036800),
        ("2030-06-30T08:00:00.5Z", 1909036800.5),
    ],
)
def test_a_moment_is_a_time_since_the_epoch(text: str, value: float) -> None:
    assert moment(text) == value


def test_a_moment_may_be_some_time_ago_or_a_local_date() -> None:
    before = time.time()
    assert before - 7200 <= moment("2h") <= time.time() - 7200
    assert moment("2030-06-30") == time.mktime((2030, 6, 30, 0, 0, 0, 0, 0, -1))


@pytest.mark.parametrize("text", ["", "yesterday", "@x", "2030-13-01", "1969-12-30", "@-1", "@1e20", "@nan", "400000d"])
def test_other_moments_are_refused_with_what_may_be_typed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a moment; write how long ago it was, as 90m or 2d"):
        moment(text)
