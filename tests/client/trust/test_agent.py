"""The ssh-agent client: real agents, and every way in which one can fail."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farhand_client.trust import AgentError
from farhand_client.trust.agent import Agent
from farhand_protocol import login
from farhand_protocol.sshformat import PublicKey, pack_mpint, pack_string, pack_u32, parse_public_key
from tests.support import openssh
from tests.support.openssh import SoftwareSecurityKey

KEY = SoftwareSecurityKey.ed25519().public_key
LISTED = b"\x0c" + pack_u32(1) + pack_string(KEY.blob) + pack_string(b"a comment")

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def agent_that(answer: Answer, directory: Path) -> AsyncIterator[Agent]:
    """An agent that reads one request and then runs `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    path = directory / "fake.sock"
    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(serve, path):
        yield Agent(str(path))


def sends(data: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


@pytest.mark.needs("ssh-agent", "ssh-add", "ssh-keygen")
async def test_a_real_agent_lists_its_keys_and_signs_with_each(tmp_path: Path) -> None:
    kinds: list[tuple[str, int | None]] = [("ed25519", None), ("ecdsa", 256), ("rsa", 2048)]
    keys = {kind: openssh.make_key(tmp_path / kind, kind, bits=bits, comment=kind) for kind, bits in kinds}
    with openssh.running_agent(tmp_path, *(tmp_path / kind for kind in keys)) as path:
        agent = Agent(str(path))
        found, unusable = await agent.keys()
        assert {one.comment: one.public_key for one in found} == keys
        assert unusable == []
        for key in keys.values():
            signature = await agent.sign(key, login.sshsig_signed_data(b"message", "a namespace"))
            blob = login.encode_sshsig(key.blob, "a namespace", signature)
            assert openssh.verifies(tmp_path, key, blob, b"message", "a namespace")


@pytest.mark.needs("ssh-agent", "ssh-add", "ssh-keygen")
async def test_keys_of_unsupported_types_and_certificates_are_listed_with_the_reason(tmp_path: Path) -> None:
    make: list[str | Path] = [
        "ssh-keygen",
        "-q",
        "-t",
        "ecdsa",
        "-b",
        "384",
        "-N",
        "",
        "-C",
        "large",
        "-f",
        tmp_path / "p384",
    ]
    subprocess.run(make, check=True)
    key = openssh.make_key(tmp_path / "key", comment="signed")
    certify: list[str | Path] = [
        "ssh-keygen",
        "-q",
        "-s",
        tmp_path / "p384",
        "-I",
        "me",
        "-n",
        "me",
        tmp_path / "key.pub",
    ]
    subprocess.run(certify, check=True)
    with openssh.running_agent(tmp_path, tmp_path / "p384", tmp_path / "key") as path:
        usable, unusable = await Agent(str(path)).keys()
    assert [found.public_key for found in usable] == [key]
    assert [(found.comment, found.reason.partition(";")[0]) for found in unusable] == [
        ("large", "key type 'ecdsa-sha2-nistp384' is not supported"),
        ("signed", "key type 'ssh-ed25519-cert-v01@openssh.com' is not supported"),
    ]


@pytest.mark.needs("ssh-agent")
async def test_signing_with_a_key_that_the_agent_does_not_hold_is_refused(tmp_path: Path) -> None:
    with openssh.running_agent(tmp_path) as path:
        agent = Agent(str(path))
        assert await agent.keys() == ([], [])
        with pytest.raises(AgentError, match=r"agent.sock refused to sign; a touch or confirmation may be missing"):
            await agent.sign(KEY, b"data")


@pytest.mark.parametrize("environment", [{}, {"SSH_AUTH_SOCK": ""}])
def test_without_ssh_auth_sock_there_is_no_agent(environment: dict[str, str]) -> None:
    assert Agent.from_environment(environment) is None


def test_ssh_auth_sock_names_the_agent() -> None:
    agent = Agent.from_environment({"SSH_AUTH_SOCK": "/run/agent"})
    assert agent is not None
    assert agent.path == "/run/agent"


async def test_a_missing_agent_is_an_error_that_names_ssh_auth_sock(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="nothing: No such file or directory; check SSH_AUTH_SOCK"):
        await Agent(str(tmp_path / "nothing")).keys()
    with pytest.raises(AgentError, match=r"cannot reach the ssh-agent at /x+: AF_UNIX path too long"):
        await Agent("/" + "x" * 200).keys()


async def test_an_agent_that_does_not_list_its_keys_is_given_up_and_its_connection_closed(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        closed.set()

    async with agent_that(hang, tmp_path) as agent:
        with pytest.raises(AgentError, match=r"did not list its keys within 0.05 seconds; check SSH_AUTH_SOCK"):
            await agent.keys(0.05)
        await closed.wait()


@pytest.mark.parametrize("kind", ["file", "stale socket", "directory"])
async def test_what_is_no_agent_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "agent"
    if kind == "file":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
    with pytest.raises(AgentError, match=f"cannot reach the ssh-agent at {path}: Connection refused; check"):
        await Agent(str(path)).keys()


async def test_cancelling_a_request_closes_its_connection(tmp_path: Path) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        assert await reader.read() == b""
        closed.set()

    async with agent_that(hang, tmp_path) as agent:
        task = asyncio.create_task(agent.sign(KEY, b"data"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await closed.wait()


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (b"", "closed the connection in the middle of an answer"),
        (b"\0\0", "closed the connection in the middle of an answer"),
        (pack_u32(9) + b"\x0c\0", "closed the connection in the middle of an answer"),
        (pack_u32(256 * 1024 + 1), "announced 262145 bytes; the maximum is 262144"),
        (pack_string(b""), "the answer has the wrong type"),
        (pack_string(b"\x0e" + pack_string(b"x")), "the answer has the wrong type"),
        (pack_string(b"\x05"), "refused to list its keys; is it locked?"),
        (pack_string(b"\x0c\xff\xff\xff\xff"), ", 4 bytes too early"),
        (pack_string(b"\x0c" + pack_u32(2) + LISTED[5:]), ", 4 bytes too early"),
        (pack_string(LISTED + b"x"), "1 bytes follow the end"),
    ],
    ids=range(10),  # the key is different in each session
)
async def test_an_invalid_list_of_keys_is_an_agent_error(tmp_path: Path, reply: bytes, sentence: str) -> None:
    async with agent_that(sends(reply), tmp_path) as agent:
        with pytest.raises(AgentError, match=sentence):
            await agent.keys()


def rsa_key() -> PublicKey:
    return parse_public_key(pack_string(b"ssh-rsa") + pack_mpint(65537) + pack_mpint((1 << 2047) | 1))


@pytest.mark.parametrize(
    ("signature", "sentence"),
    [
        (pack_string(b"ssh-rsa") + pack_string(b"sig"), "signed with 'ssh-rsa' instead of 'rsa-sha2-512'"),
        (pack_string(b"rsa-sha2-256") + pack_string(b"sig"), "signed with 'rsa-sha2-256' instead"),
        (b"", "the data is cut off"),
        (pack_string(b"\xff"), "not printable"),
    ],
)
async def test_an_unexpected_signature_is_an_agent_error(tmp_path: Path, signature: bytes, sentence: str) -> None:
    async with agent_that(sends(pack_string(b"\x0e" + pack_string(signature))), tmp_path) as agent:
        with pytest.raises(AgentError, match=sentence):
            await agent.sign(rsa_key(), b"data")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(), st.binary().map(lambda tail: LISTED[:5] + tail)))
def test_every_answer_is_either_accepted_or_an_agent_error(tmp_path: Path, reply: bytes) -> None:
    async def ask() -> None:
        async with agent_that(sends(pack_string(reply)), tmp_path) as agent:
            for question in (agent.keys(), agent.sign(KEY, b"data")):
                with contextlib.suppress(AgentError):
                    await question

    asyncio.run(ask())


async def test_what_an_agent_says_about_unusable_keys_is_kept_short(tmp_path: Path) -> None:
    key = pack_string(pack_string(b"ssh-" + b"x" * 9000)) + pack_string(b"c" * 9000)
    async with agent_that(sends(pack_string(bytes([12]) + pack_u32(1) + key)), tmp_path) as agent:
        _, (unusable,) = await agent.keys()
    assert len(unusable.comment) == 256
    assert len(unusable.reason) <= 200
