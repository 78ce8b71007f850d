"""Every argument of `subprocess.run` works as there, or is refused with a sentence that names what does the job."""

from __future__ import annotations

import inspect
import subprocess
from pathlib import Path
from typing import Any

import pytest

from farhand_client import Client
from farhand_client.options import RUN_KEYWORDS, START_KEYWORDS
from farhand_client.popen_keywords import POPEN, START, Refusal, without_harmless
from tests.support.fake_service import client_of


def subprocess_parameters() -> dict[str, inspect.Parameter]:
    """Return the parameters of `subprocess.run`, with those that it passes on to Popen."""
    found = {**inspect.signature(subprocess.Popen).parameters, **inspect.signature(subprocess.run).parameters}
    return {name: each for name, each in found.items() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}


def accepted(method: Any) -> set[str]:
    return set(inspect.signature(method).parameters) - {"self", "keywords"}


def test_run_knows_every_argument_of_subprocess_run() -> None:
    works = accepted(Client.run) | RUN_KEYWORDS
    assert set(subprocess_parameters()) - works == set(POPEN)
    assert {"capture_output", "stdout", "stderr", "errors", "universal_newlines", "input", "timeout"} <= works


def test_start_knows_every_argument_of_subprocess_run() -> None:
    works = accepted(Client.start) | START_KEYWORDS
    assert set(subprocess_parameters()) - works <= set(START)
    assert set(START) & works == set()


async def test_the_defaults_of_subprocess_change_nothing(tmp_path: Path) -> None:
    defaults: dict[str, Any] = {
        name: each.default for name, each in subprocess_parameters().items() if each.default is not each.empty
    }
    defaults["capture_output"] = None  # False means what it means there: see test_redirection
    async with client_of(tmp_path) as (client, service):
        await client.run(["true"])
        done = await client.run(["true"], **defaults)
        assert (done.stdout, done.stderr) == (b"", b"")
        async with client.start(["true"], **defaults) as run:
            await run.wait()
    ids = {"id": None, "attachment": None}
    first, *others = (run.request.model_copy(update=ids) for run in service.runs)
    assert others == [first, first]


VALUES: list[tuple[str, Any, str]] = [
    ("bufsize", "line", "output is delivered as it arrives"),
    ("executable", "/bin/bash", r"pass \['bash', '-c', script\] as args"),
    ("preexec_fn", print, "use cwd, env and limits, or a script with shell=True"),
    ("close_fds", False, "other descriptors than stdin, stdout and stderr"),
    ("startupinfo", object(), "it is for Windows"),
    ("creationflags", 1, "it is for Windows"),
    ("restore_signals", False, "the default actions of signals"),
    ("start_new_session", None, "each run always has a session of its own"),
    ("pass_fds", (3,), "use stdin, stdout and stderr"),
    ("pass_fds", 3, "use stdin, stdout and stderr"),
    ("user", "ann", r"connect\('ann@host'\)"),
    ("group", "ann", "sg GROUP -c"),
    ("extra_groups", ["ann"], "the groups of the account"),
    ("umask", 0o27, "umask 027; exec PROGRAM"),
    ("pipesize", 4096, "the service chooses"),
    ("process_group", 7, "a process group of its own"),
]


def test_every_refusal_is_tried() -> None:
    assert {name for name, *_ in VALUES} == set(POPEN)


@pytest.mark.parametrize(("name", "value", "instead"), VALUES)
async def test_other_values_are_refused_with_what_to_do(tmp_path: Path, name: str, value: Any, instead: str) -> None:
    keywords: Any = {name: value}
    async with client_of(tmp_path) as (client, service):
        with pytest.raises(TypeError, match=rf"^{name}=.* is not possible on another machine: .*{instead}"):
            await client.run(["true"], **keywords)
        for start in (lambda: client.start(["true"], **keywords), lambda: client.shell(None, **keywords)):
            with pytest.raises(TypeError, match=instead):
                start()
        assert service.runs == []


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("text", True, "decode what is read, encode what is written; or use run"),
        ("encoding", "latin-1", "decode what is read"),
        ("errors", "replace", "decode what is read"),
        ("universal_newlines", True, "decode what is read"),
        ("input", b"x", r"pass stdin=PIPE, then write it to run\.stdin"),
        ("check", True, r"look at \(await run\.wait\(\)\)\.returncode"),
        ("capture_output", False, r"read from run\.stdout and run\.stderr"),
        ("max_output", 5, r"read from run\.stdout and run\.stderr"),
    ],
)
async def test_start_refuses_what_only_run_can_do(tmp_path: Path, name: str, value: Any, instead: str) -> None:
    keywords: Any = {name: value}
    async with client_of(tmp_path) as (client, _):
        with pytest.raises(TypeError, match=rf"^{name}=.* is not possible here: .*{instead}"):
            client.start(["true"], **keywords)
        client.start(["true"], capture_output=True).close()  # type: ignore[call-overload]  # harmless


@pytest.mark.parametrize(("name", "value"), [("bufsize", 0), ("process_group", 0), ("pass_fds", []), ("close_fds", 1)])
def test_a_value_that_changes_nothing_is_dropped(name: str, value: Any) -> None:
    assert without_harmless({name: value, "cwd": "/"}, POPEN) == {"cwd": "/"}


def test_a_value_that_cannot_be_judged_is_refused() -> None:
    refusals = {"flags": Refusal(lambda value: value < 3, "use others")}
    with pytest.raises(TypeError, match="flags='x' is not possible here: use others"):
        without_harmless({"flags": "x"}, refusals)


async def test_options_in_the_wrong_place_are_refused(tmp_path: Path) -> None:
    options: Any = -1  # bufsize, the second positional argument of subprocess.run
    async with client_of(tmp_path) as (client, _):
        with pytest.raises(TypeError, match="options is int; it must be RunOptions"):
            await client.run(["true"], options)
