"""A host is reached through others, which see only ciphertext, and a cut anywhere between is only a pause."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import farhand_client
from farhand_client import ConnectError, HostKeyUnknown
from tests.support.command import farhand
from tests.support.faulty_proxy import LOGGED_IN, Fault, Kind, faulty_proxy, kill_edge, network_service, random_faults
from tests.support.openssh import running_agent
from tests.support.service import Service, environment

pytestmark = [pytest.mark.needs("ssh-keygen"), pytest.mark.timeout(180)]

SECRET = b"what nobody on the way may read "


@dataclass
class Middle:
    """What passes between the host on the way and the one behind it."""

    port: int = 0
    seen: bytearray = field(default_factory=bytearray)
    connections: int = 0


@dataclass
class Network:
    """`gate` is connected to; `inner` only by what listens on the port of `middle`."""

    directory: Path
    gate: Service
    inner: Service
    middle: Middle

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a client whose configuration knows both."""
        return environment(self.directory)

    def configure(self, gate: int | None = None, inner: int | None = None, *, known: bool = True) -> None:
        """Write the client's files, with other ports than their own for the two hosts."""
        assert self.gate.address is not None
        farhand_files = self.directory / "config/farhand"
        farhand_files.mkdir(parents=True, exist_ok=True)
        ports = {"gate": gate or self.gate.address[1], "inner": inner or self.middle.port}
        keys = {"gate": self.gate, "inner": self.inner}
        lines = [
            f'[hosts.{name}]\naddress = "127.0.0.1:{port}"\nidentities = ["{keys[name].directory}/key"]\n'
            for name, port in ports.items()
        ]
        (farhand_files / "config.toml").write_text("".join(lines) + 'via = ["gate"]\n')
        record = "".join(f"[127.0.0.1]:{port} {host_key(keys[name])}" for name, port in ports.items())
        (farhand_files / "known_hosts").write_text(record if known else "")


def host_key(service: Service) -> str:
    return (service.directory / "state/farhand/host_key.pub").read_text()


@contextlib.asynccontextmanager
async def recorded(target: tuple[str, int]) -> AsyncIterator[Middle]:
    """Listen in front of `target`, and keep all that passes."""
    middle = Middle()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                middle.seen += data
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        middle.connections += 1
        there, back = await asyncio.open_connection(*target)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        middle.port = server.sockets[0].getsockname()[1]
        yield middle


@pytest.fixture
async def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Network]:
    for name in ("gate", "inner", "client"):
        (tmp_path / name).mkdir()
    async with network_service(tmp_path / "gate") as gate, network_service(tmp_path / "inner") as inner:
        assert inner.address is not None
        async with recorded(inner.address) as middle:
            found = Network(tmp_path / "client", gate, inner, middle)
            found.configure()
            for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
                monkeypatch.setenv(name, found.environment[name])
            monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
            yield found


async def test_the_host_between_sees_only_ciphertext(network: Network) -> None:
    text = SECRET * 1000
    done = await farhand("run", "-i", "inner", "--", "cat", input=text, env=network.environment)
    assert (done.code, done.stdout, done.stderr) == (0, text, b"")
    assert len(network.middle.seen) > 2 * len(text)
    assert SECRET not in network.middle.seen
    # As it is when an option says the same.
    options = ["-I", f"{network.inner.directory}/key", "--via", "gate"]
    host = f"127.0.0.1:{network.middle.port}"
    done = await farhand("run", *options, host, "--", "echo", "hello", env=network.environment)
    assert (done.code, done.stdout, done.stderr) == (0, b"hello\n", b"")
    assert network.middle.connections == 2


async def test_a_chain_of_two_leads_to_a_socket_of_the_last_host(network: Network) -> None:
    done = await farhand("ping", "--via", "gate,inner", network.gate.host, env=network.environment)
    assert done.code == 0, done.stderr
    # That inner is reached through gate, too, is said twice, and counts for the nearest alone.
    assert done.stdout.startswith(network.gate.host.encode() + b": ")
    assert network.middle.connections == 1


@pytest.mark.parametrize("where", ["before", "behind"])
async def test_a_cut_on_either_side_of_the_host_between_is_only_a_pause(network: Network, where: str) -> None:
    faults = [Fault("fin", LOGGED_IN + 300_000), Fault("rst", LOGGED_IN + 700_000), Fault("fin", LOGGED_IN + 1)]
    service = network.gate if where == "before" else network.inner
    digest = hashlib.sha256(bytes(range(256)) * 40_000)
    script = "import sys; data = bytes(range(256)) * 40_000; sys.stdout.buffer.write(data)"
    async with faulty_proxy(service, iter(faults)) as line:
        before = where == "before"
        network.configure(gate=line.port if before else None, inner=None if before else line.port)
        async with farhand_client.connect("inner", reconnect=60) as client:
            done = await client.run(["python3", "-c", script])
        assert hashlib.sha256(done.stdout).digest() == digest.digest()
        assert len(line.made) == 3


async def test_rsh_jumps_and_takes_the_agent_along_and_git_goes_the_same_way(network: Network, tmp_path: Path) -> None:
    network.configure()
    config = network.directory / "config/farhand/config.toml"
    config.write_text(config.read_text().removesuffix('via = ["gate"]\n'))
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with running_agent(tmp_path, network.inner.directory / "key") as agent:
        env = network.environment | {"SSH_AUTH_SOCK": str(agent), "PATH": programs}
        rsh = ("rsh", "-J", "gate")
        done = await farhand(*rsh, "-A", "inner", "ssh-add -l; echo $SSH_AUTH_SOCK", env=env)
        listed, path = done.stdout.decode().splitlines()
        assert "a key made by a test" in listed
        assert path.startswith("/tmp/farhand-")
        assert not Path(path).parent.exists()
        assert (await farhand(*rsh, "-A", "-a", "inner", "test -z $SSH_AUTH_SOCK", env=env)).code == 0
        git = env | {"GIT_SSH_COMMAND": "farhand rsh -J gate"}
        for words in (["init", "-q", "--bare", "far.git"], ["clone", "-q", f"inner:{tmp_path}/far.git", "near"]):
            process = await asyncio.create_subprocess_exec("git", *words, cwd=tmp_path, env=git)
            assert await process.wait() == 0
    assert (tmp_path / "near/.git").is_dir()
    audit = (network.gate.directory / "state/farhand/audit.jsonl").read_text()
    assert (audit.count('"event":"login"'), network.middle.connections) == (3, 3)


async def test_a_host_between_that_dies_in_the_middle_is_only_a_pause(network: Network) -> None:
    async with (
        farhand_client.connect("inner", reconnect=60) as client,
        farhand_client.connect(network.gate.host) as gate,
        client.start(["cat"], stdin=asyncio.subprocess.PIPE) as run,
    ):
        answers = run.stdout.lines()
        for number in range(4):
            assert run.stdin is not None
            run.stdin.write(b"line %d\n" % number)
            assert await anext(answers) == b"line %d\n" % number
            if number % 2:
                kill_edge(network.gate)
            else:  # what connects from there to inner
                [worker] = [each.pid for each in await gate.runs() if each.outcome is None]
                assert worker is not None
                os.kill(worker, signal.SIGKILL)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_fifty_cuts_on_either_side_of_the_host_between_are_fifty_pauses(network: Network) -> None:
    blocks = 64
    kinds: dict[Kind, int] = {"fin": 2, "rst": 2, "edge": 1}
    before, behind = (random_faults(seed, 40, (blocks << 20) // 25, kinds) for seed in (1, 2))
    script = (
        "import random, sys; r = random.Random(3); "
        f"[sys.stdout.buffer.write(r.randbytes(1 << 20)) for _ in range({blocks})]"
    )
    chance, expected = random.Random(3), hashlib.sha256()
    for _ in range(blocks):
        expected.update(chance.randbytes(1 << 20))
    digest = hashlib.sha256()
    async with (
        faulty_proxy(network.gate, iter(before)) as to_gate,
        faulty_proxy(network.inner, iter(behind)) as to_inner,
    ):
        network.configure(gate=to_gate.port, inner=to_inner.port)
        async with (
            farhand_client.connect("inner", reconnect=120) as client,
            client.start(["python3", "-c", script]) as run,
        ):
            while chunk := await run.stdout.read(1 << 20):
                digest.update(chunk)
            await run.wait()
        assert digest.digest() == expected.digest()
        assert len(to_gate.made) + len(to_inner.made) >= 50


async def test_a_dead_host_between_is_named(network: Network) -> None:
    assert network.gate.address is not None
    port = network.gate.address[1]
    await network.inner.stop()
    with pytest.raises(ConnectError, match=r"closed the connection during the TLS 1\.3 handshake"):
        await farhand_client.connect("inner", timeout=10)
    await network.gate.stop()
    with pytest.raises(ConnectError) as caught:
        await farhand_client.connect("inner")
    way = f"on the way to 127.0.0.1:{network.middle.port}"
    assert str(caught.value).startswith(f"{way}: nothing listens on 127.0.0.1 port {port}; does farhandd run there")
    done = await farhand("run", "inner", "--", "true", env=network.environment)
    assert done.code == 255
    assert done.stderr.startswith(b"farhand: on the way to 127.0.0.1:")


async def test_a_port_that_the_host_between_cannot_connect_to_is_named_with_it(network: Network) -> None:
    network.configure(inner=1)
    hop = r"127\.0\.0\.1:[0-9]+"
    with pytest.raises(ConnectError, match=rf"^on the way to 127\.0\.0\.1:1: {hop} cannot connect to it: "):
        await farhand_client.connect("inner")


async def test_each_host_is_checked_under_its_own_name(network: Network) -> None:
    network.configure(known=False)
    asked: list[str] = []

    async def confirm(unknown: HostKeyUnknown) -> bool:
        asked.append(unknown.name)
        return True

    with pytest.raises(HostKeyUnknown, match=r"^on the way to 127\.0\.0\.1:[0-9]+: the host key of 127\.0\.0\.1:"):
        await farhand_client.connect("inner")
    async with farhand_client.connect("inner", confirm=confirm):
        pass
    assert network.gate.address is not None
    assert asked == [f"[127.0.0.1]:{network.gate.address[1]}", f"[127.0.0.1]:{network.middle.port}"]
    network.configure(known=False)
    fingerprint = (await farhand("trust", "gate", env=network.environment, input=b"")).stderr.split()
    key = next(word for word in fingerprint if word.startswith(b"SHA256:")).decode().rstrip(".")
    assert (await farhand("trust", "gate", key, env=network.environment)).code == 0
    unknown = await farhand("trust", "inner", env=network.environment, input=b"")
    key = next(word for word in unknown.stderr.split() if word.startswith(b"SHA256:")).decode().rstrip(".")
    assert f"farhand trust --via 127.0.0.1:{network.gate.address[1]} 127.0.0.1:".encode() in unknown.stderr
    assert (await farhand("trust", "inner", key, env=network.environment)).code == 0
    assert (await farhand("ping", "inner", env=network.environment)).code == 0


async def test_clients_of_one_process_share_the_connection_to_the_host_between(network: Network) -> None:
    async with farhand_client.connect("gate") as gate:
        async with farhand_client.connect("inner"), farhand_client.connect("inner") as second:
            assert (await gate.status()).connections == 2
            assert (await second.run(["echo", "hello"])).stdout == b"hello\n"
        async with asyncio.timeout(30):
            while (await gate.status()).connections > 1:
                pass  # the service's edge has to notice the end of the other first
