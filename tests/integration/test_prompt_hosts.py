"""One prompt, several hosts: lines are sent to one of them or to all, and each has a state of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.service import Service, running_service
from tests.support.tmux import SIGN, Screen, at

pytestmark = pytest.mark.needs("tmux")


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A second service, besides the shared one."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        yield runner.run(stack.enter_async_context(running_service(tmp_path_factory.mktemp("db"))))
        runner.run(stack.aclose())


@pytest.fixture
async def hosts(screen: Screen, own: dict[str, str], db: Service) -> Screen:
    """A REPL on web, which can also connect to db."""
    config = Path(own["XDG_CONFIG_HOME"], "farhand/config.toml")
    config.write_text(f'{config.read_text()}[hosts.db]\naddress = "{db.host}"\n')
    await screen.open("web", own)
    return screen


async def lines(screen: Screen, *expected: str) -> None:
    """Wait until all these lines are on the screen, in any order."""
    for line in expected:
        await screen.matches(rf"^(\^C)?{re.escape(line)}$")  # the terminal echoes the key


async def test_each_host_has_its_own_directory_variables_and_history(hosts: Screen, own: dict[str, str]) -> None:
    await hosts.answers("cd /tmp; export A=web", "", at("/tmp"))
    hosts.type(":host d", "Tab")
    await hosts.shows(":host db")
    hosts.type("", "Enter")
    await hosts.shows(f":host db\n{at()}")
    await hosts.answers("echo ${A-none}", "none\n", at())
    await hosts.recalls(f"{at()}echo ${{A-none}}")
    hosts.type("", "C-c")
    await hosts.answers(":host web", "", at("/tmp"))
    await hosts.answers("echo $A", "web\n", at("/tmp"))
    histories = Path(own["XDG_STATE_HOME"], "farhand/histories")
    assert (histories / "db").read_text() == "echo ${A-none}\n:host web\n"


async def test_a_line_is_sent_to_all_active_hosts_and_output_lines_name_their_host(hosts: Screen) -> None:
    await hosts.answers(":host +db", "", f"web,db:~{SIGN}")
    hosts.type('printf "one\\ntwo"; echo bad >&2', "Enter")
    await lines(hosts, "web | one", "web | two", "web | bad", "db | one", "db | two", "db | bad")
    await hosts.shows(f"web,db:~{SIGN}")
    hosts.type("cd /tmp; test -t 1 || echo no terminal", "Enter")
    await lines(hosts, "web | no terminal", "db | no terminal")
    await hosts.shows(f"web,db:/tmp{SIGN}")
    await hosts.answers(":host -db", "", at("/tmp"))
    await hosts.answers("test -t 1 && echo a terminal", "a terminal\n", at("/tmp"))


async def test_each_host_has_its_own_outcome(hosts: Screen, core: Service, db: Service) -> None:
    await hosts.answers(":host +db", "", f"web,db:~{SIGN}")
    hosts.type(f"test $PPID = {core.process.pid}", "Enter")
    await hosts.shows(f"farhand: db: exit 1\nweb,db:~ [db 1]{SIGN}")
    hosts.type("cd nowhere", "Enter")
    await hosts.shows(f"web,db:~ [web 1, db 1]{SIGN}")
    hosts.type(f"test $PPID = {core.process.pid} && cd /tmp", "Enter")
    await hosts.shows(f"web:/tmp db:~ [db 1]{SIGN}")


async def test_control_c_interrupts_all_hosts(hosts: Screen) -> None:
    await hosts.answers(":host +db", "", f"web,db:~{SIGN}")
    hosts.type("echo begun; sleep 1000", "Enter")
    await lines(hosts, "web | begun", "db | begun")
    hosts.type("", "C-c")
    await hosts.matches(rf"^web,db:~ \[web SIGINT, db SIGINT.*\]{SIGN.strip()}$")


async def test_a_second_control_c_kills_runs_that_ignore_the_first(hosts: Screen) -> None:
    await hosts.answers(":host +db", "", f"web,db:~{SIGN}")
    hosts.type("trap 'echo ignored' INT; echo ready; while :; do sleep 0.1; done", "Enter")
    await lines(hosts, "web | ready", "db | ready")
    hosts.type("", "C-c")
    await lines(hosts, "web | ignored", "db | ignored")
    hosts.type("", "C-c")
    await hosts.matches(rf"^web,db:~ \[web SIGKILL, db SIGKILL.*\]{SIGN.strip()}$")


async def test_jobs_are_started_and_listed_on_each_host(hosts: Screen) -> None:
    await hosts.answers(":host +db", "", f"web,db:~{SIGN}")
    hosts.type("sleep 1000 &", "Enter")
    web = (await hosts.matches(r"^farhand: web: \[([0-9a-f-]+)\] started$"))[1]
    other = (await hosts.matches(r"^farhand: db: \[([0-9a-f-]+)\] started$"))[1]
    hosts.type(":jobs", "Enter")
    await hosts.matches(rf"^web \| {web[:13]}  running .* sleep 1000$")
    await hosts.matches(rf"^db \| {other[:13]}  running .* sleep 1000$")
    hosts.type(f":kill {other} {web}", "Enter")
    await lines(hosts, f"farhand: [{web}] stopped", f"farhand: [{other}] stopped")


async def test_an_unreachable_host_changes_nothing(hosts: Screen, tmp_path: Path) -> None:
    hosts.type(f":host +unix:{tmp_path}/none", "Enter")
    await hosts.matches(r"^farhand: there is no socket at ")
    await hosts.shows(at("~", " [1]"))
    await hosts.answers(":host -db", "farhand: db is not one of the hosts here: web\n", at("~", " [1]"))
    hosts.type(":host -web", "Enter")
    await hosts.matches("^farhand: web is the only host that lines are sent to; exit leaves, :host NAME switches$")
    hosts.type(":host", "Enter")
    await hosts.matches(rf"^\* web  {re.escape(at()[: -len(SIGN)])}$")
