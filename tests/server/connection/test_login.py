"""Which clients are logged in or refused, and what the client, the edge and the audit log are told."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from dataclasses import replace
from ipaddress import IPv4Address

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ConnectionFailed, Event, MessageReceived
from farhand_protocol.features import FEATURES
from farhand_protocol.states import Phase, Side
from farhand_protocol.tickets import IssuedTicket, shown_ticket
from farhand_server.admission.caller import Caller
from farhand_server.admission.shares import Shares
from farhand_server.audit import AuditEntry
from farhand_server.auth.accounts import Principal, peer_principal
from farhand_server.auth.authorized_keys import IPAddress
from farhand_server.auth.login import Authenticator, LoginProof, LoginRefusal, Offload, RefusalCause
from farhand_server.config import ServiceConfig, load
from farhand_server.connection.login import LoginExchange
from farhand_server.logs import Logger, LogSink
from farhand_server.sharing import ShareBounds
from farhand_server.tickets import TicketKey
from tests.support.clock import virtual_time
from tests.support.login_work import WorkAtOnce
from tests.support.pairs import LOGIN, hello
from tests.support.processes import no_descriptors
from tests.support.registry import NoRuns

OWN = pwd.getpwuid(os.getuid()).pw_name
ADDRESS = IPv4Address("192.0.2.7")
PEER = "192.0.2.7:50214"
REFUSED = LoginRefusal(RefusalCause.KEY_NOT_AUTHORIZED, "the key is in no file", "SHA256:one")
BY_KEY = Principal(OWN, os.getuid(), "key", "SHA256:one")


class Judge(Authenticator):
    """Answers every proof with `verdict`."""

    def __init__(self, verdict: Principal | LoginRefusal) -> None:
        self.verdict = verdict
        self.proofs: list[tuple[LoginProof, IPAddress | None]] = []
        self.hangs = False

    async def authenticate(
        self, proof: LoginProof, *, address: IPAddress | None, now: float, offload: Offload[object]
    ) -> Principal | LoginRefusal:
        self.proofs.append((proof, address))
        if self.hangs:
            await asyncio.Event().wait()
        return self.verdict


class Session:
    """Session and core of a login, and the client at the peer's end; with a `verdict` it is the client of an edge."""

    def __init__(self, verdict: Principal | LoginRefusal | None = None, *, local: Caller | None = None) -> None:
        self.config: ServiceConfig = load(None, overrides={})
        self.judge = None if verdict is None else Judge(verdict)
        self.entries: list[AuditEntry] = []
        self.log = Logger(LogSink(), {})
        self.connection = Connection(Side.SERVER)
        self.client = Connection(Side.CLIENT)
        self.reports: list[bool] = []
        self.callers: list[Caller] = []
        self.ended: ErrorCode | None = None
        self.stopping = False
        self.answered = asyncio.Event()
        self.shares = Shares(NoRuns())
        self.login_work = WorkAtOnce()
        self.ticket_key: TicketKey | None = TicketKey(b"k" * 16)
        remote = verdict is not None
        self.login = LoginExchange(
            self,
            local=local,
            address=ADDRESS if remote else None,
            peer=PEER if remote else None,
            report=self.reports.append if remote else None,
        )
        self.login.start()

    @property
    def context(self) -> Session:
        return self

    @property
    def authenticator(self) -> Authenticator | None:
        return self.judge

    def note(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    def logged_in(self, caller: Caller) -> None:
        self.callers.append(caller)

    def flush_soon(self) -> None:
        self.answered.set()

    def end(self, code: ErrorCode, sentence: str) -> None:
        self.ended = code
        self.connection.fail(code, sentence)

    def send(self, message: m.Message) -> list[str]:
        """Let the client send a message; return the types of the answers and the codes of errors."""
        self.client.send(0, message)
        for data in self.client.data_to_send():
            for event in self.connection.receive_data(data):
                assert isinstance(event, MessageReceived), event
                if isinstance(event.message, m.Hello):
                    self.login.answer_hello(event.message)
                else:
                    assert isinstance(event.message, m.Login)
                    self.login.answer_login(event.message)
        return self.answers()

    async def prove(self) -> list[str]:
        """Let the client send a proof; return the types of the answers and the codes of errors."""
        assert self.send(LOGIN) == []
        await self.answered.wait()
        self.answered.clear()
        return self.answers()

    def received(self) -> list[m.AnyMessage]:
        """Return the messages that the client receives."""
        events = self.client.receive_data(b"".join(self.connection.data_to_send()))
        return [event.message for event in events if isinstance(event, MessageReceived)]

    def answers(self) -> list[str]:
        data = b"".join(self.connection.data_to_send())
        return [described(event) for event in self.client.receive_data(data)]


def described(event: Event) -> str:
    if isinstance(event, ConnectionFailed):
        return event.error.code
    assert isinstance(event, MessageReceived), event
    return event.message.code if isinstance(event.message, m.Error) else event.message.type


@virtual_time
async def test_a_local_client_is_logged_in_by_its_hello() -> None:
    session = Session(local=Caller.of(peer_principal(os.getuid())))
    assert session.send(replace_user(None)) == ["welcome", "accepted"]
    assert [caller.principal.user for caller in session.callers] == [OWN]
    assert [(entry.event, entry.user, entry.how) for entry in session.entries] == [("login", OWN, "peer")]


@virtual_time
async def test_without_descriptors_a_client_is_told_that_its_account_cannot_be_looked_up_now() -> None:
    session = Session(BY_KEY)
    session.send(hello())
    with no_descriptors():
        assert (await session.prove())[-1:] == [ErrorCode.UNAVAILABLE]
    assert session.callers == []


@virtual_time
async def test_a_local_client_cannot_be_another_user() -> None:
    session = Session(local=Caller.of(peer_principal(os.getuid())))
    assert session.send(replace_user("somebody-else")) == [ErrorCode.DENIED]
    assert session.callers == []


@virtual_time
async def test_a_client_that_comes_while_the_service_stops_is_told_to_try_again() -> None:
    for session in (Session(local=Caller.of(peer_principal(os.getuid()))), Session(BY_KEY)):
        session.stopping = True
        assert session.send(replace_user(None)) == [ErrorCode.DRAINING]
        assert session.callers == []


@virtual_time
async def test_a_client_without_a_common_version_is_refused() -> None:
    session = Session(BY_KEY)
    assert session.send(hello().model_copy(update={"versions": (99,)})) == [ErrorCode.UNSUPPORTED_VERSION]
    assert session.connection.phase is Phase.CLOSED


@virtual_time
async def test_a_client_of_an_edge_is_logged_in_by_a_proof() -> None:
    session = Session(BY_KEY)
    assert session.send(hello()) == ["welcome"]
    assert session.callers == []
    assert await session.prove() == ["accepted"]
    assert session.reports == [True]
    assert [(caller.principal, caller.peer) for caller in session.callers] == [(BY_KEY, PEER)]
    assert [(entry.event, entry.key, entry.peer) for entry in session.entries] == [("login", "SHA256:one", PEER)]


@virtual_time
async def test_a_proof_is_judged_by_values_that_the_service_observed_itself() -> None:
    session = Session(BY_KEY)
    session.send(hello())
    await session.prove()
    assert session.judge is not None
    ((proof, address),) = session.judge.proofs
    assert (proof.user, proof.public_key, proof.signature) == ("ada", LOGIN.public_key, LOGIN.signature)
    assert proof.client_nonce == hello().nonce
    assert proof.server_nonce != Session(BY_KEY).login.nonce
    assert (len(proof.server_nonce), len(proof.hello_sha256), address) == (32, 32, ADDRESS)


@virtual_time
async def test_the_cause_of_a_refusal_is_in_the_audit_log_and_not_sent_to_the_client() -> None:
    session = Session(REFUSED)
    session.send(hello())
    assert await session.prove() == ["refused"]
    (entry,) = session.entries
    assert (entry.event, entry.user, entry.key, entry.outcome, entry.peer) == (
        "login_refused", "ada", "SHA256:one", "key_not_authorized", PEER,
    )  # fmt: skip
    assert (session.reports, session.ended) == ([], None)


@virtual_time
async def test_the_last_refusal_ends_the_connection_and_is_reported_to_the_edge() -> None:
    session = Session(REFUSED)
    session.send(hello())
    attempts = session.config.login.attempts
    for _ in range(attempts - 1):
        assert await session.prove() == ["refused"]
    assert await session.prove() == [ErrorCode.LOGIN_FAILED]
    assert (session.reports, len(session.entries)) == ([False], attempts)


@virtual_time
async def test_a_login_after_refusals_is_accepted() -> None:
    session = Session(REFUSED)
    session.send(hello())
    await session.prove()
    assert session.judge is not None
    session.judge.verdict = replace(BY_KEY, fingerprint="SHA256:two")
    assert await session.prove() == ["accepted"]
    assert session.reports == [True]


@virtual_time
async def test_a_client_that_does_not_log_in_in_time_is_disconnected() -> None:
    session = Session(REFUSED)
    session.send(hello())
    await asyncio.sleep(session.config.login.deadline - 0.1)
    assert session.answers() == []
    await asyncio.sleep(0.2)
    assert session.answers() == [ErrorCode.LOGIN_TIMEOUT]
    assert session.reports == [False]


@virtual_time
async def test_a_client_whose_proof_is_not_answered_in_time_is_not_reported_as_refused() -> None:
    session = Session(BY_KEY)
    assert session.judge is not None
    session.judge.hangs = True
    session.send(hello())
    session.send(LOGIN)
    await asyncio.sleep(session.config.login.deadline + 0.1)
    assert session.answers() == [ErrorCode.LOGIN_TIMEOUT]
    session.login.stop()
    assert (session.reports, session.callers) == ([], [])


@virtual_time
async def test_a_client_that_leaves_while_its_proof_is_verified_is_not_logged_in() -> None:
    session = Session(BY_KEY)
    session.send(hello())
    session.send(LOGIN)
    session.login.stop()
    await asyncio.sleep(1)
    assert (session.reports, session.callers, session.entries) == ([False], [], [])


@virtual_time
async def test_a_connection_that_ended_while_a_proof_was_verified_gets_no_answer() -> None:
    session = Session(BY_KEY)
    session.send(hello())
    session.send(LOGIN)
    session.connection.fail(ErrorCode.UNKNOWN_KIND, "a violation of the protocol")
    await session.answered.wait()
    assert session.callers == []


@virtual_time
async def test_a_client_that_has_logged_in_has_no_deadline() -> None:
    session = Session(BY_KEY)
    session.send(hello())
    await session.prove()
    await asyncio.sleep(2 * session.config.login.deadline)
    assert (session.ended, session.reports) == (None, [True])


@virtual_time
async def test_a_client_that_leaves_before_its_login_is_reported_as_failed() -> None:
    session = Session(REFUSED)
    session.send(hello())
    session.login.stop()
    await asyncio.sleep(2 * session.config.login.deadline)
    assert (session.ended, session.reports) == (None, [False])


@virtual_time
async def test_a_client_of_an_edge_gets_a_ticket_and_a_local_one_needs_none() -> None:
    session = Session(BY_KEY)
    session.send(hello(features=FEATURES))
    assert session.send(LOGIN) == []
    await session.answered.wait()
    (accepted,) = session.received()
    assert isinstance(accepted, m.Accepted)
    assert accepted.ticket is not None
    assert session.ticket_key is not None
    assert accepted.ticket_secret is not None
    issued = IssuedTicket(accepted.ticket, accepted.ticket_secret)
    shown = shown_ticket([issued.protocol(b"12345678").encode()])
    assert shown is not None
    assert session.ticket_key.read(shown, time.time()) is not None
    local = Session(local=Caller.of(peer_principal(os.getuid())))
    local.client.send(0, replace_user(None))
    for data in local.client.data_to_send():
        for event in local.connection.receive_data(data):
            assert isinstance(event, MessageReceived)
            assert isinstance(event.message, m.Hello)
            local.login.answer_hello(event.message)
    assert [message.ticket for message in local.received() if isinstance(message, m.Accepted)] == [None]


def replace_user(user: str | None) -> m.Hello:
    return hello().model_copy(update={"user": user})


@virtual_time
async def test_a_connection_beyond_the_share_of_its_account_is_refused_without_blaming_its_key() -> None:
    session = Session(Principal("ada", 12345, "key", "SHA256:x"))
    session.shares.connections.add(12345, 5000)
    session.send(hello())
    assert await session.prove() == [ErrorCode.TOO_MANY_RUNS]
    assert session.reports == [True]
    assert (session.ended, session.callers) == (ErrorCode.TOO_MANY_RUNS, [])


@virtual_time
async def test_the_bounds_of_an_account_apply_from_its_login_on() -> None:
    session = Session(Principal("ada", 12345, "key", "SHA256:x"))
    session.shares.bounds.use(lambda user, groups: ShareBounds(connections=len(user)))
    session.shares.connections.add(12345, 3)
    session.send(hello())
    assert await session.prove() == [ErrorCode.TOO_MANY_RUNS]
    assert session.callers == []


@virtual_time
async def test_what_is_wrong_with_the_service_is_neither_said_nor_charged_as_a_wrong_key() -> None:
    fault = LoginRefusal(RefusalCause.UNAVAILABLE, "FILE: no", "SHA256:x", "Too many open files")
    session = Session(fault)
    session.send(hello())
    assert await session.prove() == [ErrorCode.UNAVAILABLE]
    session.login.stop()
    assert (session.ended, session.reports) == (ErrorCode.UNAVAILABLE, [])
