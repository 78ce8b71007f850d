"""The text of the prompt."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from farhand_client.repl.host_connection import HostConnection
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.prompt_text import connected_prompt, connecting_prompt
from farhand_client.repl.shell_state import ShellState
from farhand_client.ui.printing import print_message


class UnusedConnection(HostConnection):
    """A connection that a test declares lost."""

    is_lost = False

    @property
    def lost(self) -> bool:
        return self.is_lost


def host(name: str = "web", user: str = "ada", machine: str = "build", **state: Any) -> ReplHost:
    connection = UnusedConnection(name, lambda watch: pytest.fail("nobody connects"), print_message)
    connection.user, connection.host = user, machine
    made = ReplHost(name, connection)
    for field, value in state.items():
        assert field in {one.name for one in fields(ShellState)}
        setattr(made.state, field, value)
    return made


def shown(*hosts: ReplHost) -> str:
    return "".join(part[1] for part in connected_prompt(hosts))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, "ada@build:~$ "),
        ({"code": 3}, "ada@build:~ [3]$ "),
        ({"code": 139, "outcome": "SIGSEGV"}, "ada@build:~ [SIGSEGV]$ "),
        ({"code": 124, "outcome": "timeout"}, "ada@build:~ [timeout]$ "),
        ({"duration": 0.99}, "ada@build:~$ "),
        ({"duration": 1.0}, "ada@build:~ [1.00s]$ "),
        ({"code": 3, "duration": 61}, "ada@build:~ [3, 1m01s]$ "),
        ({"logical_directory": b"/a\x1b[2J\xff"}, "ada@build:/a\\x1b[2J\\xff$ "),
    ],
)
def test_the_prompt_shows_the_directory_and_how_the_last_line_ended(state: dict[str, Any], expected: str) -> None:
    assert shown(host(**state)) == expected


def test_the_branch_follows_the_directory() -> None:
    one = host(code=1)
    one.branch = "main"
    assert shown(one) == "ada@build:~ (main) [1]$ "


def test_a_lost_connection_is_shown() -> None:
    one = host()
    assert isinstance(one.connection, UnusedConnection)
    one.connection.is_lost = True
    assert shown(one) == "ada@build:~ (connection lost)$ "
    assert shown(one, host("db")) == "web,db:~ (web: connection lost)$ "


def test_control_characters_in_names_are_escaped() -> None:
    assert shown(host(user="root", machine="evil\x1b]0;x\x07")) == "root@evil\\x1b]0;x\\x07:~# "
    assert "".join(part[1] for part in connecting_prompt("unix:/a\x1bc")) == "unix:/a\\x1bc… "


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, "web,db:~$ "),
        ({"logical_directory": b"/a"}, {}, "web:/a db:~$ "),
        ({"code": 3}, {}, "web,db:~ [web 3]$ "),
        ({"code": 3, "duration": 2.5}, {"code": 130, "outcome": "SIGINT"}, "web,db:~ [web 3, db SIGINT, 2.50s]$ "),
    ],
)
def test_all_active_hosts_are_shown(one: dict[str, Any], other: dict[str, Any], expected: str) -> None:
    assert shown(host("web", **one), host("db", **other)) == expected


def test_the_sign_is_that_of_root_if_the_user_is_root_on_any_host() -> None:
    assert shown(host(), host("db", user="root")) == "web,db:~# "
