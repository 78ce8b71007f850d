"""What a request comes to, for whom, under which configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_server.auth.authorized_keys import KeyOptions
from farhand_server.auth.principal import Principal
from farhand_server.channels.plan import Denied, decide
from farhand_server.config import Config
from farhand_server.config.paths import Directories
from farhand_server.runs.environment import Home
from farhand_server.runs.run import Plan

HOME = Home(shell=b"/bin/bash", directory=b"/home/ada", environment={b"HOME": b"/home/ada"})
DIRECTORIES = Directories(*(Path("/home/ada", name) for name in ("", "config", "state", "run")))
RUN_ID = "0192f0c1-2b3d-7c4e-8f50-617283940a1b"
OWNER = Principal("ada", 1000, "peer")
FORCED = dataclasses.replace(OWNER, options=KeyOptions(command=b"./backup --serve"))


def plan(request: dict[str, object], principal: Principal = OWNER, **config: object) -> Plan:
    """Decide on a request, `true` unless it says otherwise."""
    fields = {"id": RUN_ID} | ({} if "shell" in request else {"argv": (b"true",)}) | request
    return decide(m.Run.model_validate(fields), principal, HOME, Config.model_validate(config, context=DIRECTORIES))


def test_arguments_are_executed_as_they_are() -> None:
    assert plan({"argv": (b"printf", b"$HOME", b"")}).argv == (b"printf", b"$HOME", b"")


def test_a_text_for_a_shell_goes_to_the_account_s_shell() -> None:
    assert plan({"shell": b"echo $HOME"}).argv == (b"/bin/bash", b"-c", b"echo $HOME")


@pytest.mark.parametrize(
    ("request_", "original"),
    [
        ({"argv": (b"rsync", b"--server", b"a b", b"it's")}, b"rsync --server 'a b' 'it'\"'\"'s'"),
        ({"argv": (b"caf\xe9",)}, b"'caf\xe9'"),
        ({"shell": b"ls | wc"}, b"ls | wc"),
    ],
)
def test_a_forced_command_replaces_the_request_and_is_told_of_it(request_: dict[str, object], original: bytes) -> None:
    decided = plan(request_, FORCED)
    assert decided.argv == (b"/bin/bash", b"-c", b"./backup --serve")
    assert decided.env[b"SSH_ORIGINAL_COMMAND"] == original


@pytest.mark.parametrize("name", [b"PATH", b"LD_PRELOAD", b"BASH_ENV", b"SSH_ORIGINAL_COMMAND", b"HOME"])
def test_nothing_that_changes_a_forced_command_may_be_set(name: bytes) -> None:
    with pytest.raises(Denied, match=name.decode()):
        plan({"env": ((name, b"x"),)}, FORCED)


def test_a_forced_command_starts_in_the_home_whatever_the_request_says() -> None:
    assert plan({"cwd": b"/tmp/of-the-client"}, FORCED).cwd == b"/home/ada"
    assert plan({"cwd": b"/tmp"}).cwd == b"/tmp"


@pytest.mark.parametrize(
    ("asked", "longest", "timeout"),
    [
        (None, float("inf"), None),
        (None, 60.0, 60.0),
        (5.0, 60.0, 5.0),
        (90.0, 60.0, 60.0),
        (90.0, float("inf"), 90.0),
        (None, 1e30, None),
    ],
)
def test_the_configuration_bounds_the_time(asked: float | None, longest: float, timeout: float | None) -> None:
    request: dict[str, object] = {} if asked is None else {"timeout": asked}
    assert plan(request, runs={"max_timeout": longest}).timeout == timeout


def test_the_grace_is_the_request_s_or_the_configuration_s() -> None:
    assert plan({}, runs={"kill_after": 3.0}).kill_after == 3.0
    assert plan({"kill_after": 0.0}, runs={"kill_after": 3.0}).kill_after == 0.0
