"""A program is started with exactly the arguments, environment, directory and descriptors of the request."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from tests.support.client import RawClient
from tests.support.processes import fields, signal_set
from tests.support.service import running_service

ARGUMENTS = [
    b"", b" ", b"a b", b"  two  ", b"$HOME", b"${HOME}", b"$(id)", b"`id`", b"*", b"?", b"[a-z]", b"~", b"'", b'"',
    b"it's", b"\\", b"\\n", b"new\nline", b"\r", b"\t", b"-n", b"--", b"--help", b"a=b", b"%s", b";", b"&&", b"|", b">",
    b"#", b"!", b"\x1b[31m", b"\xff\xfe", b"caf\xe9", "café".encode(), "\U0001f980".encode(), b"x" * 100_000,
]  # fmt: skip


async def test_arguments_arrive_exactly(client: RawClient) -> None:
    ended, run = await client.run("printf", r"%s\0", *ARGUMENTS)
    assert run.stdout.split(b"\0")[:-1] == ARGUMENTS
    assert ended.outcome == Exited(code=0)


async def test_only_text_given_as_shell_is_read_by_a_shell(client: RawClient) -> None:
    _, run = await client.run(shell=r"printf '%s|' *nothing* $((6 * 7)) 'a  b'")
    assert run.stdout == b"*nothing*|42|a  b|"


@pytest.mark.parametrize("script", ["-x", "+O"])
async def test_a_script_that_looks_like_an_option_is_a_script(client: RawClient, script: str) -> None:
    ended, run = await client.run(shell=script)
    assert ended.outcome == Exited(code=127)
    assert script.encode() in run.stderr


async def test_the_environment_is_clean(client: RawClient) -> None:
    _, run = await client.run("env", "-0", env=((b"ASKED", b"for\n\xff"), (b"EMPTY", b"")))
    account = pwd.getpwuid(os.geteuid())
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if account.pw_uid:
        path = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
    expected = {
        b"HOME": account.pw_dir.encode(),
        b"USER": account.pw_name.encode(),
        b"LOGNAME": account.pw_name.encode(),
        b"SHELL": account.pw_shell.encode(),
        b"PATH": path.encode(),
        b"LANG": os.environ.get("LANG", "C.UTF-8").encode(),
        b"ASKED": b"for\n\xff",
        b"EMPTY": b"",
    }
    expected[b"FARHAND_RUN_ID"] = run.request.id.encode()
    found = dict(line.split(b"=", 1) for line in run.stdout.split(b"\0")[:-1])
    assert found == expected


async def test_the_policy_determines_which_variables_a_request_may_set(tmp_path: Path) -> None:
    config = '[policy]\nenvironment = ["LC_*", "TZ"]\n'
    async with running_service(tmp_path, config=config) as service, RawClient.connect(service.socket) as client:
        ended, run = await client.run("sh", "-c", "echo $LC_ALL $TZ", env=((b"LC_ALL", b"C"), (b"TZ", b"UTC")))
        assert (ended.outcome, run.stdout) == (Exited(code=0), b"C UTC\n")
        refused = await client.start("true", env=((b"LD_PRELOAD", b"/evil.so"),)).error()
        assert refused.code == "denied"
        assert "LD_PRELOAD" in refused.message
        assert "evil" not in refused.message + service.log


async def test_a_program_starts_in_the_home_directory_by_default(client: RawClient, tmp_path: Path) -> None:
    home = pwd.getpwuid(os.geteuid()).pw_dir
    relative = os.path.relpath(tmp_path, home)
    for cwd, expected in [
        (None, home), (b"~", home), (b"~/", home), (b".", home), (os.fsencode(tmp_path), str(tmp_path)),
        (relative.encode(), str(tmp_path)), (b"~/" + relative.encode(), str(tmp_path)),
    ]:  # fmt: skip
        _, run = await client.run("pwd", "-P", cwd=cwd)
        assert run.stdout.decode() == f"{Path(expected).resolve()}\n", cwd


async def test_a_directory_may_have_any_name(client: RawClient, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff new\nline"
    Path(os.fsdecode(odd)).mkdir()
    _, run = await client.run("pwd", "-P", cwd=odd)
    assert run.stdout == odd + b"\n"


async def test_a_relative_program_is_searched_for_in_the_directory_of_the_run(
    client: RawClient, tmp_path: Path
) -> None:
    script = tmp_path / "here"
    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o755)
    _, run = await client.run("./here", cwd=os.fsencode(tmp_path))
    assert run.stdout == b"here\n"


async def test_programs_are_found_by_the_path_of_the_run(client: RawClient, tmp_path: Path) -> None:
    script = tmp_path / "only-here"
    script.write_text("#!/bin/sh\necho found\n")
    script.chmod(0o755)
    _, run = await client.run("only-here", env=((b"PATH", os.fsencode(tmp_path)),))
    assert run.stdout == b"found\n"


async def test_stdin_is_empty_unless_requested(client: RawClient) -> None:
    _, run = await client.run("sh", "-c", "readlink /proc/self/fd/0; cat")
    assert run.stdout == b"/dev/null\n"


@pytest.mark.parametrize("stdin", [False, True])
async def test_a_program_has_the_three_descriptors_and_no_other(client: RawClient, stdin: bool) -> None:
    others = [client.start("cat", stdin=True) for _ in range(3)]
    for other in others:
        await other.started()
    run = client.start("sh", "-c", "echo up; kill -STOP $$", stdin=stdin)
    pid = await run.started()
    await run.line()
    assert sorted(entry.name for entry in Path(f"/proc/{pid}/fd").iterdir()) == ["0", "1", "2"]
    run.send(m.Stop())
    await run.ended()


async def test_output_goes_through_pipes_that_the_program_can_reopen(client: RawClient) -> None:
    _, run = await client.run("sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr; readlink /proc/self/fd/1")
    assert run.stdout.startswith(b"out\npipe:[")
    assert run.stderr == b"err\n"


async def test_a_program_leads_a_session_and_a_group_of_its_own(client: RawClient) -> None:
    run = client.start("sh", "-c", "read -r pid comm state ppid pgrp sid rest </proc/$$/stat; echo $pid $pgrp $sid")
    pid = await run.started()
    await run.ended()
    assert run.stdout.decode().split() == [str(pid)] * 3


INHERITS = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM, signal.SIGRTMIN + 3):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture
def python_with_ignored_signals(tmp_path: Path) -> Path:
    """A Python that starts with signals ignored and blocked, as under nohup(1) or a careless parent."""
    script = tmp_path / "python"
    # A shebang cannot name a path with a space.
    script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{INHERITS}' \"$@\"\n")
    script.chmod(0o755)
    return script


async def test_a_program_has_default_signals_whatever_the_service_was_started_with(
    tmp_path: Path, python_with_ignored_signals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.service.sys.executable", str(python_with_ignored_signals))
    async with running_service(tmp_path) as service, RawClient.connect(service.socket) as client:
        _, run = await client.run("cat", "/proc/self/status")
        found = fields(run.stdout.decode())
        for mask in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"):
            assert signal_set(found, mask) == set(), mask
        assert await service.stop() == 0
