"""The helper makes commands faster and nothing else: killed at any moment it costs a reconnect, never a byte of output
and never a second start."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from farhand_client.mux import ask
from farhand_client.mux.place import HelperPlace, program_directory
from farhand_client.mux.request import STATUS, frame
from tests.support import openssh
from tests.support.client import TIMEOUT
from tests.support.command import farhand, running
from tests.support.processes import end_of
from tests.support.service import Service, environment, running_service


@dataclass
class Reachable:
    """A service over TLS, whose user's commands may use the helper."""

    service: Service
    env: dict[str, str]
    place: HelperPlace

    @property
    def host(self) -> str:
        assert self.service.address is not None
        return f"127.0.0.1:{self.service.address[1]}"

    def pid(self) -> int | None:
        """The helper's process id; None if there is none."""
        connection = ask.reach(self.place)
        if connection is None:
            return None
        with contextlib.closing(connection):
            return ask.peer(connection)[0]

    def report(self) -> dict[str, object] | None:
        """What the helper says about itself."""
        connection = ask.reach(self.place)
        if connection is None:
            return None
        data = b""
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            connection.settimeout(TIMEOUT)
            connection.sendall(frame(STATUS))
            while more := connection.recv(65536):
                data += more
        if not data:
            return None  # it is about to leave
        found: dict[str, object] = json.loads(data[8:])
        return found

    async def warm(self) -> int:
        """Run a command if there is no connection ready, and wait until there is one; return the helper's pid."""
        async with asyncio.timeout(TIMEOUT):
            while not (report := self.report()) or not report["connections"]:
                assert (await farhand("run", self.host, "true", env=self.env)).code == 0
        found = self.pid()
        assert found is not None
        return found

    async def served(self) -> int:
        """How many connections the helper has lent."""
        report = self.report()
        assert report is not None
        return int(str(report["served"]))

    def kill(self) -> None:
        """Kill the helper."""
        if (pid := self.pid()) is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reachable]:
    directory = tmp_path_factory.mktemp("tls")
    config = directory / "config/farhand"
    config.mkdir(parents=True)
    openssh.make_key(config / "id_ed25519")
    (config / "authorized_keys").write_bytes((config / "id_ed25519.pub").read_bytes())
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        service = runner.run(stack.enter_async_context(running_service(directory, listen=True)))
        # HOME has no other key.
        env = environment(directory) | {"FARHAND_MUX": "", "HOME": str(directory)}
        made = Reachable(service, env, HelperPlace(bytes(directory / "run/farhand"), program_directory()))
        arguments = ("run", "--accept-new", "--no-mux", made.host, "true")
        assert runner.run(farhand(*arguments, env=env)).code == 0
        assert made.pid() is None
        try:
            yield made
        finally:
            made.kill()
            runner.run(stack.aclose())


async def test_a_command_starts_the_helper_and_the_next_ones_use_it(reachable: Reachable) -> None:
    pid = await reachable.warm()
    before = await reachable.served()
    done = await farhand(
        "run", "-i", reachable.host, "--", "sh", "-c", "cat; echo e >&2; exit 3", input=b"in", env=reachable.env
    )
    assert (done.code, done.stdout, done.stderr) == (3, b"in", b"e\n")
    assert (await farhand("ps", reachable.host, env=reachable.env)).code == 0
    assert (await farhand("ping", "-c", "1", reachable.host, env=reachable.env)).code == 0
    assert await reachable.served() == before + 3
    assert (await farhand("run", "--no-mux", reachable.host, "true", env=reachable.env)).code == 0
    off = reachable.env | {"FARHAND_MUX": "off"}
    assert (await farhand("run", reachable.host, "true", env=off)).code == 0
    assert await reachable.served() == before + 3
    assert reachable.pid() == pid


@pytest.mark.parametrize("command", ["run", "ps"])
async def test_a_command_for_a_socket_starts_the_helper_for_its_processes(
    command: str, reachable: Reachable, tmp_path: Path
) -> None:
    place = HelperPlace(bytes(tmp_path / "farhand"), program_directory())
    there = replace(reachable, place=place, env=reachable.env | {"XDG_RUNTIME_DIR": str(tmp_path)})
    words = ["true"] if command == "run" else []
    off = there.env | {"FARHAND_MUX": "off"}
    assert (await farhand(command, there.service.host, *words, env=off)).code == 0
    assert there.pid() is None
    async with asyncio.timeout(TIMEOUT):
        while there.pid() is None:
            assert (await farhand(command, there.service.host, *words, env=there.env)).code == 0
    report = there.report()
    assert report is not None
    assert report["connections"] == []
    there.kill()


SCRIPT = """
echo started >> "$0"
head -c 3000000 /dev/zero | tr '\\0' x
sha256sum
sleep 0.2
head -c 3000000 /dev/zero | tr '\\0' y
"""
INPUT = os.urandom(3_000_000)
OUTPUT = b"x" * 3_000_000 + hashlib.sha256(INPUT).hexdigest().encode() + b"  -\n" + b"y" * 3_000_000


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8])
async def test_a_helper_that_is_killed_costs_no_byte_and_starts_nothing_twice(
    reachable: Reachable, tmp_path: Path, delay: float
) -> None:
    await reachable.warm()
    starts = tmp_path / "starts"
    arguments = ("run", "-i", "--reconnect", "0", reachable.host, "--", "sh", "-c", SCRIPT, str(starts))
    async with running(*arguments, env=reachable.env, stdin=subprocess.PIPE) as process:
        talking = asyncio.ensure_future(process.communicate(INPUT))
        await asyncio.sleep(delay)  # wherever it is then
        reachable.kill()
        async with asyncio.timeout(TIMEOUT):
            out, err = await talking
    assert err == b""
    assert process.returncode == 0
    assert out == OUTPUT
    assert starts.read_text() == "started\n"


async def test_a_command_that_is_killed_ends_its_run_as_without_the_helper(reachable: Reachable) -> None:
    await reachable.warm()
    before = await reachable.served()
    arguments = ("run", "--grace", "0", reachable.host, "--", "sh", "-c", "echo $$; exec sleep 600")
    async with running(*arguments, env=reachable.env) as process:
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
        assert await reachable.served() == before + 1
        process.kill()
        await process.wait()
    await end_of(pid)


async def test_a_connection_whose_key_is_gone_is_not_used(reachable: Reachable) -> None:
    await reachable.warm()
    key = reachable.service.directory / "config/farhand/id_ed25519"
    key.rename(key.with_name("away"))
    try:
        assert (await farhand("run", reachable.host, "true", env=reachable.env)).code == 255
    finally:
        key.with_name("away").rename(key)


async def test_the_helper_is_shown_and_stopped(reachable: Reachable) -> None:
    pid = await reachable.warm()
    shown = await farhand("helper", "status", env=reachable.env)
    assert shown.code == 0
    assert f"helper: pid {pid}, running for ".encode() in shown.stdout
    assert f" on {reachable.host}: up for ".encode() in shown.stdout
    stopped = await farhand("helper", "stop", env=reachable.env)
    assert (stopped.code, stopped.stdout) == (0, f"stopped the helper, pid {pid}\n".encode())
    await end_of(pid)
    assert reachable.pid() != pid
