"""`farhand rsh` does what ssh does: exit codes, output and messages are compared with OpenSSH's, command by command."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import pytest

from tests.support.remote_shells import RemoteShell, RemoteShells, remote_shells
from tests.support.sshd import LOOPBACK, free_port

pytestmark = [pytest.mark.needs("ssh", "sshd", "ssh-keygen", "sftp"), pytest.mark.timeout(180)]

AT_ONCE: Final = 4
"""Commands under way: each is two processes and a login on either side."""


class Case(NamedTuple):
    """Words after `ssh`, and what stdin holds."""

    words: Sequence[str]
    stdin: bytes = b""
    variables: Mapping[str, str] = MappingProxyType({})


CASES: Final = [
    Case(["web", "true"]),
    Case(["web", "false"]),
    Case(["web", "exit 7"]),
    Case(["web", "exit 255"]),
    Case(["web", "echo out; echo err >&2; exit 3"]),
    Case(["web", "echo", "a  b", "c"]),
    Case(["web", "echo", "'a  b'", '"c  d"', "$((1+1))", "*.none"]),
    Case(["web", "printf '%s|' a b\\ c \"d e\""]),
    Case(["web", "echo", "-n", "x"]),
    Case(["web", "-T", "-q", "echo", "hi"]),
    Case(["-T", "web", "-n", "cat"], b"never read"),
    Case(["-n", "web", "cat; echo $?"], b"never read"),
    Case(["web", "cat"], b"all\0 of it\xff\n"),
    Case(["web", "cat >/dev/null; echo done"], b"x" * 300_000),
    Case(["web", "head -c 5"], b"y" * 300_000),
    Case(["web", "head -c 300000 /dev/zero | tr '\\0' z"]),
    Case(["web", "cat; cat >&2"], b"once"),
    Case(["-T", "web"], b"echo from a script\nexit 4\n"),
    Case(["-T", "web"], b"echo no exit\n"),
    Case(["web"], b"tty || exit 9\n"),
    Case(["-tt", "web", "test -t 0 && test -t 1 && stty size >/dev/null && echo terminal"]),
    Case(["-t", "web", "test -t 0 || echo none"]),
    Case(["-oRequestTTY=no", "web"], b"test -t 0 || echo none\n"),
    Case(["-o", "RequestTTY force", "web", "test -t 1 && echo terminal"]),
    Case(["web", "kill -9 $$"]),
    Case(["web", "kill -TERM $$"]),
    Case(["web", "exec 2>/dev/null; sh -c 'kill -SEGV $$'; echo $?"]),
    Case(["web", "no-such-program-anywhere"]),
    Case(["web", "/etc/passwd"]),
    Case(["web", "exec /no/such/file"]),
    Case(["web", "echo $0 | grep -c -- '^-'"]),
    Case(["-T", "web"], b"echo $0 | grep -c '^-'\n"),
    Case(["-T", "web"], b"shopt -q login_shell && echo login\n"),
    Case(["web", "set -- $SSH_CLIENT; echo $1 $#; set -- $SSH_CONNECTION; echo $1 $3 $#"]),  # bash reads .bashrc then
    Case(["web", "--", "echo", "x"]),
    Case(["--", "web", "echo", "-x"]),
    Case(
        ["-o", "SendEnv=FAR_*", "web", 'echo "$FAR_ONE/$FAR_TWO/$OTHER"'],
        b"",
        {"FAR_ONE": "1", "FAR_TWO": "two  2", "OTHER": "x"},
    ),
    Case(["-oSetEnv=FAR_X=a=b", "web", "echo $FAR_X"]),
    Case(["-oRemoteCommand=echo %n; exit 5", "web"]),
    Case(["-oRemoteCommand=echo x", "web", "echo", "y"]),
    Case(["-o", "StdinNull=yes", "web", "cat; echo $?"], b"never read"),
    Case(["-oNonsense=yes", "web", "true"]),
    Case(["-oPort=none", "web", "true"]),
    Case(["-oHost=x", "web", "true"]),
    Case(["-p", "0", "web", "true"]),
    Case(["-e", "xyz", "web", "true"]),
    Case(["-L", "nonsense", "web", "true"]),
    Case(["-1", "web", "true"]),
    Case(["-f", "web"]),
    Case(["-N", "-s", "web", "x"]),
    Case(["-F", "/no/such/config", "web", "true"]),
    Case(["-O", "nonsense", "web"]),
    Case(["-Q", "protocol-version"]),
    Case(["-Q", "nonsense"]),
    Case(["-oLogLevel=loud", "web", "true"]),
    Case(["-oSetEnv=x", "web", "true"]),
    Case(["-J", "a,b:x", "web", "true"]),
    Case(["-w", "x", "web", "true"]),
    Case(["-y", "-E", "x", "web", "true"]),
    Case(["-i", "/no/such/key", "web", "echo", "x"]),
]


@pytest.fixture
async def shells(tmp_path: Path) -> AsyncIterator[RemoteShells]:
    async with remote_shells(tmp_path) as both:
        yield both


async def finished(shell: RemoteShell, case: Case) -> tuple[int | None, bytes, bytes]:
    """Return the exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(*shell.words, *case.words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**shell.env, **case.variables},
    )
    out, err = await process.communicate(case.stdin)
    # ssh ends its lines as a terminal in raw mode needs it, names the address, and gives shells their last name only.
    err = err.replace(b"\r\n", b"\n").replace(b"127.0.0.1 closed", b"web closed").replace(b"/bin/bash: ", b"bash: ")
    return process.returncode, out, err


async def test_exit_codes_output_and_messages_are_those_of_ssh(shells: RemoteShells) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def compare(case: Case) -> str:
        async with slots:
            theirs, ours = await asyncio.gather(finished(shells.ssh, case), finished(shells.farhand, case))
        return "" if theirs == ours else f"{case}\n  ssh:     {theirs}\n  farhand: {ours}"

    differences = [text for text in await asyncio.gather(*map(compare, CASES)) if text]
    assert not differences, "\n" + "\n".join(differences)


async def test_forwards_and_what_runs_no_command(shells: RemoteShells, tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"<" + await reader.read() + b">")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        shell = shells.farhand
        assert await shell.run("-W", f"{LOOPBACK}:{port}", "web", input=b"hi") == "<hi>"

        # -f returns once the forward listens; the command that it leaves behind ends with the file.
        here, end = free_port(), tmp_path / "end"
        until = f"while [ ! -e {end} ]; do sleep 0.05; done"
        assert await shell.run("-f", f"-L{here}:{LOOPBACK}:{port}", "web", until, stdout=None, stderr=None) == ""
        assert await asked(here, b"over -L") == b"<over -L>"
        busy = await finished(shell, Case(["-L", f"{here}:{LOOPBACK}:{port}", "web", "true"]))
        assert busy[:2] == (255, b"")
        assert str(here).encode() in busy[2]
        end.touch()

        there = free_port()
        process = await asyncio.create_subprocess_exec(
            *(*shell.words, "-N", "-R", f"{there}:{LOOPBACK}:{port}", "web"), env=dict(shell.env)
        )
        try:
            async with asyncio.timeout(60):
                while (answer := await asked(there, b"over -R")) is None:  # noqa: ASYNC110  # nothing tells
                    await asyncio.sleep(0.05)
            assert answer == b"<over -R>"
        finally:
            process.terminate()
            assert await process.wait() == 255


async def asked(port: int, data: bytes) -> bytes | None:
    """Return what the other end of a connection answers; None if nobody accepts it."""
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return None
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_names_of_sshs_configuration_lead_there(shells: RemoteShells, tmp_path: Path) -> None:
    assert shells.service.address is not None
    _, port = shells.service.address
    alias = tmp_path / "alias"
    alias.write_text(
        f"Host box\nHostName {LOOPBACK}\nPort {port}\nIdentityFile {shells.service.directory}/key\nSetEnv FAR=%h\n"
    )
    shell = shells.farhand.having(FARHAND_SSH_CONFIG=str(alias))
    assert await shell.run("box", "echo $FAR") == f"{LOOPBACK}\n"
    assert await shell.act("farhand", "run", "box", "--", "echo", "run") == "run\n"
    assert await shells.farhand.run("-F", str(alias), "-T", "box", input=b"echo shell\n") == "shell\n"
    assert f"hostname {LOOPBACK}\nport {port}\n" in await shell.run("-G", "box")
    wrong = await finished(shell, Case(["-oProxyCommand=nc %h %p", "box", "true"]))
    assert wrong[0] == 255
    assert b"which only ssh can use" in wrong[2]
