"""Programs that keep a remote program of their own, and speak with it for as long as they run."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.remote_shells import RemoteShell, RemoteShells

pytestmark = pytest.mark.needs("ssh", "sshd")


@asynccontextmanager
async def started(shell: RemoteShell, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a remote program as an agent is started: stdin and stdout are pipes that stay open."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *shell.words, *words, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(shell.env)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


AGENT = """\
import hashlib, struct, sys

def exactly(count):
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        sys.exit(5)
    return data

sys.stdout.buffer.write(b"agent 1\\n")
sys.stdout.buffer.flush()
while True:
    size, back = struct.unpack(">II", exactly(8))
    data = exactly(size)
    answer = hashlib.sha256(data).digest() + bytes(back)
    sys.stdout.buffer.write(struct.pack(">I", len(answer)) + answer)
    sys.stdout.buffer.flush()
    if not size and not back:
        sys.stderr.write("goodbye\\n")
        sys.exit(3)
"""


async def test_an_agent_answers_each_request(shells: RemoteShells, tmp_path: Path) -> None:
    """As mutagen, unison, distant or Syncthing's kind do: a copied program, a handshake, frames both ways."""

    async def work(shell: RemoteShell, here: Path) -> object:
        (here / "agent.py").write_text(AGENT)
        chance, answers = random.Random(5), []
        async with started(shell, "web", f"exec '{sys.executable}' '{here}/agent.py'") as agent:
            assert agent.stdin is not None
            assert agent.stdout is not None
            assert agent.stderr is not None
            assert await agent.stdout.readline() == b"agent 1\n"
            for size, back in [(10, 10), (0, 1), *[(chance.randrange(300_000), 5) for _ in range(20)], (3, 2_000_000)]:
                agent.stdin.write(struct.pack(">II", size, back) + chance.randbytes(size))
                (count,) = struct.unpack(">I", await agent.stdout.readexactly(4))
                answers.append((await agent.stdout.readexactly(count))[:32].hex())
            agent.stdin.write(struct.pack(">II", 0, 0))
            await agent.stdout.readexactly(36)
            assert await agent.stdout.read() == b""
            assert await agent.stderr.read() == b"goodbye\n"
            return answers, await agent.wait()

    await shells.same(tmp_path, work)


DAEMON = """\
import json, os, socketserver, sys
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "docker"
    def log_message(self, *_): pass
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        answers = {
            "_ping": "OK",
            "version": {"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24", "Os": "linux"},
            "containers/json": [{
                "Id": "f" * 64, "Names": ["/farhand"], "Image": "alpine", "Command": "sh", "Created": 1700000000,
                "State": "running", "Status": "Up", "Ports": [],
            }],
        }
        path = self.path.partition("?")[0].lstrip("/")
        answer = answers.get(path if path in answers else path.partition("/")[2])
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Api-Version", "1.48")
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

with Server(sys.argv[1], Handler) as server:
    print("listening", flush=True)
    server.serve_forever()
"""

DIAL_STDIO = """\
#!/bin/sh
# What `docker system dial-stdio` does: copies between its stdin and stdout and the daemon's socket.
test "$*" = "system dial-stdio" || exit 64
exec socat - "UNIX-CONNECT:SOCKET"
"""


@asynccontextmanager
async def docker_daemon(directory: Path) -> AsyncIterator[Path]:
    """Run what answers as dockerd does; yield a directory with a `docker` that dials it."""
    socket, script, bin = directory / "docker.sock", directory / "daemon.py", directory / "bin"
    script.write_text(DAEMON)
    bin.mkdir()
    (bin / "docker").write_text(DIAL_STDIO.replace("SOCKET", str(socket)))
    (bin / "docker").chmod(0o755)
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, script, socket, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        assert daemon.stdout is not None
        assert await asyncio.wait_for(daemon.stdout.readline(), 30) == b"listening\n"
        yield bin
    finally:
        daemon.kill()
        await daemon.communicate()


async def get(shell: RemoteShell, docker: Path, path: str) -> object:
    """Ask the daemon as a client library does: one request over a dialled connection."""
    async with started(
        shell, "-T", "-o", "ConnectTimeout=30", "--", "web", f"{docker}/docker system dial-stdio"
    ) as way:
        assert way.stdin is not None
        assert way.stdout is not None
        way.stdin.write(f"GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n".encode())
        head = await way.stdout.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        return json.loads(await way.stdout.read())


@pytest.mark.needs("socat")
async def test_docker_speaks_to_its_daemon(shells: RemoteShells, tmp_path: Path) -> None:
    async with docker_daemon(tmp_path) as docker:

        async def work(shell: RemoteShell, here: Path) -> object:
            listed = json.dumps(await get(shell, docker, "/v1.48/containers/json"))
            (here / "listed").write_text(listed)
            return listed

        await shells.same(tmp_path, work)


@pytest.mark.skipif(
    shutil.which("docker") is None, reason="Debian's docker comes with a daemon; this is for its client"
)
async def test_the_docker_client_does(shells: RemoteShells, tmp_path: Path) -> None:
    async with docker_daemon(tmp_path):

        async def work(shell: RemoteShell, here: Path) -> object:
            # Both `docker`s are the same program, and so is their environment: only the remote one has this variable.
            shims = here / "shims-private"
            shims.mkdir()
            set_there = f"-o SetEnv=DOCKER_HOST=unix://{tmp_path}/docker.sock"
            (shims / "ssh").write_text(f'#!/bin/sh\nexec {shell.shim("ssh")} {set_there} "$@"\n')
            (shims / "ssh").chmod(0o755)
            shell = shell.having(PATH=f"{shims}:{shell.env['PATH']}", DOCKER_CONFIG=str(here / "config-private"))
            listed = await shell.act("docker", "-H", "ssh://web", "ps", "--no-trunc", "--format={{.Names}} {{.Image}}")
            (here / "listed").write_text(listed)
            return listed

        result = await shells.same(tmp_path, work)
        assert (result / "listed").read_text() == "farhand alpine\n"


EDITOR = """\
set -e
# {padding}
echo "bootstrap of $0 in $(pwd)"
mkdir -p '{here}/server'
cd '{here}/server'
cat > server.py <<'END OF THE SERVER'
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(f"listeningOn=={{server.getsockname()[1]}}==", flush=True)
    while True:
        client, _ = server.accept()
        with client, client.makefile("rwb") as lines:
            for line in lines:
                if line == b"exit\\n":
                    raise SystemExit(0)
                lines.write(b"editor: " + line)
                lines.flush()
END OF THE SERVER
exec '{python}' server.py
"""


@pytest.mark.needs("bash")
async def test_an_editor_starts_its_server_by_a_script(shells: RemoteShells, tmp_path: Path) -> None:
    """As VS Code's Remote-SSH: a long script on the stdin of `bash -s`, a port that it prints, and `-W` to that."""

    async def work(shell: RemoteShell, here: Path) -> object:
        script = EDITOR.format(here=here, python=sys.executable, padding="x" * 100_000).encode()
        answers = []
        async with started(shell, "-T", "web", "bash", "-s") as server:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(script)
            server.stdin.write_eof()
            answers.append(b" ".join((await server.stdout.readline()).split()[:3]))
            port = int((await server.stdout.readline()).split(b"==")[1])
            # -W is how these programs reach it, too: a connection for each.
            for number in range(2):
                async with started(shell, "-W", f"127.0.0.1:{port}", "web") as way:
                    assert way.stdin is not None
                    assert way.stdout is not None
                    way.stdin.write(b"line %d\n" % number)
                    answers.append(await way.stdout.readline())
                    way.stdin.write(b"exit\n" if number else b"")
                    way.stdin.write_eof()
                    answers.append(await way.stdout.read())
            assert await asyncio.wait_for(server.wait(), 30) == 0
        return answers

    await shells.same(tmp_path, work)
