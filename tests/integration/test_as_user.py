"""Root's service runs every command as the user who logged in, and admits no user as another.

The accounts are in a passwd(5) that only the service sees, in its own mount namespace, so nothing of them remains.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from farhand_client import Client, ForwardError, connect
from farhand_server.credentials import Credentials
from tests.support import openssh
from tests.support.command import Finished, farhand
from tests.support.processes import fields
from tests.support.service import Service, environment, running_service

pytestmark = pytest.mark.needs("root", "unshare", "setpriv", "ssh-keygen")

ADA = Credentials("ada", 61_001, 61_001, (61_001, 61_100))
LOCKED = Credentials("locked", 61_002, 61_002, (61_002,))
NO_SHELL = Credentials("daemon-like", 61_003, 61_003, (61_003,))
EVE = Credentials("eve", 61_004, 61_004, (61_004,))
SHELLS = {ADA: "/bin/sh", EVE: "/bin/sh", LOCKED: "/bin/sh", NO_SHELL: "/usr/sbin/nologin"}

IN_NAMESPACE = 'for file in passwd group shadow; do mount --bind "$0/$file" "/etc/$file" || exit; done; exec "$@"'


@dataclass
class Machine:
    """A service with accounts, whose homes are below `homes`, and the key that all clients use."""

    homes: Path
    keys: Path
    service: Service
    host: str
    env: dict[str, str]

    async def run(self, user: Credentials | str, *arguments: str) -> Finished:
        """Execute `farhand run USER@HOST ARGUMENT…`, with the options first."""
        name = user if isinstance(user, str) else user.user
        options = [argument for argument in arguments if argument.startswith("--")]
        rest = [argument for argument in arguments if not argument.startswith("--")]
        return await farhand("run", "--accept-new", *options, f"{name}@{self.host}", *rest, env=self.env)

    @contextlib.asynccontextmanager
    async def client(self, user: Credentials) -> AsyncIterator[Client]:
        """Log in as a user."""
        host, _, port = self.host.rpartition(":")
        key, known = self.keys.parent / "client/.ssh/id_ed25519", self.keys.parent / "known_hosts"
        async with connect(
            host, port=int(port), user=user.user, identities=[key], known_hosts=known, accept_new=True
        ) as client:
            yield client

    async def output(self, user: Credentials, *arguments: str) -> str:
        """Return the output of a run, which has to succeed."""
        done = await self.run(user, *arguments)
        assert (done.code, done.stderr) == (0, b"")
        return done.stdout.decode()


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
async def machine(tmp_path: Path, public: Path) -> AsyncIterator[Machine]:
    """A machine whose accounts all have the client's key in a file owned by root."""
    client = tmp_path / "client"
    (client / ".ssh").mkdir(parents=True, mode=0o700)
    openssh.make_key(client / ".ssh/id_ed25519")
    line = (client / ".ssh/id_ed25519.pub").read_text()
    accounts = public / "etc"
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    accounts.mkdir()
    passwd, shadow, group = "root:x:0:0::/root:/bin/sh\n", "root:*:20000::::::\n", "root:x:0:\nteam:x:61100:ada\n"
    for user, shell in SHELLS.items():
        home = public / user.user
        home.mkdir(mode=0o700)
        os.chown(home, user.uid, user.gid)
        passwd += f"{user.user}:x:{user.uid}:{user.gid}::{home}:{shell}\n"
        shadow += f"{user.user}:{'!' if user is LOCKED else '*'}:20000::::::\n"
        group += f"{user.user}:x:{user.gid}:\n"
        (keys / user.user).write_text(line)
    for name, text in (("passwd", passwd), ("shadow", shadow), ("group", group)):
        (accounts / name).write_text(text)
    (accounts / "shadow").chmod(0o600)
    config = f'[login]\nauthorized_keys = ["{keys}/{{user}}", "~/.config/farhand/authorized_keys"]\n'
    prefix = ("unshare", "--mount", "sh", "-c", IN_NAMESPACE, str(accounts))
    async with running_service(tmp_path, listen=True, config=config, prefix=prefix) as service:
        assert service.address is not None
        env = {**environment(tmp_path), "HOME": str(client)}
        yield Machine(public, keys, service, "{}:{}".format(*service.address), env)


async def test_a_run_has_the_users_ids_groups_and_limits(machine: Machine) -> None:
    status = fields(await machine.output(ADA, "cat", "/proc/self/status"))
    assert status["Uid"].split() == status["Gid"].split() == ["61001"] * 4
    assert status["Groups"].split() == ["61001", "61100"]
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"], status["Umask"]) == ("0", "0", "0022")


async def test_a_run_has_the_users_home_and_environment(machine: Machine) -> None:
    home = machine.homes / "ada"
    found = dict(line.split("=", 1) for line in (await machine.output(ADA, "env")).splitlines())
    assert (found["HOME"], found["USER"], found["LOGNAME"], found["SHELL"]) == (str(home), "ada", "ada", "/bin/sh")
    assert not found.keys() - {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "FARHAND_RUN_ID"}
    assert await machine.output(ADA, "pwd") == f"{home}\n"
    assert await machine.output(ADA, "--shell", "touch here && stat -c %U:%a here") in ("ada:644\n", "UNKNOWN:644\n")
    assert (home / "here").stat().st_uid == ADA.uid


async def test_a_run_has_no_privileges_beyond_the_users(machine: Machine) -> None:
    assert (await machine.run(ADA, "cat", "/etc/shadow")).code == 1
    assert (await machine.run(ADA, "ls", str(machine.homes / "locked"))).code != 0


async def test_files_are_transferred_with_the_users_rights_and_no_others(machine: Machine, tmp_path: Path) -> None:
    home, secret = machine.homes / "ada", machine.homes / "locked" / "secret"
    (tmp_path / "here").write_bytes(b"hello")
    (tmp_path / "here").chmod(0o640)
    secret.write_bytes(b"secret")
    put = ("put", "--accept-new", f"ada@{machine.host}")
    done = await farhand(*put, str(tmp_path / "here"), "there", env=machine.env)
    assert (done.code, done.stderr) == (0, b"")
    found = (home / "there").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (ADA.uid, ADA.gid, 0o640)
    for target in (secret, Path("/etc/farhand-test")):
        refused = await farhand(*put, str(tmp_path / "here"), str(target), env=machine.env)
        assert refused.code != 0
        assert b"permission denied" in refused.stderr.lower()
    assert secret.read_bytes() == b"secret"
    get = ("get", "--accept-new", f"ada@{machine.host}")
    refused = await farhand(*get, str(secret), str(tmp_path / "got"), env=machine.env)
    assert refused.code != 0
    assert b"permission denied" in refused.stderr.lower()
    assert (await farhand(*get, "~/there", str(tmp_path / "got"), env=machine.env)).code == 0
    assert (tmp_path / "got").read_bytes() == b"hello"


async def test_connections_are_forwarded_with_the_users_rights_and_no_others(machine: Machine) -> None:
    home = machine.homes / "ada"
    home.chmod(0o711)  # whoever knows the name of the socket can ask for it
    uids = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        uids.append(int.from_bytes(peer[4:8], sys.byteorder))
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_unix_server(serve, home / "service")
    (home / "service").chmod(0o600)
    os.chown(home / "service", ADA.uid, ADA.gid)
    async with machine.client(ADA) as ada, machine.client(EVE) as eve:
        reader, writer = await ada.open_unix_connection("service")
        assert await reader.read() == b"hello"
        writer.close()
        assert uids == [ADA.uid]
        with pytest.raises(ForwardError, match=r"[Pp]ermission denied"):
            await eve.open_unix_connection(str(home / "service"))
        async with ada.forward_remote(path=str(home / "service"), listen_path="listener") as forward:
            assert forward.path == str(home / "listener")
            made = (home / "listener").stat()
            assert (made.st_uid, made.st_mode & 0o777) == (ADA.uid, 0o600)
            with pytest.raises(ForwardError, match=r"[Pp]ermission denied"):
                await eve.open_unix_connection(str(home / "listener"))
            with pytest.raises(ForwardError, match=r"[Pp]ermission denied"):
                await eve.forward_remote(path="/x", listen_path=str(home / "another"))
            [tunnel] = [run for run in await ada.runs() if run.outcome is None]
            status = fields(Path(f"/proc/{tunnel.pid}/status").read_text())
            assert status["Uid"].split() == status["Gid"].split() == ["61001"] * 4
            assert ({int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff")}, status["NoNewPrivs"]) == (
                {0},
                "1",
            )
    server.close()


async def test_the_requested_environment_does_not_reach_programs_that_run_as_root(machine: Machine) -> None:
    """With these variables the dynamic linker writes a file, which belongs to the user who runs the program."""
    home = machine.homes / "ada"
    variables = ("--env=LD_DEBUG=files", f"--env=LD_DEBUG_OUTPUT={home}/trace")
    assert await machine.output(ADA, *variables, "id", "-u") == "61001\n"
    traces = list(home.glob("trace.*"))
    assert traces
    assert {trace.stat().st_uid for trace in traces} == {ADA.uid}
    assert not any("setpriv" in trace.read_text() for trace in traces)


async def test_a_failed_start_as_another_user_reports_the_reason(machine: Machine) -> None:
    secret = machine.homes / "ada/program"
    secret.write_text("#!/bin/sh\n")
    secret.chmod(0o700)
    for program, reason in (("no-such-program", b"No such file"), (str(secret), b"Permission denied")):
        done = await machine.run(ADA, program)
        assert b"cannot run the program" in done.stderr
        assert reason in done.stderr
    closed = str(machine.homes / "locked")
    done = await machine.run(ADA, f"--cwd={closed}", "true")
    assert f"cannot start in the directory '{closed}': Permission denied".encode() in done.stderr


async def test_the_users_authorized_keys_is_read_as_the_user(machine: Machine) -> None:
    line = (machine.keys / "ada").read_text()
    (machine.keys / "ada").unlink()
    assert (await machine.run(ADA, "true")).code == 255
    own = machine.homes / "ada/.config/farhand"
    own.mkdir(parents=True)
    for directory in (own, own.parent):
        os.chown(directory, ADA.uid, ADA.gid)
    (own / "authorized_keys").write_text(line)
    (own / "authorized_keys").chmod(0o600)
    assert (await machine.run(ADA, "true")).code == 255
    assert "Permission denied" in machine.service.log
    os.chown(own / "authorized_keys", ADA.uid, ADA.gid)
    assert await machine.output(ADA, "id", "-u") == "61001\n"


@pytest.mark.parametrize(
    ("user", "cause"),
    [
        ("locked", "account_closed"),
        ("daemon-like", "account_closed"),
        ("nobody-knows", "unknown_user"),
        ("../ada", "unknown_user"),
    ],
)
async def test_the_cause_of_a_refused_login_is_logged_and_not_sent_to_the_client(
    machine: Machine, user: str, cause: str
) -> None:
    done = await machine.run(user, "true")
    assert (done.code, done.stdout) == (255, b"")
    assert f"cause={cause}" in machine.service.log


async def test_root_is_an_account_like_any_other(machine: Machine) -> None:
    with contextlib.closing((machine.keys / "root").open("w")) as file:
        file.write((machine.keys / "ada").read_text())
    assert (await machine.run("root", "id", "-u")).stdout == b"0\n"
