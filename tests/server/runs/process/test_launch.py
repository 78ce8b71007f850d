"""A program started through the launcher has exactly the requested arguments, environment, user and limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import resource
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farhand_server.credentials import Credentials
from farhand_server.runs.process.launch import NoLauncher
from farhand_server.runs.process.usage import ResourceLimits
from tests.support.processes import fields, signal_set

from ..launching import LIMITS, NOBODY, PATH, WAYS, limits_of, run, status_of, wrapped

AWKWARD = {
    b"A-B": b"1\n\xff",
    b"BASH_FUNC_x%%": b"() { :;}",
    b"BASH_ENV": b"/dev/stdin",
    b"E": b"",
    b"E0": b"taken",
    b"E_1": b"$(false)",
    b"HOME": b"/home/'ada\"",
    b"IFS": b"x",
    b"LANG": b"xx_YY.utf8",
    b"LC_ALL": b"none",
    b"LD_LIBRARY_PATH": b"/nowhere",
    b"OLDPWD": b"/elsewhere",
    b"OPTIND": b"not a number",
    b"PATH": b"/usr/bin:/bin",
    b"PS4": b"$(exit 1)",
    b"PWD": b"/elsewhere",
    b"SHELLOPTS": b"xtrace",
    b"SHLVL": b"77",
    b"UID": b"7",
    b"_": b"underscore",
    b"\xff": b"\xfe",
}


def test_nothing_is_added_if_nothing_is_requested() -> None:
    own = Credentials("me", os.geteuid(), os.getegid(), ())
    for credentials in (None, own):
        command = wrapped(b"prog", b"\xff", credentials=credentials)
        assert command == ((b"prog", b"\xff"), PATH)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("env", [AWKWARD, PATH, {}], ids=["awkward", "a path", "empty"])
def test_the_environment_is_exactly_the_requested_one(
    shell: None, way: dict[str, Any], env: dict[bytes, bytes]
) -> None:
    found = run(wrapped(b"/usr/bin/cat", b"/proc/self/environ", env=env, **way))
    assert sorted(found.split(b"\0")[:-1]) == sorted(name + b"=" + value for name, value in env.items())


@pytest.mark.parametrize("way", WAYS)
def test_the_arguments_arrive_byte_for_byte(shell: None, way: dict[str, Any]) -> None:
    arguments = (b"", b"-u", b"--", b"\xff\xfe", b"a\nb", b"$HOME `id` \"'\\", b"E=1", b"*")
    assert run(wrapped(b"printf", b"%s\\0", *arguments, **way)).split(b"\0")[:-1] == list(arguments)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [b"a=b", b"-", b"-i", b"--", b"exec", b"with space\n", b"caf\xe9"])
def test_a_program_may_have_any_name(shell: None, way: dict[str, Any], name: bytes, public: Path) -> None:
    directory = os.fsencode(public)
    shutil.copy(b"/usr/bin/printf", directory + b"/" + name)
    assert run(wrapped(name, b"%s", b"-n", env={b"PATH": directory}, **way)) == b"-n"
    assert run(wrapped(directory + b"/" + name, b"%s", b"-n", env={}, **way)) == b"-n"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", [None, b"", b"%func", b"/nowhere:%builtin"])
def test_the_program_is_searched_for_as_by_execvp(
    shell: None, way: dict[str, Any], path: bytes | None, public: Path
) -> None:
    """dash gives such directory names a meaning of its own, and has a default PATH."""
    for directory in ("%func", "%builtin"):
        (public / directory).mkdir()
        shutil.copy("/usr/bin/printf", public / directory / "show")
    shutil.copy("/usr/bin/printf", public / "show")
    env = {} if path is None else {b"PATH": path}
    assert (
        run(wrapped(b"show" if path is not None else b"printf", b"%s", b"found", env=env, **way), cwd=public)
        == b"found"
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_program_has_its_three_descriptors_and_no_other(shell: None, way: dict[str, Any]) -> None:
    """The fourth is opened by ls itself."""
    assert run(wrapped(b"sh", b"-c", b"cat; ls /proc/self/fd", **way), input=b"in\n") == b"in\n0\n1\n2\n3\n"


@pytest.mark.parametrize("way", WAYS)
def test_the_pid_does_not_change_and_signals_are_reset(shell: None, way: dict[str, Any]) -> None:
    command = wrapped(b"cat", b"/proc/self/status", **way)
    with subprocess.Popen(command.argv, env=command.env, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate()
    found = fields(output.decode())
    assert int(found["Pid"]) == process.pid
    for name in ("SigBlk", "SigIgn", "SigCgt"):
        assert signal_set(found, name) == set()


@pytest.mark.needs("bash")
@pytest.mark.parametrize("way", [pytest.param({}, id="plain"), *WAYS])
def test_argv0_can_be_set(shell: None, way: dict[str, Any]) -> None:
    command = wrapped(b"/usr/bin/cat", b"/proc/self/cmdline", b"-", argv0=b"-cat", **way)
    assert run(command) == b"-cat\0/proc/self/cmdline\0-\0"


@pytest.mark.needs("bash")
def test_another_name_leaves_the_environment_unchanged_except_for_shlvl(shell: None) -> None:
    env = {**PATH, b"LD_PRELOAD": b"", b"TERM": b"none", b"LC_ALL": b"none"}
    found = run(wrapped(b"/usr/bin/env", b"-0", env=env, argv0=b"-env")).split(b"\0")[:-1]
    assert set(found) == {b"SHLVL=0", *(name + b"=" + value for name, value in env.items())}


@pytest.mark.needs("bash")
@pytest.mark.parametrize("way", [pytest.param({}, id="plain"), *WAYS])
def test_another_name_and_variables_that_shells_use_arrive_unchanged(shell: None, way: dict[str, Any]) -> None:
    found = run(wrapped(b"/usr/bin/cat", b"/proc/self/environ", env=AWKWARD, argv0=b"-cat", **way))
    assert sorted(found.split(b"\0")[:-1]) == sorted(name + b"=" + value for name, value in AWKWARD.items())


def test_without_bash_a_login_shell_gets_the_option_l(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_server.runs.process.launch.BASH", b"/nowhere/bash")
    assert wrapped(b"/bin/zsh", b"-i", argv0=b"-zsh").argv == (b"/bin/zsh", b"-l", b"-i")


@pytest.mark.parametrize("way", [pytest.param({}, id="plain"), *WAYS])
def test_the_terminal_becomes_the_controlling_one(shell: None, way: dict[str, Any]) -> None:
    master, slave = os.openpty()
    if os.geteuid() == 0:
        os.fchown(slave, NOBODY.uid, NOBODY.gid)
    script = b"tty; echo through its name >/dev/tty; ps -o pid=,tpgid= $$; ls /proc/self/fd | wc -l"
    command = wrapped(b"sh", b"-c", script, terminal=True, **way)
    with os.fdopen(master, "rb", buffering=0) as ours:
        process = subprocess.Popen(
            command.argv, env=command.env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd="/"
        )
        name = os.ttyname(slave)
        os.close(slave)
        output = b""
        with contextlib.suppress(OSError):  # EIO: the program has ended
            while True:
                output += ours.read(4096)
        assert process.wait() == 0
    tty, through, group, descriptors = output.decode().splitlines()
    assert (tty, through, descriptors) == (name, "through its name", "4")
    assert group.split() == [str(process.pid)] * 2


def test_a_terminal_that_cannot_be_opened_is_reported(shell: None) -> None:
    command = wrapped(b"true", terminal=True)
    reading, writing = socket.socketpair()
    with reading, writing:
        done = subprocess.run(command.argv, env=command.env, stdin=reading.fileno(), stderr=subprocess.PIPE, cwd="/")
    assert done.returncode == 125
    assert b"/proc/self/fd/0" in done.stderr


@pytest.mark.needs("root")
def test_the_program_runs_as_the_requested_user_in_every_respect(shell: None) -> None:
    found = status_of(credentials=NOBODY)
    assert found["Uid"].split() == ["65534"] * 4
    assert found["Gid"].split() == ["65534"] * 4
    assert found["Groups"].split() == ["4711", "65534"]
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("0", "0")  # sudo works, and no system call is filtered
    assert found["Umask"] == "0022"


@pytest.mark.needs("root")
def test_the_umask_is_not_that_of_the_service() -> None:
    command = wrapped(b"cat", b"/proc/self/status", credentials=NOBODY)
    assert fields(run(command, umask=0o077).decode())["Umask"] == "0022"


@pytest.mark.needs("root")
def test_a_user_without_supplementary_groups_gets_none(shell: None) -> None:
    assert (
        run(wrapped(b"grep", b"Groups", b"/proc/self/status", credentials=replace(NOBODY, groups=())))
        == b"Groups:\t \n"
    )


@pytest.mark.needs("root")
def test_the_groups_are_those_of_group_5() -> None:
    entry = next(entry for entry in pwd.getpwall() if entry.pw_uid)
    found = status_of(credentials=Credentials.of(entry.pw_uid))
    listed = subprocess.run(["id", "-G", entry.pw_name], capture_output=True, check=True).stdout.split()
    assert sorted(map(int, found["Groups"].split())) == sorted(map(int, listed))


@pytest.mark.parametrize("limits", [ResourceLimits(), LIMITS], ids=["", "limits"])
@pytest.mark.parametrize("cgroup", [None, Path("/c")], ids=["", "cgroup"])
def test_programs_that_run_as_root_get_nothing_from_the_request(limits: ResourceLimits, cgroup: Path | None) -> None:
    """A user who can set LD_PRELOAD for a program that runs as root is root."""
    command = wrapped(b"prog", env=AWKWARD, credentials=NOBODY, limits=limits, cgroup=cgroup)
    assert all(re.fullmatch(rb"E_*[0-9]+", name) for name in command.env)
    assert not command.env.keys() & AWKWARD.keys()
    assert command.argv.index(b"/usr/bin/setpriv") < command.argv.index(b"prog")


@pytest.mark.needs("root", "strace", "bash")
@pytest.mark.parametrize("argv0", [None, b"-true"])
@pytest.mark.parametrize("name", [b"TOKEN", b"COMPOSE_PASSWORD", b"OPTIND", b"PWD", b"_", b"a.b", b"BASH_FUNC_f%%"])
def test_no_value_is_on_a_command_line_at_any_moment(
    shell: None, public: Path, name: bytes, argv0: bytes | None
) -> None:
    env = {**PATH, name: b"s3cret"}
    command = wrapped(b"true", env=env, credentials=NOBODY, limits=LIMITS, cgroup=public, argv0=argv0)
    trace = public / "trace"
    subprocess.run(["strace", "-s", "10000", "-e", "execve", "-o", trace, *command.argv], env=command.env, check=True)
    lines = trace.read_text().splitlines()
    assert any("/true" in line for line in lines)
    assert not any("s3cret" in line for line in lines)


@pytest.mark.needs("root")
def test_without_a_python_that_the_user_may_execute_no_odd_name_can_be_set(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = public / "python3"
    private.touch(0o755)
    monkeypatch.setattr("farhand_server.runs.process.launch.PYTHON", os.fsencode(private))
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    assert os.fsencode(private) in wrapped(b"true", env={b"a.b": b""}, credentials=NOBODY).argv
    public.chmod(0o700)
    with pytest.raises(NoLauncher, match=r"'a\.b' can only be set by a Python"):
        wrapped(b"true", env={**PATH, b"a.b": b""}, credentials=NOBODY)
    assert wrapped(b"true", env=PATH, credentials=NOBODY).argv


NAMES = st.binary(min_size=1, max_size=8).filter(lambda name: not {0, ord("=")} & set(name))
NAMES_OF_SHELLS = st.sampled_from(
    [b"PATH", b"_", b"PWD", b"E0", b"E_0", b"BASH_VERSION", b"ENV", b"PS1", b"COMP_WORDS"]
)
VALUES = st.binary(max_size=20).filter(lambda value: 0 not in value)


@given(
    env=st.dictionaries(NAMES | NAMES_OF_SHELLS, VALUES.map(lambda value: b"s3cret" + value), max_size=8),
    limits=st.sampled_from([ResourceLimits(), LIMITS, ResourceLimits(memory=1 << 30)]),
    credentials=st.sampled_from([None, NOBODY]),
    cgroup=st.sampled_from([None, Path("/c")]),
    terminal=st.booleans(),
    argv0=st.sampled_from([None, b"-name"]),
    dash=st.booleans(),
)
def test_no_command_contains_a_value(env: dict[bytes, bytes], dash: bool, **way: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("farhand_server.runs.process.launch.SHELL", b"/bin/dash" if dash else b"/bin/other")
        command = wrapped(b"prog", env=env, **way)
    assert not [word for word in command.argv for value in env.values() if value in word]
    assert command.env == env or all(re.fullmatch(rb"E_*[0-9]+", name) for name in command.env)


@settings(max_examples=25)
@given(env=st.dictionaries(NAMES | NAMES_OF_SHELLS, VALUES, max_size=8), argument=VALUES)
def test_any_environment_and_any_argument_arrive_unchanged(env: dict[bytes, bytes], argument: bytes) -> None:
    show = b"import os, sys; os.write(1, open('/proc/self/environ', 'rb').read() + b'|' + os.fsencode(sys.argv[1]))"
    python = os.fsencode(os.path.realpath(sys.executable))
    found = run(wrapped(python, b"-ISc", show, argument, env=env, limits=LIMITS))
    variables = b"".join(sorted(name + b"=" + value + b"\0" for name, value in env.items()))
    environ, _, rest = found.rpartition(b"\0|") if env else (b"", b"", found[1:])
    assert b"".join(sorted(variable + b"\0" for variable in environ.split(b"\0") if environ)) == variables
    assert rest == argument


# Limits


def test_each_limit_is_set_soft_and_hard(shell: None) -> None:
    found = limits_of(ResourceLimits(memory=200 << 20, cpu=2.5, processes=4000, files=60, file_size=4096))
    assert found["Max address space"] == (str(200 << 20), str(200 << 20))
    assert found["Max cpu time"] == ("3", "4")
    assert found["Max processes"] == ("4000", "4000")
    assert found["Max open files"] == ("60", "60")
    assert found["Max file size"] == ("4096", "4096")


def test_a_limit_is_rounded_up_to_the_unit_of_ulimit(shell: None) -> None:
    found = limits_of(ResourceLimits(memory=(200 << 20) + 1, cpu=0.01, file_size=1))
    assert found["Max address space"][0] == str((200 << 20) + 1024)
    assert found["Max cpu time"][0] == "1"
    assert found["Max file size"][0] == "512"


def test_other_limits_are_inherited_from_the_service(shell: None) -> None:
    text = Path("/proc/self/limits").read_text()
    own = {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in text.splitlines()[1:]}
    found = limits_of(LIMITS)
    assert {name for name in own if own[name] != found[name]} == {"Max open files"}


def test_a_limit_is_never_raised_above_the_services_own(shell: None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("needs a hard limit on open files")
    assert limits_of(ResourceLimits(files=1 << 62))["Max open files"] == (str(hard), str(hard))


@pytest.mark.needs("root")
def test_a_users_other_processes_do_not_prevent_the_launch() -> None:
    """RLIMIT_NPROC counts all of a user's processes; execve(2) fails after a change to a user who has too many."""
    command = wrapped(b"sleep", b"30", credentials=NOBODY)
    with subprocess.Popen(command.argv, env=command.env) as other:
        try:
            run(wrapped(b"true", credentials=NOBODY, limits=ResourceLimits(processes=1)))
        finally:
            other.kill()


# The cgroup


def test_the_program_is_in_the_cgroup_when_it_starts(shell: None, tmp_path: Path) -> None:
    """An ordinary directory suffices to see what is written, and when."""
    run(wrapped(b"test", b"-s", os.fsencode(tmp_path / "cgroup.procs"), cgroup=tmp_path))
    assert (tmp_path / "cgroup.procs").read_text() == "0\n"


@pytest.mark.needs("root")
def test_the_cgroup_is_entered_by_root(shell: None, tmp_path: Path) -> None:
    """Only root can enter pytest's directories."""
    run(wrapped(b"true", cgroup=tmp_path, credentials=NOBODY, limits=LIMITS))
    assert (tmp_path / "cgroup.procs").read_text() == "0\n"


def test_a_cgroup_that_cannot_be_entered_starts_nothing(shell: None, tmp_path: Path) -> None:
    command = wrapped(b"echo", b"started", cgroup=tmp_path / "gone", limits=LIMITS)
    done = subprocess.run(command.argv, env=command.env, capture_output=True)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"gone/cgroup.procs" in done.stderr


# The start


@pytest.mark.needs("strace")
async def test_a_start_uses_vfork(tmp_path: Path) -> None:
    """fork(2) would copy the page tables of the whole service."""
    program = (
        "import asyncio, sys\n"
        "from farhand_server.credentials import Credentials\n"
        "from farhand_server.runs.process.launch import launch\n"
        "from farhand_server.runs.process.usage import ResourceLimits\n"
        "import os, subprocess\n"
        "who = Credentials('nobody', 65534, 65534, ()) if os.geteuid() == 0 else None\n"
        "command = launch([b'true'], env={}, credentials=who, limits=ResourceLimits(files=40), cgroup=None)\n"
        "subprocess.Popen(command.argv, env=command.env, cwd='/', start_new_session=True).wait()\n"
    )
    trace = tmp_path / "trace"
    started = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-e", "trace=process", "-o", trace, sys.executable, "-c", program)
    )
    assert await started.wait() == 0
    calls = trace.read_text()
    assert len(re.findall(r" (?:vfork\(|clone3?\(.*CLONE_VFORK)", calls)) == 1
    assert not re.findall(r" (?:fork\(|clone3?\((?!.*CLONE_VFORK))", calls)
