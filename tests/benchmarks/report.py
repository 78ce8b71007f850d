"""Turns samples into medians, ratios and verdicts on the goals, as Markdown and as JSON."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .memory import Point
from .workload import Goal, Sample, Workload


@dataclass(frozen=True)
class Results:
    """The samples of one workload by contestant, one for each round."""

    workload: Workload
    samples: Mapping[str, Sequence[Sample]]

    def median(self, contestant: str) -> float:
        """Return the median value, in the workload's unit."""
        return median(sample.value for sample in self.samples[contestant])

    def ratio(self, ours: str, theirs: str) -> float:
        """Return how many times as good `ours` is as `theirs`: the median over all rounds.

        A machine's speed drifts from minute to minute; measurements of the same round drift together.
        """
        pairs = zip(self.samples[ours], self.samples[theirs], strict=True)
        ratios = [one.value / other.value for one, other in pairs]
        return median(ratios if self.workload.more_is_better else [1 / ratio for ratio in ratios])

    def reached(self, goal: Goal) -> bool:
        """Return whether a goal is reached."""
        if goal.theirs is not None:
            return self.ratio(goal.ours, goal.theirs) >= goal.factor
        found = self.median(goal.ours)
        return found >= goal.factor if self.workload.more_is_better else found <= goal.factor

    def cpu(self, contestant: str) -> dict[str, float]:
        """Return the median CPU seconds by process, for one unit of the workload's amount."""
        samples = self.samples[contestant]
        return {name: median(sample.cpu[name] for sample in samples) / self.workload.amount for name in samples[0].cpu}


@dataclass(frozen=True)
class Machine:
    """Where and when something was measured."""

    cores: int
    memory: float
    system: str
    python: str
    date: str
    rounds: int

    def __str__(self) -> str:
        return (
            f"{self.date}, {self.cores} cores, {self.memory:.0f} GiB, {self.system}, Python {self.python}, "
            f"{self.rounds} round{'' if self.rounds == 1 else 's'}"
        )


def this_machine(rounds: int) -> Machine:
    """Return this machine, today."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        system=f"Linux {platform.release()}",
        python=platform.python_version(),
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        rounds=rounds,
    )


def markdown(results: Sequence[Results], points: Sequence[Point], machine: Machine) -> str:
    """Return the tables: what was measured, the goals, the CPU time, and what one more connection or run costs."""
    rows = [row for result in results for row in _rows(result)]
    lines = [f"Measured {machine}."]
    if rows:
        lines += ["", *_table(("workload", "contestant", "median", "the first is"), rows)]
    goals = [_goal(result, goal) for result in results for goal in result.workload.goals]
    if goals:
        lines += ["", *_table(("goal", "measured", "reached"), goals)]
    spent = [
        (result.workload.name, contestant, ", ".join(f"{name} {_time(used)}" for name, used in cpu.items()))
        for result in results
        for contestant in result.samples
        if (cpu := result.cpu(contestant))
    ]
    if spent:
        lines += ["", *_table(("workload", "contestant", "CPU time"), spent)]
    if points:
        lines += ["", *_table(("service with", "memory, KiB", "for each, KiB", "`true` beside, ms"), _slope(points))]
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Results], points: Sequence[Point], machine: Machine) -> dict[str, Any]:
    """Return all results, including every sample, as a JSON value."""
    return {
        "machine": asdict(machine),
        "workloads": [
            {
                "workload": result.workload.name,
                "unit": result.workload.unit,
                "more_is_better": result.workload.more_is_better,
                "contestants": {
                    contestant: {
                        "median": result.median(contestant),
                        "samples": [sample.value for sample in samples],
                        f"cpu_seconds_per_{result.workload.per}": result.cpu(contestant),
                    }
                    for contestant, samples in result.samples.items()
                },
                "goals": [
                    {
                        **asdict(goal),
                        "measured": result.median(goal.ours)
                        if goal.theirs is None
                        else result.ratio(goal.ours, goal.theirs),
                        "reached": result.reached(goal),
                    }
                    for goal in result.workload.goals
                ],
            }
            for result in results
        ],
        "slopes": [asdict(point) for point in points],
    }


def _rows(result: Results) -> list[tuple[str, ...]]:
    first, *_ = result.samples
    unit, digits = result.workload.unit, result.workload.digits
    return [
        (
            result.workload.name if contestant == first else "",
            contestant,
            f"{result.median(contestant):.{digits}f} {unit}",
            "" if contestant == first else f"{result.ratio(first, contestant):.2f}×",
        )
        for contestant in result.samples
    ]


def _goal(result: Results, goal: Goal) -> tuple[str, ...]:
    name, unit = result.workload.name, result.workload.unit
    reached = "yes" if result.reached(goal) else "**no**"
    if goal.theirs is None:
        sign = "≥" if result.workload.more_is_better else "≤"
        return f"{name}: {goal.ours} {sign} {goal.factor:g} {unit}", f"{result.median(goal.ours):.0f} {unit}", reached
    wanted = f"{name}: {goal.ours} ≥ {goal.factor:.2g}× {goal.theirs}"
    return wanted, f"{result.ratio(goal.ours, goal.theirs):.2f}×", reached


def _slope(points: Sequence[Point]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    first: dict[str, Point] = {}
    for point in points:
        base = first.setdefault(point.kind, point)
        more = point.count - base.count
        each = f"{(point.memory - base.memory) / more:.1f}" if more else ""
        rows.append((f"{point.count:,} {point.kind}", f"{point.memory:,.0f}", each, f"{point.latency:.1f}"))
    return rows


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e6 * seconds:.0f} µs"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
