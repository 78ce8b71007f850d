"""A key is found on its line, or at least the table around it."""

from __future__ import annotations

import time

import pytest

from farhand_protocol.toml_lines import line_of

TEXT = """\
# listen = 1
listen = [
    "a = b",
]

[runs] # the runs
  grace = 5
"odd key".inner = 1
[hosts."a b"]
address = 'x'

[limits]
all = { memory = 1 }
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("listen",), 2),
        (("runs",), 6),
        (("runs", "grace"), 7),
        (("runs", "odd key", "inner"), 8),
        (("runs", "odd key"), 8),
        (("hosts", "a b", "address"), 10),
        (("hosts",), 9),
        (("limits", "all", "memory"), 13),
        (("runs", "missing"), 6),
        (("grace",), None),
        (("nowhere", "x"), None),
    ],
)
def test_a_key_is_found_on_its_line_or_in_its_table(keys: tuple[str, ...], line: int | None) -> None:
    assert line_of(TEXT, keys) == line


def test_a_large_file_is_searched_in_one_pass() -> None:
    began = time.process_time()
    assert line_of("[a.b]\nc = 1\n" * 100_000 + "[x]\ny = 1\n", ("x", "y")) == 200_002
    assert time.process_time() - began < 5
