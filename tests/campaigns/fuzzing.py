"""Fuzzing by coverage of everything that reads what others have written."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.client import in_flight

from .fuzz_targets import TARGETS
from .harness import Campaign, Figure, Setting, none_of

START = 60.0
"""Seconds that a process may take beside its time for fuzzing: to import everything with counters."""

MAX_INPUT = 4096
"""Bytes of an input: the longest pattern, line and signature."""


async def measure(setting: Setting) -> Sequence[Figure]:
    """Fuzz each target in a process of its own, as many at a time as there are processors."""
    seconds = setting.size(2, 600)
    counts: dict[str, int] = {}
    findings: list[str] = []
    waiting = iter(TARGETS)

    async def one() -> None:
        name = next(waiting)
        folder = setting.subdirectory(name.replace(" ", "-"))
        counts[name], finding = await _fuzz(name, folder, seconds, setting.seed)
        if finding:
            print(f"fuzzing: {name}: {finding}")
            findings.append(name)

    await in_flight(len(TARGETS), len(os.sched_getaffinity(0)), one)
    steps, inputs = counts["steps"], sum(counts.values())
    figures = [
        none_of("targets with an exception that they do not document", len(findings), len(TARGETS), note=str(findings)),
        Figure("inputs", f"{inputs:,}", "10,000,000 in the nightly form", met=inputs >= 10**7 or None),
        Figure("of these, scripts of up to 1,024 steps for both ends of a connection", f"{steps:,}"),
        Figure("the slowest target", "{1}: {0:,}".format(*min((count, name) for name, count in counts.items()))),
    ]
    if importlib.util.find_spec("atheris") is None:
        figures.append(
            Figure("by coverage", f"no: atheris is not installed ({sys.version.split()[0]})", "yes", met=False)
        )
    return figures


async def _fuzz(name: str, folder: Path, seconds: int, seed: int) -> tuple[int, str]:
    """Return the number of inputs, and what was found."""
    corpus = folder / "corpus"
    corpus.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.campaigns.fuzz_targets", name, str(corpus)),
        *(f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", f"-seed={seed % (1 << 31) or 1}"),
        *("-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={folder}/"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + START)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    count = int(found[1]) if found else 0
    if process.returncode == 0 and found:
        return count, ""
    artifacts = [f"{path.name}: {path.read_bytes()[:500]!r}" for path in folder.iterdir() if path.is_file()]
    return count, f"exit code {process.returncode}; {artifacts}\n{text[-3000:]}"


CAMPAIGN = Campaign("fuzzing", "Inputs made to reach new code.", measure, short=240, nightly=3 * 3600)
