"""A command borrows a connection only where it would have made the same, and offers only what needs nobody's answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from farhand_client.connection import helper_use
from farhand_client.connection.address import Address
from farhand_client.connection.deadline import connect_deadline
from farhand_client.connection.helper_use import (
    borrowed_login,
    connection_request,
    offer_connection,
)
from farhand_client.connection.login import LoginResult, local_user
from farhand_client.mux.place import HelperPlace
from farhand_client.mux.request import NOT_SERVED, SERVED, ConnectionRequest, frame
from farhand_client.times import MAX_SIGNING_TIME
from farhand_client.trust.agent import Agent
from farhand_client.trust.agent_messages import AgentKey
from farhand_client.trust.identities import AgentIdentity, Identity
from farhand_client.trust.keyfile import KeyFile
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.sshformat import PublicKey
from tests.support.pairs import ACCEPTED, message, welcome


def test_a_request_has_all_that_decides_about_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    here = os.fsencode(tmp_path)
    request = connection_request(Address("h", 7, "ada"), [Path("key")], Path("/config"), Path("known"))
    assert request.encode().split(b"\0") == [
        b"", b"h", b"7", b"ada", b"", here + b"/known", b"/config", b"/home/ada", b"/agent", b"/state/farhand",
        here + b"/key",
    ]  # fmt: skip
    assert connection_request(Address("h"), [], None, None).user == local_user().encode()


KEY = PublicKey("ssh-ed25519", b"blob", b"key")


def key_file(*, encrypted: bool) -> KeyFile:
    async def load() -> object:
        raise AssertionError

    return KeyFile(Path("/key"), KEY, load, encrypted=encrypted)  # type: ignore[arg-type]  # it is never loaded


@pytest.mark.parametrize(
    ("identity", "signing", "offered"),
    [
        (None, 0.0, b""),
        (key_file(encrypted=False), 0.1, b"FILE:/key"),
        (key_file(encrypted=True), 0.1, None),
        (AgentIdentity(Agent("/agent"), AgentKey(KEY, "")), 0.1, b"AGENT:" + b"blob".hex().encode()),
        (AgentIdentity(Agent("/agent"), AgentKey(KEY, "")), MAX_SIGNING_TIME + 1, None),
    ],
)
def test_only_a_key_for_which_nobody_is_asked_is_offered(
    identity: Identity | None, signing: float, offered: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers: list[bytes] = []
    monkeypatch.setattr(
        "farhand_client.mux.start.offer_or_start", lambda place, request: offers.append(request.identity)
    )

    login = LoginResult(cast("object", None), cast("object", None), ACCEPTED, identity, signing)  # type: ignore[arg-type]
    offer_connection(HelperPlace(b"/d", b"/p"), ConnectionRequest(host=b"h"), login)
    for thread in threading.enumerate():
        if thread.name == "farhand helper":
            thread.join()
    assert offers == ([] if offered is None else [offered])


@contextlib.asynccontextmanager
async def helper(directory: Path, answer: bytes) -> AsyncIterator[HelperPlace]:
    """A helper that answers every request with these bytes."""
    place = HelperPlace(bytes(directory), b"/p")

    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.append(task)
        with contextlib.suppress(ConnectionError):
            await reader.readexactly(8)
            writer.write(answer)
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, os.fsdecode(place.connections))
    try:
        yield place
    finally:
        server.close()
        await asyncio.gather(*served)


LOGGED_IN = message(0, welcome(login=False)) + message(0, ACCEPTED)


@pytest.mark.parametrize(
    ("answer", "borrowed"),
    [
        (frame(SERVED) + LOGGED_IN, True),
        (frame(NOT_SERVED), False),
        (frame(SERVED) + message(0, welcome(login=True)), False),  # it cannot be asked to prove a key
        (frame(SERVED) + encode_frame(Kind.MESSAGE, 0, b"{"), False),
        (b"", False),
    ],
)
async def test_a_connection_is_borrowed_if_it_is_ready(tmp_path: Path, answer: bytes, borrowed: bool) -> None:
    async with helper(tmp_path, answer) as place, connect_deadline(30) as deadline:
        request = ConnectionRequest(host=b"h")
        login = await borrowed_login(place, request, Address("h"), None, deadline)
        assert (login is not None) is borrowed
        if login is not None:
            assert login.session.borrowed
            assert login.accepted == ACCEPTED
            await login.session.close()


async def test_a_helper_that_says_no_more_after_yes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper_use, "LENT_LOGIN_TIMEOUT", 0.05)
    async with helper(tmp_path, frame(SERVED)) as place, connect_deadline(30) as deadline:
        assert await borrowed_login(place, ConnectionRequest(), Address("h"), None, deadline) is None
