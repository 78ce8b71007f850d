"""The direct path as a whole: what it imports, when it is left, and runs that go on in the asyncio client."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from farhand_client import Exited
from farhand_client.direct.command import run_directly
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.features import FEATURES, SSH_VARIABLES
from farhand_protocol.limits import KiB
from tests.support import openssh
from tests.support.command import farhand, running
from tests.support.cutting_proxy import cutting_proxy
from tests.support.fake_runs import Cat, printing
from tests.support.fake_service import FakeConnection, FakeRun, FakeService, welcome
from tests.support.fake_tls import tls_service
from tests.support.service import environment

HEAVY = [
    "argparse",
    "asyncio",
    "bcrypt",
    "concurrent.futures",
    "cryptography.hazmat.primitives.serialization.ssh",
    "dataclasses",
    "inspect",
    "json",
    "multiprocessing",
    "pathlib",
    "prompt_toolkit",
    "pydantic",
    "queue",
    "shutil",
    "subprocess",
    "tempfile",
    "threading",
    "tomllib",
    "uvloop",
]
"""What takes long to import, and no plain command needs."""

OF_LOGINS = ["base64", "cryptography", "hashlib", "pathlib", "re", "ssl", "typing"]
"""What only a login by key over TLS needs."""

PROGRAM = """
import sys
from farhand_client.cli import main
sys.argv[0] = "farhand"
code = main()
print(code, sorted(set(MODULES) & sys.modules.keys()), file=sys.stderr)
"""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[FakeService]:
    async with FakeService().on_socket(tmp_path) as fake:
        yield fake


async def in_process(*arguments: str, env: dict[str, str], more: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """Run a command in a new interpreter; return its output, and its exit code with the heavy modules that it has.

    `more` names further modules that count.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM.replace("MODULES", str([*HEAVY, *more])), *arguments,
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return await asyncio.wait_for(process.communicate(), 60)


async def test_a_plain_command_imports_nothing_that_takes_long(service: FakeService, tmp_path: Path) -> None:
    service.behave = printing(b"out", outcome=Exited(code=5))
    found = await in_process("run", "--merge", service.host, "--", "prog", env=environment(tmp_path), more=OF_LOGINS)
    assert found == (b"out", b"5 []\n")


async def test_nor_does_one_with_the_words_of_ssh(service: FakeService, tmp_path: Path) -> None:
    service.behave, service.features = printing(b"out", outcome=Exited(code=5)), FEATURES
    found = await in_process("rsh", "-n", service.host, "prog", env=environment(tmp_path), more=OF_LOGINS)
    assert found == (b"out", b"5 []\n")


async def test_nor_does_one_over_tls_with_a_key(tmp_path: Path) -> None:
    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, m.Hello):
            client.send(welcome(client, login=True))
        elif isinstance(message, m.Login):
            client.send(m.Accepted(user="ann", host="fake"))

    async with tls_service(tmp_path, greet=greet) as (service, _):
        service.behave = printing(b"out")
        openssh.make_key(tmp_path / "config/farhand/id_ed25519")
        found = await in_process("run", service.host, "--", "prog", env=environment(tmp_path))
    assert found == (b"out", b"0 []\n")


@pytest.mark.parametrize(
    "cut",
    [(600, None), (100 * KiB, None), (None, 500), (None, 700), (None, 150 * KiB + 3)],
    ids=["in the request", "in stdin", "before the output", "in its first frame", "in a later one"],
)
async def test_a_run_goes_on_in_the_asyncio_client_after_a_loss(
    service: FakeService, tmp_path: Path, cut: tuple[int | None, int | None]
) -> None:
    cat = service.behave = Cat()
    data = os.urandom(300 * KiB)
    async with cutting_proxy(tmp_path / "cut", tmp_path / "fake.sock", iter([cut])) as cuts:
        host = f"unix:{tmp_path}/cut"
        done = await farhand("run", "-i", host, "cat", input=data)
    assert (done.code, done.stderr, len(cuts)) == (0, b"", 1)
    assert done.stdout == data
    assert len({run.request.id for run in service.runs}) == 1
    assert cat.starts <= 1


async def test_an_unknown_service_is_asked_about_by_the_asyncio_client(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        done = await farhand("run", service.host, "prog", env=environment(tmp_path))
        assert done.code == 255
        assert b"is not recorded, so it may be anyone's" in done.stderr
        assert key.fingerprint.encode() in done.stderr
        assert all(connection.messages == [] for connection in service.connections)


async def test_a_refusal_is_reported_once(service: FakeService) -> None:
    async def refuse(run: FakeRun) -> None:
        run.send(m.Error(code=ErrorCode.DENIED, message="not here"))

    service.behave = refuse
    done = await farhand("run", service.host, "prog")
    assert (done.code, done.stdout, done.stderr) == (255, b"", b"farhand: not here\n")
    assert len(service.connections) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_variables_of_sshd_are_asked_for_where_they_are_known(service: FakeService, known: bool) -> None:
    service.features = FEATURES if known else tuple(each for each in FEATURES if each != SSH_VARIABLES)
    assert (await farhand("rsh", "-n", service.host, "prog")).code == 0
    (request,) = service.requests.values()
    assert request.ssh_variables is known


async def test_processes_are_left_only_by_a_service_that_knows_it(service: FakeService) -> None:
    service.features = ()
    done = await farhand("rsh", "-n", service.host, "prog")
    assert done.code == 255
    assert b"leave the processes of a run running" in done.stderr
    assert not service.requests


async def test_ctrl_c_while_connecting_leaves_without_a_word(tmp_path: Path) -> None:
    silent = FakeService()
    greeted = asyncio.Event()
    silent.greet = lambda client, message: greeted.set()
    async with silent.on_socket(tmp_path), running("run", silent.host, "prog") as process:
        await asyncio.wait_for(greeted.wait(), 30)
        process.send_signal(signal.SIGINT)
        stdout, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, stdout, stderr) == (130, b"", b"")


@pytest.mark.parametrize("arguments", [["-t", "h", "x"], ["--detach", "h", "x"], ["h"], ["a..b", "x"]])
def test_what_is_not_plain_is_left_before_anything_is_opened(arguments: list[str]) -> None:
    assert run_directly(arguments) is None


def test_without_a_stdout_nothing_is_requested() -> None:
    kept = os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 1)
    try:
        assert run_directly(["unix:/nowhere", "x"]) is None
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)


def test_a_service_that_is_not_there_is_reported(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_directly([f"unix:{tmp_path}/s", "x"]) == 255
    assert capfd.readouterr().err == f"farhand: there is no socket at {tmp_path}/s; is farhandd running?\n"
