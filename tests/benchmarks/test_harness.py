"""The benchmarks themselves: every contestant does every workload and yields numbers, whose size is not tested."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks.report import Results, markdown
from tests.benchmarks.workload import ASYNCSSH, FARHAND, OPENSSH, Sample, Workload


async def nothing() -> Sample:
    return Sample(0)


def workload(*, more_is_better: bool) -> Workload:
    contestants = {FARHAND: nothing, OPENSSH: nothing, ASYNCSSH: nothing}
    return Workload("work", "a second", more_is_better, contestants, {OPENSSH: 2.0, ASYNCSSH: 2.2}, 10, "run")


def samples(*values: float) -> list[Sample]:
    return [Sample(value, {"core": value / 100}) for value in values]


def test_ratios_are_taken_within_each_round() -> None:
    measured = {FARHAND: samples(10, 200, 30), OPENSSH: samples(5, 100, 30), ASYNCSSH: samples(10, 10, 10)}

    fast = Results(workload(more_is_better=True), measured)
    assert fast.ratio(OPENSSH) == 2
    assert (fast.reached(OPENSSH), fast.reached(ASYNCSSH), fast.reached(FARHAND)) == (True, True, None)

    quick = Results(workload(more_is_better=False), measured)
    assert quick.ratio(OPENSSH) == 0.5
    assert quick.reached(OPENSSH) is False


def test_a_bound_applies_to_farhand_only() -> None:
    measured = {FARHAND: samples(10, 30, 20), OPENSSH: samples(5, 5, 5), ASYNCSSH: samples(1, 1, 1)}
    bounded = [replace(workload(more_is_better=False), bound=bound) for bound in (20.0, 19.0)]

    assert [Results(each, measured).reached(FARHAND) for each in bounded] == [True, False]
    assert "| work | Farhand | 20 a second |  | ≤ 19 a second: **missed** |" in markdown(
        [Results(bounded[1], measured)]
    )


def test_the_table_marks_missed_targets() -> None:
    measured = {FARHAND: samples(20), OPENSSH: samples(10), ASYNCSSH: samples(10)}

    table = markdown([Results(workload(more_is_better=True), measured)])

    assert "|  | OpenSSH | 10 a second | 2.00× | ≥ 2×: reached |" in table
    assert "|  | asyncssh | 10 a second | 2.00× | ≥ 2.2×: **missed** |" in table
    assert "| work | Farhand | core 20000 µs |" in table


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.needs("ssh", "sshd", "ssh-keygen", "xargs")
def test_every_contestant_does_every_workload(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "numbers.json"

    assert benchmarks.main(["--quick", "--json", str(file)]) == 0

    written = json.loads(file.read_text())
    assert [(each["workload"].split(",")[0], len(each["contestants"])) for each in written] == [
        ("`true`", 3),
        ("`true`", 3),
        ("stdout of `head -c 1M`", 5),
        ("cold `true`", 6),
        ("key echo", 3),
        ("key echo", 3),
        ("`cat` of 1 MB to a terminal", 2),
        ("REPL on the same machine", 1),
    ]
    assert all(each["median"] > 0 for one in written for each in one["contestants"].values())
    assert capfd.readouterr().out.startswith("| workload | contestant |")
