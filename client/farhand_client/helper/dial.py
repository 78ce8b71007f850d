"""Makes a connection for the helper: as a command does, but only if nobody has to be asked or to touch anything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farhand_client.connection.address import Address
from farhand_client.connection.deadline import connect_deadline
from farhand_client.connection.dial import dial_socket, dial_tls
from farhand_client.connection.login import LoginResult, introduction, log_in
from farhand_client.connection.return_ticket import ReturnTicket
from farhand_client.errors import ConnectError
from farhand_client.mux.request import ConnectionRequest
from farhand_client.trust import TrustError
from farhand_client.trust.agent import Agent
from farhand_client.trust.identities import AgentIdentity, Identities, Identity
from farhand_client.trust.keyfile import KeyFile, read_key_file
from farhand_client.trust.known_hosts import KnownHosts
from farhand_protocol.features import LOST_CHANNEL

from .proof import ConnectionProof, UnchangedFiles

DIAL_TIMEOUT: Final = 30.0
"""Seconds to connect and log in, as for a command (`connector.CONNECT_TIMEOUT`). Nobody waits for it."""

FILE_KEY: Final = b"FILE:"
AGENT_KEY: Final = b"AGENT:"


class NotWithoutAsking(ConnectError):
    """The connection cannot be made, or not shared, without somebody who answers."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connection that is logged in, with the frames that introduce it to a caller."""

    login: LoginResult
    proof: ConnectionProof
    introduction: bytes


async def dial(request: ConnectionRequest) -> Dialled:
    """Connect as `request` says. Raises `FarhandError`."""
    async with connect_deadline(DIAL_TIMEOUT) as deadline:
        if request.socket:
            address = Address(socket=os.fsdecode(request.socket), user=_text(request.user))
            proof = ConnectionProof(UnchangedFiles([request.socket]))
            login = await log_in(await dial_socket(address, None, deadline), address, None, deadline)
        else:
            address = Address(host=os.fsdecode(request.host), port=int(request.port), user=_text(request.user))
            identity, proof = await _identity(request)
            ticket = ReturnTicket(Path(os.fsdecode(request.state)), address, os.fsdecode(request.user))
            record = KnownHosts(Path(os.fsdecode(request.known_hosts)))
            dialled = await dial_tls(address, record, None, deadline, await ticket.load())
            login = await log_in(dialled, address, Identities(first=identity), deadline)
            await ticket.renew(login.accepted)
    if LOST_CHANNEL not in login.welcome.features or login.session.going_away or login.session.end_cause is not None:
        login.session.abort()
        raise NotWithoutAsking(f"the service at {address} cannot be shared: it is older, or ends")
    return Dialled(login, proof, introduction(login))


async def _identity(request: ConnectionRequest) -> tuple[Identity, ConnectionProof]:
    """Return the key that the service has accepted from the command, and what proves that it may be used."""
    if request.identity.startswith(FILE_KEY):
        path = request.identity.removeprefix(FILE_KEY)
        files = UnchangedFiles([request.known_hosts, path])
        try:
            file = read_key_file(Path(os.fsdecode(path)))
        except TrustError as error:
            raise NotWithoutAsking(str(error)) from None
        if not isinstance(file, KeyFile) or file.encrypted:
            raise NotWithoutAsking(f"{os.fsdecode(path)} is no key that can be used without asking")
        return file, ConnectionProof(files)
    files = UnchangedFiles([request.known_hosts])
    agent = Agent(os.fsdecode(request.agent))
    blob = _blob(request.identity)
    try:
        usable, _ = await agent.keys()
    except TrustError as error:
        raise NotWithoutAsking(str(error)) from None
    for key in usable:
        if key.public_key.blob == blob and key.public_key.application is None:
            return AgentIdentity(agent, key), ConnectionProof(files, agent, blob)
    raise NotWithoutAsking("the ssh-agent does not hold the key, or somebody has to touch it")


def _blob(identity: bytes) -> bytes:
    try:
        return bytes.fromhex(identity.removeprefix(AGENT_KEY).decode("ascii"))
    except ValueError:
        raise NotWithoutAsking("the offer names no key") from None


def _text(user: bytes) -> str | None:
    return os.fsdecode(user) or None
