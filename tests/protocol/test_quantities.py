"""Times and sizes have one syntax everywhere."""

from __future__ import annotations

import pytest

from farhand_protocol.quantities import SIZE_FORMS, TIME_FORMS, bytes_from, seconds_from


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("0.5", 0.5),
        ("1e3", 1000),
        ("30s", 30),
        ("5m", 300),
        ("5min", 300),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1h30m15s", 5415),
        ("1.5h", 5400),
        ("8 h", 28800),
        ("2d", 172800),
        ("250 ms", 0.25),
        ("1500ms", 1.5),
        ("10 min", 600),
    ],
)
def test_a_time_is_seconds_or_has_units(text: str, seconds: float) -> None:
    assert seconds_from(text) == seconds


NO_TIMES = (
    "",
    " ",
    "5 m ",
    " 5m",
    "1 h30",
    "5s\n",
    *["h", "soon", "inf", "nan", "-1", "+1", ".5", "8H", "1w", "1h30", "30s5", "1e999", "1:30", "1..5h", "٣h"],
)


@pytest.mark.parametrize("text", NO_TIMES)
def test_anything_else_is_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match="must be seconds") as caught:
        seconds_from(text)
    assert str(caught.value) == f"must be {TIME_FORMS}"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536", 65536),
        ("64B", 64),
        ("64K", 65536),
        ("64k", 65536),
        ("64Ki", 65536),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("64 kib", 65536),
        ("512M", 512 << 20),
        ("1G", 1 << 30),
        ("1.5G", 3 << 29),
        ("2T", 2 << 40),
        ("1 TiB", 1 << 40),
        ("2 MB", 2_000_000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("3GB", 3 * 10**9),
        ("99999999999999999999", 99999999999999999999),
    ],
)
def test_a_size_is_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert bytes_from(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1X", "1 M ", "1  M", "²", "1e3", "1KiBs", "1K2", "1M1K", "9" * 30])
def test_anything_else_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="must be bytes") as caught:
        bytes_from(text)
    assert str(caught.value) == f"must be {SIZE_FORMS}"


def test_a_size_is_a_whole_number() -> None:
    with pytest.raises(ValueError, match="must be a whole number of bytes"):
        bytes_from("0.3K")
