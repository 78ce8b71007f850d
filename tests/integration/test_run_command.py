"""`farhand` with a real service: over a Unix socket, over TLS with a key, and with its own (`farhand local`)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import openssh, warm
from tests.support.command import farhand, running
from tests.support.service import Service, environment, running_service


async def test_arguments_arrive_as_they_are(service: Service) -> None:
    arguments = [b"", b"a b", b"$HOME", b"*", b"it's", b"new\nline", b"-n", b"\xff"]
    done = await farhand("run", service.host, "--", "printf", "%s|", *arguments)
    assert (done.code, done.stdout, done.stderr) == (0, b"".join(a + b"|" for a in arguments), b"")


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
async def test_exit_codes_are_the_commands(service: Service, script: str, code: int) -> None:
    assert (await farhand("run", "--shell", service.host, script)).code == code


@pytest.mark.parametrize("script", ["-x", "+O"])
async def test_a_script_that_looks_like_an_option_is_a_script(service: Service, script: str) -> None:
    done = await farhand("run", "--shell", service.host, "--", script)
    assert (done.code, done.stdout) == (127, b"")
    assert script.encode() in done.stderr


async def test_what_an_ssh_user_types_first_is_answered_with_a_line_that_works(service: Service) -> None:
    done = await farhand("run", service.host, "echo one two | wc -w")
    assert (done.code, done.stdout) == (127, b"")
    *_, line = done.stderr.decode().splitlines()
    hint, _, command = line.partition(": ")
    assert hint == "  to run it in a shell"
    assert (await farhand(*shlex.split(command)[1:])).stdout == b"2\n"


async def test_stdin_reaches_the_command(service: Service) -> None:
    data = os.urandom(5_000_000)
    assert (await farhand("run", "-i", service.host, "cat", input=data)).stdout == data


async def test_ctrl_c_interrupts_the_command(service: Service) -> None:
    script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.01; done"
    async with running("run", "--shell", service.host, script) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        stdout, _ = await process.communicate()
        assert (process.returncode, stdout) == (5, b"caught\n")


async def test_head_ends_an_endless_command(service: Service) -> None:
    reading, writing = os.pipe()
    async with running("run", service.host, "yes", stdout=writing) as process:
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 2) == b"y\n"
        os.close(reading)
        assert await process.wait() == 141


# Over TLS


@contextlib.asynccontextmanager
async def reachable(directory: Path) -> AsyncIterator[tuple[Service, str, dict[str, str]]]:
    """Run a service on loopback that accepts a new key; yield its HOST and an environment with that default key."""
    home = directory / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    openssh.make_key(home / ".ssh/id_ed25519")
    env = {**environment(directory), "HOME": str(home)}
    authorized = directory / "config/farhand/authorized_keys"
    authorized.parent.mkdir(parents=True)
    authorized.write_bytes((home / ".ssh/id_ed25519.pub").read_bytes())
    async with running_service(directory, listen=True) as service:
        assert service.address is not None
        host, port = service.address
        yield service, f"{host}:{port}", env


async def fingerprint(env: dict[str, str]) -> str:
    shown = await warm.start(*warm.FARHANDD, "host-key", stdout=subprocess.PIPE, env=env)
    out, _ = await shown.communicate()
    found = re.search(r"SHA256:\S+", out.decode())
    assert found is not None
    return found.group()


async def test_a_script_does_not_connect_to_an_unknown_service(tmp_path: Path) -> None:
    async with reachable(tmp_path) as (_, host, env):
        right = await fingerprint(env)
        done = await farhand("run", host, "true", env=env)
        assert done.code == 255
        assert f"farhand trust {host} {right}".encode() in done.stderr

        wrong = await farhand("trust", host, "SHA256:" + "A" * 43, env=env)
        assert wrong.code == 255
        assert b"nothing was recorded" in wrong.stderr
        assert (await farhand("run", host, "true", env=env)).code == 255

        assert (await farhand("trust", host, env=env)).code == 255  # no user to ask
        trusted = await farhand("trust", host, right, env=env)
        assert (trusted.code, trusted.stderr) == (0, b"")
        assert (await farhand("run", host, "echo", "hello", env=env)).stdout == b"hello\n"
        assert (await farhand("ping", "-c", "1", host, env=env)).code == 0


async def test_a_changed_key_stops_everything_until_it_is_trusted(tmp_path: Path) -> None:
    async with reachable(tmp_path) as (_, host, env):
        right = await fingerprint(env)
        record = tmp_path / "config/farhand/known_hosts"
        name, _, port = host.rpartition(":")
        other = (tmp_path / "home/.ssh/id_ed25519.pub").read_text().split()
        record.write_text(f"[{name}]:{port} {other[0]} {other[1]}\n")
        done = await farhand("run", "--accept-new", host, "true", env=env)
        assert done.code == 255
        assert b"HAS CHANGED" in done.stderr
        assert (await farhand("trust", host, right, env=env)).code == 0
        assert (await farhand("run", host, "true", env=env)).code == 0


async def test_the_error_names_a_refused_key(tmp_path: Path) -> None:
    async with reachable(tmp_path) as (_, host, env):
        key = openssh.make_key(tmp_path / "stranger")
        done = await farhand("run", "--accept-new", "-I", str(tmp_path / "stranger"), host, "true", env=env)
        assert done.code == 255
        assert key.fingerprint.encode() in done.stderr
        assert b"farhandd authorize" in done.stderr


async def test_large_output_arrives_completely_over_tls(tmp_path: Path) -> None:
    size = 200_000_000
    async with reachable(tmp_path) as (_, host, env):
        out = tmp_path / "out"
        with out.open("wb") as file:
            done = await farhand(
                "run", "--accept-new", host, "head", "-c", str(size), "/dev/zero", stdout=file, env=env
            )
        assert (done.code, out.stat().st_size) == (0, size)
        with out.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(bytes(size)).digest()


async def test_a_service_killed_during_a_run_is_exit_code_255(tmp_path: Path) -> None:
    async with (
        reachable(tmp_path) as (service, host, env),
        running("run", "--accept-new", "--reconnect=0", "--shell", host, "echo ready; sleep 60", env=env) as process,
    ):
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        service.process.kill()
        _, stderr = await process.communicate()
        assert process.returncode == 255
        assert b"the command may have run" in stderr


# A service of its own


def temporary(directory: Path) -> dict[str, str]:
    """Return an environment whose temporary files are in `directory`/t."""
    (directory / "t").mkdir()
    return {**os.environ, "TMPDIR": str(directory / "t")}


@pytest.mark.parametrize(("script", "code"), [("echo hello; exit 7", 7), ("kill -9 $$", 137)])
async def test_local_runs_one_command_and_leaves_nothing(tmp_path: Path, script: str, code: int) -> None:
    env = temporary(tmp_path)
    done = await farhand("local", "--", "sh", "-c", script, env=env)
    assert (done.code, done.stderr) == (code, b"")
    assert list((tmp_path / "t").iterdir()) == []
    assert services(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_local_stops_its_service_when_it_is_signaled(tmp_path: Path, number: int) -> None:
    env = temporary(tmp_path)
    async with running("local", "sh", "-c", "echo ready; exec sleep 60", env=env) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        assert len(services(tmp_path)) == 1
        process.send_signal(number)
        assert await process.wait() == 128 + number
    assert list((tmp_path / "t").iterdir()) == []
    assert services(tmp_path) == []


async def test_killing_local_leaves_no_service(tmp_path: Path) -> None:
    env = temporary(tmp_path)
    async with running("local", "sh", "-c", "echo ready; exec sleep 60", env=env) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        (service,) = services(tmp_path)
        gone = os.pidfd_open(service)
        process.kill()
        finished = asyncio.Event()
        asyncio.get_running_loop().add_reader(gone, finished.set)
        await finished.wait()
        asyncio.get_running_loop().remove_reader(gone)
        os.close(gone)


def services(directory: Path) -> list[int]:
    """Return the services that have `directory` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if os.fsencode(directory) in command and b"farhand_server" in command:
                found.append(int(entry.name))
    return found
