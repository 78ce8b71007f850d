"""A program with very many arguments or variables gets all of them, and its start holds up nobody."""

from __future__ import annotations

import os
import subprocess
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farhand_server.runs.process import subreaper
from farhand_server.runs.process.launch import launch
from farhand_server.runs.process.packed import MAX_ARGUMENT, MAX_BYTES, MAX_STRINGS, is_large, packed
from farhand_server.runs.process.process import Process, prepare_loop
from farhand_server.runs.process.tracked import TrackedRun
from farhand_server.runs.process.usage import ResourceLimits

from ..launching import PATH, WAYS

ALL = b"import os, sys; os.write(1, repr((list(map(os.fsencode, sys.argv)), dict(os.environb))).encode())"


def output(
    argv: Sequence[bytes], env: Mapping[bytes, bytes], *, argv0: bytes | None = None, **way: Any
) -> tuple[bytes, bytes]:
    """Return what a program writes that was started with its arguments in a file, and its name in the command."""
    given: dict[str, Any] = {"credentials": None, "limits": ResourceLimits(), "cgroup": None} | way
    with packed(argv, env, argv0) as file:
        command = launch(argv, env=env, argv0=argv0, arguments=file, **given)
        done = subprocess.run(command.argv, env=command.env, pass_fds=(file,), capture_output=True, cwd="/", check=True)
    return done.stdout, b"\0".join(command.argv)


@pytest.mark.parametrize("way", [pytest.param({}, id="plain"), *WAYS])
@settings(max_examples=10, deadline=None)
@given(
    argv=st.lists(st.binary(max_size=5).filter(lambda each: 0 not in each), max_size=5),
    env=st.dictionaries(
        st.binary(min_size=1, max_size=5).filter(lambda name: not {0, ord("=")} & set(name)),
        st.binary(max_size=5).filter(lambda value: 0 not in value),
        max_size=5,
    ),
)
def test_arguments_and_environment_arrive_unchanged_and_none_is_on_a_command_line(
    way: dict[str, Any], argv: list[bytes], env: dict[bytes, bytes]
) -> None:
    program = (b"/usr/bin/python3", b"-I", b"-S", b"-c", ALL, *argv, b"hidden")
    written, command = output(program, env, **way)
    arguments, variables = eval(written)  # written by the program above
    assert arguments == [b"-c", *argv, b"hidden"]
    # This Python adds a locale of its own.
    assert {name: value for name, value in variables.items() if name != b"LC_CTYPE"} == {
        name: value for name, value in env.items() if name != b"LC_CTYPE"
    }
    assert b"hidden" not in command


def test_a_limit_on_memory_is_the_programs_own() -> None:
    argv = (b"/bin/sh", b"-c", b"ulimit -v; ulimit -n")
    written, _ = output(argv, PATH, limits=ResourceLimits(memory=1 << 30, files=50))
    assert written == b"1048576\n50\n"
    assert output((b"/bin/sh", b"-c", b"echo $0"), PATH, argv0=b"-sh")[0] == b"-sh\n"


@pytest.mark.parametrize(
    ("argv", "env", "large"),
    [
        ((b"x",) * MAX_STRINGS, {}, False),
        ((b"x",) * MAX_STRINGS, {b"A": b""}, True),
        ((b"x" * (MAX_BYTES // 4),) * 3, PATH, False),
        ((b"x" * (MAX_BYTES // 4),) * 5, PATH, True),
        ((b"x",), {b"%d" % number: b"x" * (MAX_BYTES // 4) for number in range(5)}, True),
        ((b"x" * MAX_ARGUMENT,) * 3, {}, False),
        ((b"x", *(b"x" * (MAX_ARGUMENT - 1),) * 3), {}, True),
        ((b"x" * (MAX_ARGUMENT - 1), *(b"",) * MAX_STRINGS), {}, True),
        ((b"x" * MAX_ARGUMENT, *(b"",) * MAX_STRINGS), {}, False),
        ((b"", *(b"",) * MAX_STRINGS), {b"x" * (MAX_ARGUMENT - 2): b""}, True),
        ((b"", *(b"",) * MAX_STRINGS), {b"x" * (MAX_ARGUMENT - 1): b""}, False),
        ((b"",) * 2_000_000, {}, False),
    ],
    ids=[
        *("strings", "more strings", "bytes", "more bytes", "variables", "too long", "longest"),
        *("longest of many", "too long of many", "longest variable", "too long variable", "too many"),
    ],
)
def test_what_execve_refuses_and_what_is_usual_is_not_large(
    argv: tuple[bytes, ...], env: dict[bytes, bytes], large: bool
) -> None:
    assert is_large(argv, env) is large


def test_what_counts_as_large_is_accepted_by_execve() -> None:
    def command(number: int) -> tuple[bytes, ...]:
        return (b"/bin/true", *(b"",) * number)

    first = 10_000
    too_many = first + bisect_left(range(first, 1 << 20), True, key=lambda number: not is_large(command(number), {}))
    assert too_many > first
    assert subprocess.run(command(too_many - 1), env={}, check=False).returncode == 0


async def test_the_service_executes_a_small_command_whatever_the_program_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare_loop()
    executed: list[Sequence[bytes]] = []
    begin = subreaper.current().start

    async def noted(argv: Sequence[bytes], **options: Any) -> TrackedRun:
        executed.append(argv)
        return await begin(argv, **options)

    monkeypatch.setattr(subreaper.current(), "start", noted)
    argv = (b"/bin/sh", b"-c", b"exit $(($# % 100))", b"sh", *(b"",) * 200_077)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    process = await Process.start(argv, cwd=b"/", env=PATH, stdin=null, stdout=null, stderr=null)
    os.close(null)
    assert await process.exited == 77
    process.close()
    assert [len(command) < 20 for command in executed] == [True]
