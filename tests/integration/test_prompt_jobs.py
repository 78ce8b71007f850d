"""Jobs of the prompt: started, listed, attached to, and stopped."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from farhand_client import connect
from tests.support.service import Service
from tests.support.tmux import Screen, at

pytestmark = pytest.mark.needs("tmux")

ID = r"[0-9a-f]{8}-[0-9a-f]{4}[0-9a-f-]*"


async def begun(repl: Screen, line: str) -> str:
    """Start a job and return its id."""
    repl.type(line, "Enter")
    found = await repl.matches(rf"^farhand: \[({ID})\] started\n{re.escape(at().rstrip())}$")
    return found[1]


async def test_a_job_runs_in_the_background_and_the_next_prompt_reports_its_outcome(
    repl: Screen, core: Service, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    run = await begun(repl, f"echo from the job; cat {fifo}; exit 3 &")
    await repl.answers("echo prompt", "prompt\n", at())
    async with connect(core.host) as client:
        whole = (await client.info(run)).id
        fifo.write_text("")
        await client.wait(whole)
    repl.type("echo on", "Enter")  # its answer comes after what the service has told of the job
    await repl.matches(rf"^farhand: \[{run}\] exited 3: echo from the job; cat ")
    await repl.shows(at())
    await repl.answers("true", "", at())
    assert repl.text.count("exited 3") == 1


async def test_a_job_keeps_running_when_the_user_leaves(repl: Screen, own: dict[str, str], core: Service) -> None:
    run = await begun(repl, "sleep 1000 &")
    repl.type("", "C-d")
    await repl.shows(f"farhand: still running on web: {run}\nleft with 0")
    async with connect(core.host) as client:
        assert (await client.info(run)).outcome is None
        await client.stop(run)


async def test_jobs_lists_runs_of_others_and_escapes_control_characters(repl: Screen, core: Service) -> None:
    async with connect(core.host) as client:
        async with client.start("sleep 1000 # \x1b[2Jevil", shell=True, on_disconnect="keep") as kept:
            pass
        async with client.start(["sleep", "1000"]):  # has a client
            repl.type(":jobs", "Enter")
            await repl.matches(rf"^{kept.id[:13]}  running .*  sleep 1000 # \\x1b\[2Jevil$")
            assert len(re.findall(" running ", repl.text)) == 1
        repl.type(f":kill {kept.id[:6]}", "Tab")
        await repl.shows(f":kill {kept.id[:13]}")
        repl.type("", "Enter")
        await repl.shows(f"farhand: [{kept.id[:13]}] stopped\n{at()}")
        repl.type(":jobs", "Enter")
        await repl.matches("^farhand: no runs in the background here; :jobs -a also lists those that have ended$")
        repl.type("", "C-l")
        repl.type(":jobs -a", "Enter")
        await repl.matches(rf"^{kept.id[:13]}  stopped ")


async def test_a_job_is_watched_until_ctrl_c(repl: Screen, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    run = await begun(repl, f"echo first; exec 3<>{fifo}; while read -r line <&3; do echo $line; done &")
    repl.type(f":attach {run}", "Enter")
    await repl.matches("^  Ctrl-C leaves it running\nfirst$")
    fifo.write_text("second\n")
    await repl.shows("first\nsecond")
    repl.type("", "C-c")
    await repl.shows(f"farhand: [{run}] still running\n{at()}")
    repl.type(f":kill {run}", "Enter")
    await repl.shows(f"farhand: [{run}] stopped\n{at()}")


async def test_a_run_on_the_terminal_can_be_detached_and_resumed(repl: Screen) -> None:
    repl.type("echo begun; read -r word; echo got $word; (exit 4)", "Enter")
    await repl.shows("begun")
    repl.type("", "Enter")
    await repl.shows(f"got\n{at('~', ' [4]')}")
    repl.type("echo begun; while read -r word; do echo got $word; done; exit 5", "Enter")
    await repl.shows("\nbegun")
    repl.type("", "Enter")
    await repl.shows("\ngot")
    repl.type("~d")
    found = await repl.matches(
        rf"^farhand: \[({ID})\] still running; :attach {ID} returns to it\n{re.escape(at().rstrip())}$"
    )
    repl.type("", "C-l")
    await repl.matches(rf"\A{re.escape(at().rstrip())}$")  # what is typed on is for the program only once it is shown
    repl.type(f":attach {found[1]}", "Enter")
    await repl.matches("^got$")
    repl.type("again", "Enter")
    await repl.shows("\ngot again")
    repl.type("", "C-d")
    await repl.shows(f"farhand: [{found[1]}] exited 5\n{at('~', ' [5]')}")


async def test_a_dismissed_job_is_not_reported_again(repl: Screen, core: Service) -> None:
    run = await begun(repl, "sleep 1000 &")
    await repl.answers(f":detach {run}", f"farhand: [{run}] its outcome will not be reported\n", at())
    async with connect(core.host) as client:
        await client.stop(run)
    await repl.answers("true", "", at())
    assert "stopped" not in repl.text


async def test_an_unknown_job_is_reported(repl: Screen) -> None:
    await repl.answers(
        ":kill xyz",
        "farhand: no run id begins with 'xyz'; ids consist of digits, the letters a to f, and hyphens\n",
        at("~", " [1]"),
    )
    await repl.answers(":attach 01", "farhand: '01' is too short for an id; 4 characters are needed\n", at("~", " [1]"))
    repl.type(":attach ffffffff", "Enter")
    await repl.matches(r"^farhand: .*ffffffff.*\n" + re.escape(at("~", " [1]").rstrip()))
    await repl.answers(
        ":detach", "farhand: no program has the terminal; while one does, Enter ~d leaves it running\n", at()
    )
