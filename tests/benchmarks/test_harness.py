"""The benchmarks themselves: every contestant does every workload and yields numbers, whose size is not tested."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks.chart import draw
from tests.benchmarks.memory import Point
from tests.benchmarks.report import Machine, Results, as_json, markdown
from tests.benchmarks.servers import DROPBEAR_SERVER
from tests.benchmarks.workload import ASYNCSSH, FARHAND, OPENSSH, Goal, Sample, Workload

MACHINE = Machine(cores=2, memory=24.0, system="Linux 6", python="3.11.7", date="2026-01-01", rounds=3)
TWICE = Goal(FARHAND, 2.0, OPENSSH)
ALMOST = Goal(FARHAND, 2.2, ASYNCSSH)


async def nothing() -> Sample:
    return Sample(0)


def workload(*goals: Goal, more_is_better: bool) -> Workload:
    contestants = {FARHAND: nothing, OPENSSH: nothing, ASYNCSSH: nothing}
    return Workload("work", "a second", more_is_better, contestants, goals, 10)


def samples(*values: float) -> list[Sample]:
    return [Sample(value, {"core": value / 100}) for value in values]


def test_ratios_are_taken_within_each_round() -> None:
    measured = {FARHAND: samples(10, 200, 30), OPENSSH: samples(5, 100, 30), ASYNCSSH: samples(10, 10, 10)}

    fast = Results(workload(more_is_better=True), measured)
    assert fast.ratio(FARHAND, OPENSSH) == 2
    assert (fast.reached(TWICE), fast.reached(ALMOST)) == (True, True)

    quick = Results(workload(more_is_better=False), measured)
    assert quick.ratio(FARHAND, OPENSSH) == 0.5
    assert quick.reached(TWICE) is False


@pytest.mark.parametrize(("bound", "below", "above"), [(19.0, False, True), (20.0, True, True), (21.0, True, False)])
def test_a_goal_without_another_contestant_bounds_the_median(bound: float, below: bool, above: bool) -> None:
    measured = {FARHAND: samples(10, 30, 20), OPENSSH: samples(5, 5, 5), ASYNCSSH: samples(1, 1, 1)}
    goal = Goal(FARHAND, bound)

    assert Results(workload(goal, more_is_better=False), measured).reached(goal) is below
    assert Results(workload(goal, more_is_better=True), measured).reached(goal) is above


def test_the_page_has_the_ratios_the_goals_and_the_processor_time() -> None:
    measured = {FARHAND: samples(20), OPENSSH: samples(10), ASYNCSSH: samples(10)}
    done = Results(workload(TWICE, ALMOST, Goal(FARHAND, 30), more_is_better=True), measured)
    points = [Point("runs", 1, 1000.0, 5.0), Point("runs", 101, 3000.0, 6.0)]

    page = markdown([done], points, MACHINE)

    assert "Measured 2026-01-01, 2 cores, 24 GiB, Linux 6, Python 3.11.7, 3 rounds." in page
    assert "|  | OpenSSH | 10 a second | 2.00× |" in page
    assert "| work: Farhand ≥ 2× OpenSSH | 2.00× | yes |" in page
    assert "| work: Farhand ≥ 2.2× asyncssh | 2.00× | **no** |" in page
    assert "| work: Farhand ≥ 30 a second | 20 a second | **no** |" in page
    assert "| work | Farhand | core 20000 µs |" in page
    assert "| 101 runs | 3,000 | 20.0 | 6.0 |" in page


def test_the_json_has_every_sample_and_what_was_measured_of_each_goal() -> None:
    measured = {FARHAND: samples(20, 10), OPENSSH: samples(10, 10), ASYNCSSH: samples(10, 10)}
    done = Results(workload(TWICE, Goal(FARHAND, 30), more_is_better=True), measured)

    written = json.loads(json.dumps(as_json([done], [Point("runs", 1, 2.0, 3.0)], MACHINE)))

    (one,) = written["workloads"]
    assert one["contestants"][FARHAND]["samples"] == [20, 10]
    assert [(goal["measured"], goal["reached"]) for goal in one["goals"]] == [(1.5, False), (15, False)]
    assert (written["machine"]["rounds"], written["slopes"][0]["count"]) == (3, 1)


def test_the_same_numbers_draw_the_same_chart(tmp_path: Path) -> None:
    measured = {FARHAND: samples(20), OPENSSH: samples(10), ASYNCSSH: samples(10)}
    done = Results(replace(workload(more_is_better=True), name="stdout of `head`"), measured)
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]

    for file in files:
        draw([done], MACHINE, file)

    assert files[0].read_bytes() == files[1].read_bytes()
    assert b"<svg" in files[0].read_bytes()


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.needs("ssh", "scp", "sshd", "ssh-keygen", "xargs", "rsync")
def test_every_contestant_does_every_workload(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main(["--quick", "--directory", str(tmp_path)]) == 0

    written = json.loads((tmp_path / "results.json").read_text())
    processes = 9 if DROPBEAR_SERVER is not None and shutil.which("dbclient") else 8
    assert [(each["workload"].split(" ")[0], len(each["contestants"])) for each in written["workloads"]] == [
        ("`true`", processes),
        ("`true`,", 3),
        ("`true`,", 3),
        ("`hostname`", 2),
        ("`hostname`", 2),
        ("connections", 2),
        ("stdout", 6),
        ("stdin", 4),
        ("two", 2),
        ("`true`", 4),
        ("put", 5),
        ("get", 5),
        ("put", 5),
        ("get", 5),
        ("sync", 3),
        *[("rsync", 3)] * 4,
        ("git", 3),
        ("1", 3),
        ("1", 3),
        ("a", 3),
        ("20", 3),
        ("datagrams", 1),
        ("key", 3),
        ("key", 3),
        ("`cat`", 2),
        ("`farhandd", 1),
        ("`farhand", 1),
        ("REPL", 2),
        ("memory", 3),
    ]
    # With so little work, the slower of two streams may have nothing yet, and a connection may cost no new page.
    medians = [
        one["median"]
        for each in written["workloads"]
        if each["unit"] not in ("%", "KiB")
        for one in each["contestants"].values()
    ]
    assert min(medians) > 0
    assert [(point["kind"], point["count"]) for point in written["slopes"]] == [
        ("connections", 1),
        ("connections", 10),
        ("runs", 1),
        ("runs", 10),
    ]
    page = (tmp_path / "README.md").read_text()
    assert capfd.readouterr().out in page
    assert (tmp_path / "chart.svg").read_text().startswith("<?xml")
