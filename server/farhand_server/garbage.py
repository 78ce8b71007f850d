"""The garbage collector in a process that lives long and makes little garbage of its own kind: cycles."""

from __future__ import annotations

import gc
from typing import Final

GC_THRESHOLD: Final = 10_000
"""Objects made beyond those freed before the youngest are looked at, about a megabyte; with Python's 700
the collector takes a tenth of the core's CPU time for short runs."""


def freeze_loaded_objects() -> None:
    """Leave modules and models, which stay for good, out of every collection from now on; once all are loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
