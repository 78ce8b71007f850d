"""Turns samples into medians, ratios and verdicts on the targets, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .workload import FARHAND, Sample, Workload


@dataclass(frozen=True)
class Results:
    """The samples of one workload by contestant, one for each round."""

    workload: Workload
    samples: Mapping[str, Sequence[Sample]]

    def median(self, contestant: str) -> float:
        """Return the median value, in the workload's unit."""
        return median(sample.value for sample in self.samples[contestant])

    def ratio(self, against: str) -> float:
        """Return the ratio of Farhand to `against`, above 1 if Farhand is better: the median over all rounds.

        A machine's speed drifts from minute to minute; measurements of the same round drift together.
        """
        pairs = zip(self.samples[FARHAND], self.samples[against], strict=True)
        ratios = [ours.value / theirs.value for ours, theirs in pairs]
        return median(ratios if self.workload.more_is_better else [1 / ratio for ratio in ratios])

    def reached(self, against: str) -> bool | None:
        """Return whether the target against a contestant, or Farhand's own bound, is reached; None without one."""
        if against == FARHAND and self.workload.bound is not None:
            return self.median(FARHAND) <= self.workload.bound
        factor = self.workload.targets.get(against)
        return None if factor is None else self.ratio(against) >= factor

    def cpu(self, contestant: str) -> dict[str, float]:
        """Return the median CPU seconds by process, for one unit of the workload's amount."""
        samples = self.samples[contestant]
        return {name: median(sample.cpu[name] for sample in samples) / self.workload.amount for name in samples[0].cpu}


def markdown(results: Sequence[Results]) -> str:
    """Return two tables: the measurements with their targets, and the CPU time that Farhand used."""
    rows = [row for result in results for row in _rows(result)]
    lines = _table(("workload", "contestant", "median", "Farhand is", "target"), rows)
    spent = [
        (result.workload.name, contestant, ", ".join(f"{name} {_time(used)}" for name, used in cpu.items()))
        for result in results
        for contestant in result.samples
        if (cpu := result.cpu(contestant))
    ]
    lines += ["", *_table(("workload", "contestant", "CPU time"), spent)]
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Results]) -> list[dict[str, Any]]:
    """Return all results, including every sample, as a JSON value."""
    return [
        {
            "workload": result.workload.name,
            "unit": result.workload.unit,
            "more_is_better": result.workload.more_is_better,
            "bound": result.workload.bound,
            "contestants": {
                contestant: {
                    "median": result.median(contestant),
                    "samples": [sample.value for sample in samples],
                    "farhand_is": result.ratio(contestant),
                    "target": result.workload.targets.get(contestant),
                    "reached": result.reached(contestant),
                    f"cpu_seconds_per_{result.workload.per}": result.cpu(contestant),
                }
                for contestant, samples in result.samples.items()
            },
        }
        for result in results
    ]


def _rows(result: Results) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for contestant in result.samples:
        reached = result.reached(contestant)
        rows.append(
            (
                result.workload.name if not rows else "",
                contestant,
                f"{result.median(contestant):.0f} {result.workload.unit}",
                "" if contestant == FARHAND else f"{result.ratio(contestant):.2f}×",
                "" if reached is None else f"{_target(result, contestant)}: {'reached' if reached else '**missed**'}",
            )
        )
    return rows


def _target(result: Results, contestant: str) -> str:
    if contestant == FARHAND:
        return f"≤ {result.workload.bound:g} {result.workload.unit}"
    return f"≥ {result.workload.targets[contestant]:.2g}×"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e6 * seconds:.0f} µs"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
