"""Wherever ssh leads, so does Farhand: `ssh:HOST`, with a real sshd and a real service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command import farhand
from tests.support.openssh import make_key
from tests.support.processes import children, command_line, session_is_gone
from tests.support.ptys import terminal
from tests.support.service import Service, running_service
from tests.support.sshd import Sshd, running_sshd
from tests.support.warm import FARHAND

pytestmark = [pytest.mark.needs("ssh", "sshd", "ssh-keygen"), pytest.mark.timeout(180)]


@dataclass
class Far:
    """A machine that only ssh leads to, and the environment of a client."""

    service: Service
    sshd: Sshd
    environment: dict[str, str]


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Far]:
    async with contextlib.AsyncExitStack() as stack:
        config = "[drain]\ngrace = 0.2\n"  # for the run of a client that was killed
        service = await stack.enter_async_context(running_service(tmp_path, config=config))
        programs = tmp_path / "bin"
        programs.mkdir()
        farhandd = programs / "farhandd"
        farhandd.write_text(f'#!/bin/sh\nexec {sys.executable} -m farhand_server "$@"\n')
        farhandd.chmod(0o755)
        there = {"PATH": f"{programs}:/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path / "run"), "HOME": str(tmp_path)}
        files = tmp_path / "sshd"
        files.mkdir()
        for name in ("key", "host_key"):
            make_key(files / name)
        sshd = await stack.enter_async_context(running_sshd(files, "far", os.environ, session=there))
        ssh = files / "ssh"  # it does not look for its configuration below HOME
        ssh.write_text(f'#!/bin/sh\nexec ssh -F {sshd.client_config} "$@"\n')
        ssh.chmod(0o755)
        yield Far(service, sshd, service.environment | {"FARHAND_SSH": str(ssh)})


def connections(sshd: Sshd) -> list[int]:
    """Return the processes of sshd that serve one connection each."""
    return children(sshd.pid)


async def test_a_command_runs_as_over_any_other_connection(far: Far) -> None:
    done = await farhand(
        "run", "-i", "ssh:far", "--", "sh", "-c", "cat; echo err >&2; exit 3", input=b"in", env=far.environment
    )
    assert (done.code, done.stdout, done.stderr) == (3, b"in", b"err\n")
    config = Path(far.environment["XDG_CONFIG_HOME"]) / "farhand/config.toml"
    config.write_text('[hosts.web]\naddress = "ssh:far"\n')
    for host in ("web", "ssh:far"):
        copy = far.service.directory / f"copy by {host}"
        done = await farhand("cp", str(config), f"{host}:{copy}", env=far.environment)
        assert (done.code, copy.read_bytes()) == (0, config.read_bytes())


async def test_a_run_goes_on_when_its_ssh_is_killed_and_no_byte_is_lost_or_doubled(far: Far) -> None:
    script = "i=0; while [ $i -lt 200000 ]; do echo line $i; i=$((i+1)); done; cat | wc -c"
    process = await asyncio.create_subprocess_exec(
        *FARHAND,
        "run",
        "-i",
        "ssh:far",
        "--",
        "sh",
        "-c",
        script,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=far.environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    received = b""
    cut = 0
    typed = bytes(3_000_000)

    async def feed() -> None:
        assert process.stdin is not None
        process.stdin.write(typed)
        await process.stdin.drain()
        process.stdin.close()

    feeding = asyncio.create_task(feed())
    while part := await process.stdout.read(1 << 16):
        received += part
        if cut < 3 and len(received) > (cut + 1) * 400_000:
            # There may be none yet: what came through the last one is still being read.
            for ssh in [pid for pid in children(process.pid) if b"ssh" in command_line(pid)][:1]:
                cut += 1
                os.kill(ssh, signal.SIGKILL)
    await feeding
    assert process.stderr is not None
    said = await process.stderr.read()
    assert await process.wait() == 0, said
    assert cut == 3
    assert received == b"".join(b"line %d\n" % i for i in range(200_000)) + b"3000000\n"


async def test_neither_ssh_nor_stdio_is_left_when_a_command_ends(far: Far) -> None:
    async with (
        terminal() as pty,
        pty.running(
            *FARHAND, "run", "ssh:far", "--", "sh", "-c", "echo begun; sleep 1000", env=far.environment
        ) as process,
    ):
        await pty.shows(b"begun")
        (serving,) = connections(far.sshd)
        assert len(children(process.pid)) == 1
        process.kill()
        await process.wait()
    async with asyncio.timeout(60):
        while connections(far.sshd):  # noqa: ASYNC110  # another process's children
            await asyncio.sleep(0.01)
    await session_is_gone(serving)


async def test_a_key_typed_for_the_command_does_not_end_ssh(far: Far) -> None:
    async with terminal() as pty:
        script = "trap 'echo interrupted; exit 4' INT; echo begun; while :; do sleep 0.1; done"
        async with pty.running(*FARHAND, "run", "ssh:far", "--", "sh", "-c", script, env=far.environment) as process:
            await pty.shows(b"begun")
            pty.type(b"\x03")
            await pty.shows(b"interrupted")
            await process.wait()
            assert b"lost" not in pty.shown


async def test_ssh_asks_about_an_unknown_host_key_at_the_terminal(far: Far) -> None:
    known = far.sshd.directory / "ssh_known_hosts"
    known.write_text("")
    config = far.sshd.client_config
    config.write_text(config.read_text().replace("Checking yes", "Checking ask"))
    refused = await farhand("run", "ssh:far", "--", "true", env=far.environment)
    assert refused.code == 255
    assert b"farhand: ssh cannot connect to far:" in refused.stderr
    assert b"Host key verification failed." in refused.stderr
    command = (*FARHAND, "run", "ssh:far", "--", "echo", "it runs")
    async with terminal() as pty, pty.running(*command, env=far.environment) as process:
        await pty.shows(b"(yes/no/[fingerprint])?")
        pty.type(b"yes\n")
        await pty.shows(b"it runs")
        assert await process.wait() == 0
        assert not pty.raw
    assert "ssh-ed25519" in known.read_text()


async def test_a_missing_service_and_a_missing_program_say_what_to_do(far: Far) -> None:
    await far.service.stop()
    done = await farhand("ping", "ssh:far", env=far.environment)
    assert done.code == 255
    assert b"no Farhand service answers at far: farhandd: no service answers on " in done.stderr
    assert done.stderr.endswith(b"; or from here: farhand up far\n")
    (far.service.directory / "bin/farhandd").unlink()
    done = await farhand("ping", "ssh:far", env=far.environment)
    assert done.stderr == b"farhand: far has no program farhandd; to install it: farhand up far\n"


async def test_what_startup_files_print_is_passed_over(far: Far) -> None:
    farhandd = far.service.directory / "bin/farhandd"
    farhandd.write_text(farhandd.read_text().replace("exec", "echo Welcome; echo You have mail >&2\nexec"))
    assert stat.S_IMODE(farhandd.stat().st_mode) == 0o755
    done = await farhand("run", "ssh:far", "--", "echo", "hello", env=far.environment)
    assert (done.code, done.stdout, done.stderr) == (0, b"hello\n", b"")
