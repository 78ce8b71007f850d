"""Logins with many keys: the likely ones come first, and an error says what was not tried and why."""

from __future__ import annotations

import asyncio
import contextlib
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import openssh
from tests.support.command import FARHAND, Finished, farhand
from tests.support.ptys import terminal
from tests.support.service import environment, running_service

pytestmark = pytest.mark.needs("ssh-agent", "ssh-add", "ssh-keygen")

LIMIT = 6
"""Keys that a service accepts on one connection by default."""

PENALTIES = "[edge]\nprocesses = 1\npenalty_refused = 100\npenalty_threshold = 150\npenalty_max = 600\n"
"""The second login whose keys are all refused makes the service refuse connections, and a ticket worthless."""

PASSED = "login deadline passed"

NAMES = [f"k{number}" for number in range(8)]


class Client:
    """A client of a service that accepts the key `right`. Its ssh-agent holds eight others before that."""

    def __init__(self, host: str, env: dict[str, str]) -> None:
        self.host = host
        self.env = env

    async def run(self, *options: str) -> Finished:
        # In a session of its own: no key may be asked for at the terminal of whoever runs the tests.
        command = ["run", "--accept-new", *options, self.host, "echo", "in"]
        return await farhand(*command, env=self.env, start_new_session=True)


@contextlib.asynccontextmanager
async def nine_keys(directory: Path) -> AsyncIterator[Client]:
    home = directory / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    for name in (*NAMES, "right"):
        openssh.make_key(directory / name, comment=name)
    authorized = directory / "config/farhand/authorized_keys"
    authorized.parent.mkdir(parents=True)
    authorized.write_bytes((directory / "right.pub").read_bytes())
    with openssh.running_agent(directory, *(directory / name for name in (*NAMES, "right"))) as agent:
        (directory / "right").unlink()
        env = {**environment(directory), "HOME": str(home), "SSH_AUTH_SOCK": str(agent)}
        async with running_service(directory, listen=True, config=PENALTIES) as service:
            assert service.address is not None
            yield Client(":".join(map(str, service.address)), env)


async def test_the_right_one_of_nine_keys_is_found_or_the_error_says_how_to_name_it(tmp_path: Path) -> None:
    async with nine_keys(tmp_path) as client:
        refused = await client.run()
        assert refused.code == 255
        lines = [line.strip() for line in refused.stderr.decode().splitlines()]
        limit = lines.index(f"It allows {LIMIT} keys on one connection; these were not tried:")
        assert [line.split()[0] for line in lines[1:limit]] == NAMES[:LIMIT]
        assert [line.split()[0] for line in lines[limit + 1 : limit + 4]] == [*NAMES[LIMIT:], "right"]
        assert "name it with -I FILE" in lines[limit + 4]

        # A .pub file is enough to name a key of the agent.
        assert (await client.run("-I", str(tmp_path / "right.pub"))).stdout == b"in\n"
        wrong = await client.run("-I", str(tmp_path / "k0"))
        assert (wrong.code, b"not the 8 other keys of the ssh-agent" in wrong.stderr) == (255, True)
        openssh.make_key(tmp_path / "secret", passphrase="secret")
        encrypted = await client.run("-I", str(tmp_path / "secret"))
        cause = f"the key {tmp_path}/secret is encrypted, and there is no terminal to ask for its passphrase"
        assert encrypted.stderr.decode().startswith(f"farhand: cannot log in to {client.host} as ")
        assert cause in encrypted.stderr.decode().splitlines()[0]

        for _ in range(2):  # with the ticket of the login, until it is worth nothing any more
            assert (await client.run()).stderr == refused.stderr
        assert (await client.run()).stderr.startswith(f"farhand: {client.host} refuses connections".encode())


async def test_configured_and_usual_keys_come_first(tmp_path: Path) -> None:
    async with nine_keys(tmp_path) as client:
        config = tmp_path / "config/farhand/config.toml"
        config.write_text(f'[hosts.named]\naddress = "{client.host}"\nidentities = ["{tmp_path}/right.pub"]\n')
        assert (await farhand("run", "--accept-new", "named", "echo", "in", env=client.env)).stdout == b"in\n"
        (tmp_path / "right.pub").rename(tmp_path / "home/.ssh/id_ed25519.pub")
        assert (await client.run()).stdout == b"in\n"


async def test_a_passphrase_is_asked_for_at_the_terminal_and_may_take_longer_than_the_service_waits(
    tmp_path: Path,
) -> None:
    openssh.make_key(tmp_path / "secret", passphrase="open sesame")
    authorized = tmp_path / "config/farhand/authorized_keys"
    authorized.parent.mkdir(parents=True)
    authorized.write_bytes((tmp_path / "secret.pub").read_bytes())
    env = environment(tmp_path)
    prompt = f"Passphrase for {tmp_path}/secret: ".encode()
    async with (
        running_service(tmp_path, listen=True, config="[login]\ndeadline = 3\n") as service,
        terminal() as pty,
    ):
        assert service.address is not None
        host = ":".join(map(str, service.address))
        command = [*FARHAND, "run", "--accept-new", "-I", str(tmp_path / "secret"), host, "echo", "in"]
        async with pty.running(*command, env=env) as process:
            await pty.shows(prompt)
            assert not pty.modes[3] & termios.ECHO
            pty.type(b"\x03")
            assert await process.wait() == 130
            assert pty.modes[3] & termios.ECHO
        passed = service.log.count(PASSED)
        async with pty.running(*command, env=env) as process:
            await pty.shows(prompt)
            pty.type(b"wrong\r")
            await pty.shows(b"This passphrase is wrong. " + prompt)
            while service.log.count(PASSED) == passed:  # noqa: ASYNC110  # a log has no events
                await asyncio.sleep(0.01)
            pty.type(b"open sesame\r")
            await pty.shows(b"in\r\n")
            assert await process.wait() == 0
