"""Option values: what is accepted, what it means, and what is refused."""

from __future__ import annotations

import argparse

import pytest

from farhand_client.cli.values import duration, limits, positive_seconds, size


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
