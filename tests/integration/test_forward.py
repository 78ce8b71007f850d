"""`farhand forward`, and forwards of `run`: ports of one machine on the other, with real programs and a service."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client import connect
from tests.support.command import farhand, json_lines, running
from tests.support.cutting_proxy import cutting_proxy
from tests.support.forward_targets import (
    exchange,
    exchange_datagram,
    http,
    serving,
    serving_datagrams,
    upper,
)
from tests.support.openssh import running_agent
from tests.support.service import Service, running_service
from tests.support.shells import new_run_id
from tests.support.sshd import free_port

TIMEOUT = 40.0


@contextlib.asynccontextmanager
async def forwarding(
    service: Service, *arguments: str, host: str | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[Any]]]:
    """Run `farhand forward --json`; yield the process and the ports on which its forwards listen."""
    flags = sum(word in ("-L", "-R", "-D") for word in arguments)
    async with running("forward", "--json", host or service.host, *arguments, env=service.environment) as process:
        events = [await next_event(process) for _ in range(flags)]
        assert [event["event"] for event in events] == ["listening"] * flags
        yield process, [event["port"] for event in events]


async def next_event(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT):
        line = await process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError((await process.stderr.read()).decode())
    event: dict[str, Any] = json.loads(line)
    return event


async def ended(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), TIMEOUT)


def busy_port() -> socket.socket:
    taken = socket.create_server(("127.0.0.1", 0))
    taken.listen()
    return taken


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that refuses connections, and that nobody else is given meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        yield port


async def test_connections_and_datagrams_reach_the_other_side_and_come_back(service: Service, tmp_path: Path) -> None:
    sockets = [str(tmp_path / name) for name in ("here", "there")]
    async with serving(upper) as port, serving_datagrams() as udp, serving(upper, path=sockets[1]):
        words = ["-L", f"0:localhost:{port}", "-R", f"0:127.0.0.1:{port}", "-L", f"udp:0:127.0.0.1:{udp}"]
        words += ["-R", f"udp:0:127.0.0.1:{udp}", "-L", ":".join(sockets)]
        async with forwarding(service, *words) as (process, (local, remote, local_udp, remote_udp, nothing)):
            assert await exchange(local, b"over") == b"OVER"
            assert await exchange(local, b"over ipv6", "::1") == b"OVER IPV6"
            assert await exchange(remote, b"back") == b"BACK"
            assert await exchange_datagram(local_udp, b"datagram") == b"DATAGRAM"
            assert await exchange_datagram(remote_udp, b"other one") == b"OTHER ONE"
            assert await exchange_datagram(local_udp, b"") == b""
            assert nothing is None
            reader, writer = await asyncio.open_unix_connection(sockets[0])
            writer.write(b"unix")
            writer.write_eof()
            assert await reader.read() == b"UNIX"
            writer.close()
            process.send_signal(signal.SIGINT)
            assert await ended(process) == 130
            assert process.stdout is not None
            events = json_lines(await process.stdout.read())
            closed = [
                event for event in events if event["event"] == "closed" and event["target"] == f"localhost:{port}"
            ]
            assert [(event["sent"], event["received"]) for event in closed] == [(4, 4), (9, 9)]
            with pytest.raises(ConnectionRefusedError):
                await exchange(local, b"")
        assert not Path(sockets[0]).exists()


@pytest.mark.needs("curl")
async def test_curl_goes_through_every_kind_of_proxy(service: Service) -> None:
    body = os.urandom(300_000)
    async with serving(http(body)) as port, forwarding(service, "-L", f"0:localhost:{port}", "-D", "0") as (_, ports):
        url = f"http://localhost:{port}/"
        ways = [
            [f"http://127.0.0.1:{ports[0]}/"],
            [f"http://[::1]:{ports[0]}/"],
            ["--socks5-hostname", f"127.0.0.1:{ports[1]}", url],
            ["--socks5-hostname", f"[::1]:{ports[1]}", url],
            ["--socks5", f"127.0.0.1:{ports[1]}", f"http://127.0.0.1:{port}/"],
            ["--socks4a", f"127.0.0.1:{ports[1]}", url],
        ]
        for words in ways:
            curl = ["curl", "-sS", "--noproxy", "", *words]
            done = await asyncio.to_thread(subprocess.run, curl, capture_output=True, timeout=TIMEOUT, check=False)
            assert (done.returncode, done.stderr, done.stdout == body) == (0, b"", True)


async def test_a_download_goes_on_over_cuts_of_the_connection(service: Service, tmp_path: Path) -> None:
    body = os.urandom(3_000_000)
    cut_at = iter([(None, size) for size in (700_000, 500_000, 900_000)])
    proxy = tmp_path / "proxy"
    async with (
        serving(http(body)) as port,
        cutting_proxy(proxy, service.socket, cut_at) as cuts,
        forwarding(service, "-L", f"0:localhost:{port}", host=f"unix:{proxy}") as (process, (local,)),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            answer = await reader.read()
        writer.close()
        headers, _, content = answer.partition(b"\r\n\r\n")
        assert hashlib.sha256(content).hexdigest().encode() in headers
        assert len(cuts) >= 3
        names: list[str] = []
        while "closed" not in names or names.count("reconnected") < len(cuts):
            names.append((await next_event(process))["event"])
        assert names.count("outage") == len(cuts)


async def test_what_cannot_be_made_ends_the_command_before_anything_else_happens(service: Service) -> None:
    with busy_port() as taken:
        port = taken.getsockname()[1]
        for command in (["forward"], ["run"], ["forward", "-f"]):
            for flag in ("-L", "-R"):
                words = ["--", "echo", "started"] if command == ["run"] else []
                free = ["-L", "0:localhost:80"]
                done = await farhand(
                    *command, *free, flag, f"{port}:localhost:80", service.host, *words, env=service.environment
                )
                assert (done.code, done.stdout) == (255, b"")
                assert f"{flag} {port}:localhost:80: ".encode() in done.stderr
                assert b"choose another port, or 0" in done.stderr
    listed = await farhand("forward", "--list", env=service.environment)
    assert (listed.code, listed.stdout, listed.stderr) == (0, b"", b"")


async def test_a_refused_target_is_told_at_once_and_the_tunnel_lives(service: Service, closed: int) -> None:
    async with serving(upper) as port:
        words = ["-L", f"0:127.0.0.1:{closed}", "-L", f"0:127.0.0.1:{port}"]
        async with forwarding(service, *words) as (process, (to_closed, to_open)):
            with contextlib.suppress(ConnectionError):
                assert await exchange(to_closed, b"") == b""
            event = await next_event(process)
            while event["event"] == "accepted":
                event = await next_event(process)
            assert (event["event"], event["cause"]) == ("refused", "refused")
            assert await exchange(to_open, b"alive") == b"ALIVE"


async def test_stdio_is_one_connection(service: Service, closed: int) -> None:
    data = bytes(range(256)) * 4000
    async with serving(upper) as port:
        words = ("forward", service.host, "-W")
        done = await farhand(*words, f"localhost:{port}", input=data, env=service.environment)
        assert (done.code, done.stdout, done.stderr) == (0, data.upper(), b"")
        done = await farhand(*words, f"localhost:{closed}", input=b"", env=service.environment)
        assert (done.code, done.stdout) == (255, b"")
        assert f"localhost:{closed}".encode() in done.stderr


async def test_a_command_has_its_forwards_as_long_as_it_lives(service: Service) -> None:
    async with serving(upper) as port:
        script = (
            "import socket, sys; c = socket.create_connection(('localhost', int(sys.argv[1]))); c.sendall(b'run'); "
        )
        script += "c.shutdown(socket.SHUT_WR); print(c.recv(100))"
        free = free_port()
        words = ["-R", f"{free}:127.0.0.1:{port}", service.host, "--", "python3", "-c", script, str(free)]
        done = await farhand("run", *words, env=service.environment)
        assert (done.code, done.stdout, done.stderr) == (0, b"b'RUN'\n", b"")
        done = await farhand("run", "-R", f"0:127.0.0.1:{port}", service.host, "true", env=service.environment)
        assert (done.code, done.stdout) == (0, b"")
        assert b"-R 0:127.0.0.1:%d: listening on port " % port in done.stderr


@pytest.mark.needs("ssh-agent", "ssh-add", "ssh-keygen")
async def test_a_forwarded_agent_is_used_by_the_command_alone(service: Service, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", key], check=True, timeout=TIMEOUT
    )
    with running_agent(tmp_path, key) as path:
        env = {**service.environment, "SSH_AUTH_SOCK": str(path)}
        done = await farhand("run", "-A", service.host, "ssh-add", "-l", env=env)
        assert (done.code, done.stderr) == (0, b"")
        assert b" mine (ED25519)" in done.stdout
        show = 'stat -c "%a %U" "$SSH_AUTH_SOCK" "$(dirname "$SSH_AUTH_SOCK")"; echo "$SSH_AUTH_SOCK"'
        done = await farhand("run", "-A", "--shell", service.host, show, env=env)
        *modes, there = done.stdout.decode().splitlines()
        assert [mode.partition(" ")[0] for mode in modes] == ["600", "700"]
        assert not Path(there).exists()
        assert (await farhand("run", service.host, "ssh-add", "-l", env=env)).code == 2
        once = ("run", "-A", "--id", new_run_id(), service.host, "true")
        assert (await farhand(*once, env=env)).code == 0
        again = await farhand(*once, env=env)
        assert again.code == 255
        assert b"With -A, each request is a different one" in again.stderr
    done = await farhand("run", "-A", service.host, "true", env=env)
    assert done.code == 255
    assert f"-A: cannot reach the ssh-agent at {path}".encode() in done.stderr


async def test_a_side_whose_descriptors_run_out_serves_those_that_it_has_and_others_later(
    service: Service,
) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def connected(port: int, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        return [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]

    async def answered(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
        try:
            return await streams[0].readexactly(5) == b"hello"
        except (OSError, EOFError):
            return False

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    words = ["-L", f"0:127.0.0.1:{server.sockets[0].getsockname()[1]}"]
    async with forwarding(service, *words) as (process, (port,)), connect(service.host) as client:
        [worker] = [run.pid for run in await client.runs() if run.outcome is None]
        assert worker is not None
        for pid, count in ((worker, 40), (process.pid, 80)):
            limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + 10, limits[1]))  # noqa: PTH208  # only names
            many = await connected(port, count)
            waiting = [asyncio.ensure_future(answered(streams)) for streams in many]
            # The worker refuses what it cannot serve; the client leaves it in the kernel's queue.
            first = {await each for each in waiting[:5]}
            assert first == {True}
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            async with asyncio.timeout(TIMEOUT):
                done = [await each for each in waiting]
            assert sum(done) >= 5
            assert pid == worker or all(done)
            later = await connected(port, 3)
            async with asyncio.timeout(TIMEOUT):
                assert all([await answered(streams) for streams in later])
            for _, writer in (*many, *later):
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
    server.close()


async def kept(service: Service, *arguments: str) -> list[dict[str, Any]]:
    done = await farhand("forward", "--list", "--json", *arguments, env=service.environment)
    assert (done.code, done.stderr) == (0, b"")
    return json_lines(done.stdout)


async def until_none_kept(service: Service) -> None:
    """Wait until a process that was sent a signal has ended, which is nobody's child here."""
    while await kept(service):  # noqa: ASYNC110  # as said
        await asyncio.sleep(0.01)


async def until_log_has(log: Path, text: str) -> None:
    """Wait for a line of a log. A growing file has no event."""
    while text not in log.read_text():  # noqa: ASYNC110  # as said
        await asyncio.sleep(0.01)


async def test_kept_forwards_are_shown_changed_and_ended(service: Service) -> None:
    async with serving(upper) as port:
        forward = ("forward", service.host)
        done = await farhand(*forward, "-f", "-L", f"0:localhost:{port}", env=service.environment)
        assert (done.code, done.stderr) == (0, b"")
        first = int(done.stdout)
        (report,) = await kept(service)
        try:
            assert await exchange(first, b"kept") == b"KEPT"
            for verb in ("--add", "-f"):
                done = await farhand(*forward, verb, "-R", f"0:localhost:{port}", env=service.environment)
                assert (done.code, done.stderr) == (0, b"")
                assert await exchange(int(done.stdout), b"added") == b"ADDED"
            os.kill(report["pid"], signal.SIGHUP)  # as a terminal that is closed
            (shown,) = await kept(service, service.host)
            assert (shown["host"], shown["state"], len(shown["forwards"])) == (service.host, "connected", 3)
            numbers = [(each["connections"], each["sent"], each["received"]) for each in shown["forwards"]]
            assert numbers == [(1, 4, 4), (1, 5, 5), (1, 5, 5)]
            assert "keeps -L 0:localhost" in Path(shown["log"]).read_text()
            table = (await farhand("forward", "--list", env=service.environment)).stdout.decode()
            assert f"-L 0:localhost:{port}  127.0.0.1:{first}" in table
            done = await farhand(*forward, "--cancel", "-L", f"{first}:localhost:{port}", env=service.environment)
            assert (done.code, done.stderr) == (0, b"")
            with pytest.raises(ConnectionRefusedError):
                await exchange(first, b"")
            done = await farhand(*forward, "--cancel", "-L", "1:a:2", env=service.environment)
            assert done.code == 255
            assert b"-L 1:a:2 is not kept; kept: -R 0:localhost" in done.stderr
            assert (await farhand(*forward, "--cancel", "--all", env=service.environment)).code == 0
            assert await kept(service) == []
            done = await farhand(*forward, "--cancel", "--all", env=service.environment)
            assert done.code == 255
            assert b"no forwards of" in done.stderr
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(report["pid"], signal.SIGKILL)


async def test_kept_forwards_outlive_an_outage_and_leave_nothing_when_killed(tmp_path: Path) -> None:
    async with serving(upper) as port:
        async with running_service(tmp_path) as service:
            words = ("forward", service.host, "-f", "-L", f"0:localhost:{port}", "-R", f"0:localhost:{port}")
            done = await farhand(*words, env=service.environment)
            assert (done.code, done.stderr) == (0, b"")
            ports = [int(line) for line in done.stdout.split()]
            (report,) = await kept(service)
        try:
            (report,) = await kept(service)
            assert report["state"] == "reconnecting"
            async with running_service(tmp_path) as service, asyncio.timeout(TIMEOUT):
                log = Path(report["log"])
                await until_log_has(log, "listening again")
                for each in ports:
                    assert await exchange(each, b"again") == b"AGAIN"
                os.kill(report["pid"], signal.SIGKILL)
                await until_none_kept(service)
                assert not [path for path in (tmp_path / "run/farhand").iterdir() if path.name.startswith("forward-")]
                done = await farhand(*words[:4], f"{ports[0]}:localhost:{port}", env=service.environment)
                assert (done.code, done.stderr) == (0, b"")
                (report,) = await kept(service)
                os.kill(report["pid"], signal.SIGTERM)
                await until_none_kept(service)
                await until_log_has(log, " ends, by signal 15\n")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(report["pid"], signal.SIGKILL)
