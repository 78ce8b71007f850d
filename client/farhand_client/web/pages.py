"""The files of the page, which are part of this package."""

from __future__ import annotations

from functools import cache
from importlib import resources

from farhand_protocol.page import PageFile, page_files_in


@cache
def page_files() -> dict[str, PageFile]:
    """Return all files by their path in a URL."""
    return page_files_in((resources.files(__package__) / "static").iterdir())
