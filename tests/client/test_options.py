"""A request says what was asked for, and what no service would take is refused before it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farhand_client import DEVNULL, PIPE
from farhand_client.options import build
from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from tests.support.fake_service import client_of


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
        (["a", "b\0"], {}, ValueError, r"args\[1\] has a NUL byte"),
        (["a", 1], {}, TypeError, r"args\[1\] is int; str, bytes or a path is needed"),
        (["a"], {"shell": True}, TypeError, "args is the script: one str or bytes"),
        (["a"], {"cwd": "x\0"}, ValueError, "cwd has a NUL byte"),
        (["a"], {"env": {"A=B": "c"}}, ValueError, "env: 'A=B' cannot name a variable"),
        (["a"], {"env": {"": "c"}}, ValueError, "cannot name a variable"),
        (["a"], {"env": {"A": "\0"}}, ValueError, r"env\['A'\] has a NUL byte"),
        (["a"], {"timeout": 0}, ValueError, "timeout is 0; more than 0 to"),
        (["a"], {"timeout": float("inf")}, ValueError, "timeout is inf"),
        (["a"], {"timeout": float("nan")}, ValueError, "timeout is nan"),
        (["a"], {"kill_after": -1}, ValueError, "kill_after is -1"),
        (["a"], {"input": b"", "stdin": DEVNULL}, ValueError, "input and stdin cannot both be given"),
        (["a"], {"input": "text"}, TypeError, "input is str: give bytes, or ask for text"),
        (["a"], {"stdin": PIPE}, ValueError, "use start, or input"),
        (["x" * 5 * MiB], {}, ValueError, "the command cannot be sent: a run of 5[0-9]* bytes; the peer takes"),
    ],
)
async def test_what_no_service_would_take_is_refused_here(
    tmp_path: Path, args: Any, options: Any, error: type[Exception], sentence: str
) -> None:
    async with client_of(tmp_path) as (client, service):
        with pytest.raises(error, match=sentence):
            await client.run(args, **options)
        assert service.runs == []
        assert (await client.run(["true"])).returncode == 0


def request(**options: Any) -> m.RunRequest:
    plain: dict[str, Any] = {
        "shell": False,
        "stdin": False,
        "cwd": None,
        "env": None,
        "timeout": None,
        "kill_after": None,
        "merge_stderr": False,
    }
    return build(["x"], **(plain | options))


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
        ({"on_disconnect": "stay"}, ValueError, "it can be 'kill' or 'keep'"),
        ({"grace": -1}, ValueError, "grace is -1"),
        ({"idle_timeout": 0}, ValueError, "idle_timeout is 0; more than 0"),
        ({"spool": 1}, ValueError, "spool is 1; it has 65536 bytes or more"),
        ({"limits": {"ram": 1}}, ValueError, "no limit on 'ram'; there are memory, cpu, processes"),
        ({"limits": {"memory": 0}}, ValueError, "memory is 0; 1 or more"),
        ({"limits": {"files": 1.5}}, TypeError, "files is float"),
        ({"limits": {"cpu": True}}, TypeError, "cpu is bool"),
        ({"limits": {"cpu": 0}}, ValueError, "cpu is 0; more than 0"),
    ],
)
def test_what_no_service_would_take_is_said_here(options: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        request(**options)
