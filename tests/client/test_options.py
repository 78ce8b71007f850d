"""A request carries the options that were given; values that no service would accept are refused before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from farhand_client import DEVNULL, PIPE, RunOptions, TerminalRequest, WindowSize
from farhand_client.options import (
    RUN_KEYWORDS,
    SHELL_KEYWORDS,
    START_KEYWORDS,
    StartKeywords,
)
from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from tests.support.fake_service import client_of

TERMINAL = TerminalRequest(name="xterm", size=WindowSize(columns=80, rows=24))


async def test_the_request_says_what_was_asked_for(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, service):
        await client.run(
            ["prog", b"\xff\xfe", Path("a b"), "\udc80", ""],
            cwd=Path("work"),
            env={"A": "1", "B": "\udcff"},
            timeout=9,
            kill_after=0,
            merge_stderr=True,
        )
        await client.run("echo $HOME", shell=True)
        await client.run("a program with spaces")
    first, second, third = (run.request for run in service.runs)
    assert first.argv == (b"prog", b"\xff\xfe", b"a b", b"\x80", b"")
    assert (first.cwd, first.env, first.timeout, first.kill_after) == (
        b"work",
        ((b"A", b"1"), (b"B", b"\xff")),
        9,
        0,
    )
    assert (first.merge_stderr, first.stdin, first.shell) == (True, False, None)
    assert (second.shell, second.argv, second.timeout, second.kill_after) == (b"echo $HOME", None, None, 5)
    assert third.argv == (b"a program with spaces",)
    assert len({first.id, second.id, third.id}) == 3


@pytest.mark.parametrize(
    ("args", "options", "error", "sentence"),
    [
        ([], {}, ValueError, "args is empty"),
        (["a", "b\0"], {}, ValueError, r"args\[1\] contains a NUL byte"),
        (["a", 1], {}, TypeError, r"args\[1\] is int; it must be str, bytes or a path"),
        (["a"], {"shell": True}, TypeError, "args must be the script as one str or bytes"),
        (["a"], {"cwd": "x\0"}, ValueError, "cwd contains a NUL byte"),
        (["a"], {"env": {"A=B": "c"}}, ValueError, "env: 'A=B' cannot name a variable"),
        (["a"], {"env": {"": "c"}}, ValueError, "cannot name a variable"),
        (["a"], {"env": {"A": "b", b"A": b"c"}}, ValueError, "env: b'A' occurs twice"),
        (["a"], {"env": {"A": "\0"}}, ValueError, r"env\['A'\] contains a NUL byte"),
        (["a"], {"timeout": 0}, ValueError, "timeout is 0; it must be more than 0 to"),
        (["a"], {"timeout": float("inf")}, ValueError, "timeout is inf"),
        (["a"], {"timeout": float("nan")}, ValueError, "timeout is nan"),
        (["a"], {"kill_after": -1}, ValueError, "kill_after is -1; it must be 0 to"),
        (["a"], {"input": b"", "stdin": DEVNULL}, ValueError, "input and stdin cannot be combined"),
        (["a"], {"input": "text"}, TypeError, "input is str; pass bytes, or set text or encoding"),
        (["a"], {"stdin": PIPE}, ValueError, "use start, or pass input"),
        (["a"], {"options": RunOptions.of(terminal=TERMINAL)}, ValueError, "run cannot use a terminal; use start"),
        (["x" * 5 * MiB], {}, ValueError, "the command cannot be sent: a run of 5[0-9]* bytes; the peer accepts"),
    ],
)
async def test_options_that_no_service_would_accept_are_refused_by_the_client(
    tmp_path: Path, args: Any, options: Any, error: type[Exception], sentence: str
) -> None:
    async with client_of(tmp_path) as (client, service):
        with pytest.raises(error, match=sentence):
            await client.run(args, **options)
        assert service.runs == []
        assert (await client.run(["true"])).returncode == 0


async def test_an_unknown_keyword_argument_is_refused_with_a_hint(tmp_path: Path) -> None:
    wrong: Any = {"timeuot": 1}
    for_start: Any = {"terminal": TERMINAL}
    async with client_of(tmp_path) as (client, _):
        with pytest.raises(TypeError, match="unexpected keyword argument 'timeuot'; did you mean 'timeout'"):
            await client.run(["true"], **wrong)
        with pytest.raises(TypeError, match="unexpected keyword argument 'timeuot'"):
            client.start(["true"], **wrong)
        with pytest.raises(TypeError, match="unexpected keyword argument 'terminal'; the options of a run are cwd"):
            await client.run(["true"], **for_start)
        with pytest.raises(TypeError, match="unexpected keyword argument 'timeout'"):
            client.shell(None, timeout=1)  # type: ignore[call-arg]  # what a script may do all the same


async def test_keyword_arguments_override_options(tmp_path: Path) -> None:
    options = RunOptions.of(cwd="a", timeout=3)
    async with client_of(tmp_path) as (client, service):
        await client.run(["true"], options)
        await client.run(["true"], options, cwd="b")
    assert [(run.request.cwd, run.request.timeout) for run in service.runs] == [(b"a", 3), (b"b", 3)]


def test_every_option_is_a_keyword_of_start_and_the_other_way() -> None:
    assert {field.name for field in fields(RunOptions)} == START_KEYWORDS
    assert RUN_KEYWORDS < START_KEYWORDS
    assert SHELL_KEYWORDS < START_KEYWORDS


def test_options_do_not_change() -> None:
    variables = {"A": "1"}
    options = RunOptions.of(env=variables)
    variables["A"] = "2"
    assert options.env == {b"A": b"1"}
    with pytest.raises(FrozenInstanceError):
        options.shell = True  # type: ignore[misc]  # it is frozen
    with pytest.raises(TypeError):
        options.env[b"A"] = b"3"  # type: ignore[index]  # it is read-only


def test_checked_options_may_be_given_again() -> None:
    options = RunOptions.of(
        shell=True, cwd="a", env={"A": "1"}, timeout=1, limits={"cpu": 1}, run_id="01890a5d-ac96-774b-bcce-b302099a8057"
    )
    given: Mapping[str, Any] = {field.name: getattr(options, field.name) for field in fields(options)}
    keywords: StartKeywords = given  # type: ignore[assignment]  # a TypedDict has no other constructor from fields
    assert RunOptions.of(**keywords) == options
    assert options.changed(cwd="b").changed(cwd=b"a") == options


def test_a_login_shell_leaves_its_kill_grace_to_the_service() -> None:
    request = RunOptions().login_request()
    assert (request.login, request.argv, request.shell, request.kill_after) == (True, None, None, None)


def request(**options: Any) -> m.RunRequest:
    return RunOptions.of(**options).request(["x"], stdin=False)


def test_an_id_may_be_given_and_every_request_has_a_key_of_its_own() -> None:
    one, two = request(run_id="01890a5d-ac96-774b-bcce-b302099a8057"), request()
    assert one.id == "01890a5d-ac96-774b-bcce-b302099a8057"
    assert one.attachment is not None
    assert (len(one.attachment), one.attachment == two.attachment, one.id == two.id) == (16, False, False)


def test_limits_are_a_mapping_or_bounds() -> None:
    bounds = m.Bounds(memory=1, cpu=2, output=0)
    assert request(limits={"memory": 1, "cpu": 2, "output": 0}).bounds == bounds
    assert request(limits=bounds).bounds == bounds
    assert request().bounds is None


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"run_id": "7"}, ValueError, "'7' is not a run id"),
        ({"run_id": "01890A5D-AC96-774B-BCCE-B302099A8057"}, ValueError, "a UUID in lower case"),
        ({"on_disconnect": "stay"}, ValueError, "it must be 'kill' or 'keep'"),
        ({"grace": -1}, ValueError, "grace is -1"),
        ({"idle_timeout": 0}, ValueError, "idle_timeout is 0; it must be more than 0"),
        ({"spool": 1}, ValueError, "spool is 1; it must be 65536 bytes or more"),
        ({"limits": {"ram": 1}}, ValueError, "unknown limit 'ram'; the limits are memory, cpu, processes"),
        ({"limits": {"memory": 0}}, ValueError, "memory is 0; it must be 1 or more"),
        ({"limits": {"files": 1.5}}, TypeError, "files is float"),
        ({"limits": {"cpu": True}}, TypeError, "cpu is bool"),
        ({"limits": {"cpu": 0}}, ValueError, "cpu is 0; it must be more than 0"),
    ],
)
def test_an_option_that_no_service_would_accept_is_refused(options: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        request(**options)
