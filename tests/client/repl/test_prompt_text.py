"""What the prompt says."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from farhand_client.connection.reconnecting import Outage
from farhand_client.errors import FarhandError
from farhand_client.repl.host_connection import HostConnection
from farhand_client.repl.hosts import Host
from farhand_client.repl.prompt_text import connecting, message
from farhand_client.repl.shell_state import State
from farhand_client.ui.printing import print_message


class Silent(HostConnection):
    """One that is never used, and whose line is as a test says."""

    is_down = False

    @property
    def down(self) -> bool:
        return self.is_down


def host(name: str = "web", user: str = "ada", machine: str = "build", **state: Any) -> Host:
    link = Silent(name, lambda watch: pytest.fail("nobody connects"), print_message)
    link.user, link.host = user, machine
    made = Host(name, link)
    for field, value in state.items():
        assert field in {one.name for one in fields(State)}
        setattr(made.state, field, value)
    return made


def shown(*hosts: Host) -> str:
    return "".join(part[1] for part in message(hosts))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, "ada@build:~$ "),
        ({"code": 3}, "ada@build:~ [3]$ "),
        ({"code": 139, "ended": "SIGSEGV"}, "ada@build:~ [SIGSEGV]$ "),
        ({"code": 124, "ended": "timeout"}, "ada@build:~ [timeout]$ "),
        ({"took": 0.99}, "ada@build:~$ "),
        ({"took": 1.0}, "ada@build:~ [1.00s]$ "),
        ({"code": 3, "took": 61}, "ada@build:~ [3, 1m01s]$ "),
        ({"shown": b"/a\x1b[2J\xff"}, "ada@build:/a\\x1b[2J\\xff$ "),
    ],
)
def test_the_prompt_says_where_one_is_and_how_the_last_line_ended(state: dict[str, Any], expected: str) -> None:
    assert shown(host(**state)) == expected


def test_a_branch_stands_behind_the_directory() -> None:
    one = host(code=1)
    one.branch = "main"
    assert shown(one) == "ada@build:~ (main) [1]$ "


def test_a_line_that_is_down_is_said() -> None:
    one = host()
    assert isinstance(one.link, Silent)
    one.link.is_down = True
    assert shown(one) == "ada@build:~ (line down)$ "
    assert shown(one, host("db")) == "web,db:~ (web: line down)$ "


def test_the_names_in_the_prompt_are_harmless() -> None:
    assert shown(host(user="root", machine="evil\x1b]0;x\x07")) == "root@evil\\x1b]0;x\\x07:~# "
    assert "".join(part[1] for part in connecting("unix:/a\x1bc")) == "unix:/a\\x1bc… "


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, "web,db:~$ "),
        ({"shown": b"/a"}, {}, "web:/a db:~$ "),
        ({"code": 3}, {}, "web,db:~ [web 3]$ "),
        ({"code": 3, "took": 2.5}, {"code": 130, "ended": "SIGINT"}, "web,db:~ [web 3, db SIGINT, 2.50s]$ "),
    ],
)
def test_several_hosts_are_all_there(one: dict[str, Any], other: dict[str, Any], expected: str) -> None:
    assert shown(host("web", **one), host("db", **other)) == expected


def test_somebody_who_is_root_anywhere_is_told() -> None:
    assert shown(host(), host("db", user="root")) == "web,db:~# "


async def test_a_link_that_was_told_of_a_loss_is_down_until_it_is_back() -> None:
    changes = []
    watches = []

    def opening(watch: Any) -> Any:
        watches.append(watch)
        raise FarhandError("no")

    link = HostConnection("web", opening, print_message)
    link.changed = lambda: changes.append(link.down)
    with pytest.raises(FarhandError):
        await link.connect()
    watches[0](Outage(FarhandError("cut"), 10.0))
    watches[0](None)
    assert changes == [True, False]
