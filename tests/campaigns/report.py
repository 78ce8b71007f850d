"""The table of a campaign's figures, and the page of results in which each campaign has a section."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .harness import Figure

PAGE: Final = Path(__file__).with_name("README.md")

_RESULTS: Final = "\n## Results\n"
_SECTION: Final = re.compile(r"^### (\S+)\n(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = [("figure", "measured", "target", "reached", "beside"), ("---",) * 5]
    rows += [(each.what, each.value, each.target, _reached(each), each.beside) for each in figures]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def machine() -> str:
    """Return the machine in a few words."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {pages / 2**30:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def updated(page: str, results: Mapping[str, Sequence[Figure]], *, form: str, summaries: Mapping[str, str]) -> str:
    """Return the page with new sections for the campaigns in `results`, and the others as they were."""
    text, _, old = page.partition(_RESULTS)
    sections = {found[1]: found[2].strip() for found in _SECTION.finditer(old)}
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    for name, figures in results.items():
        sections[name] = (
            f"{summaries[name]} {form.capitalize()} form, {today}, {machine()}.\n\n{table(figures)}".strip()
        )
    ordered = [name for name in summaries if name in sections]
    return text + _RESULTS + "".join(f"\n### {name}\n\n{sections[name]}\n" for name in ordered)


def _reached(figure: Figure) -> str:
    if figure.met is None:
        return ""
    return "yes" if figure.met else "**NO**" if figure.correctness else "**no**"
