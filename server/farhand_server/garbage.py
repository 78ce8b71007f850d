"""The garbage collector in a process that lives long and makes little garbage of its own kind: cycles."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLD: Final = 10_000
"""Objects made beyond those freed before the youngest are looked at, about a megabyte; Python's 700 is every other
run, at a fifteenth of a short run's CPU time."""


def spare_what_is_loaded() -> None:
    """Leave modules and models, which stay for good, out of every collection from now on; once all are loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
