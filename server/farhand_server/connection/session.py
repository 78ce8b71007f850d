"""One client's connection, from its first byte to its last: who it is, and its channels."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from farhand_protocol import messages as m
from farhand_protocol.connection import (
    ChannelFailed,
    Connection,
    ConnectionFailed,
    DataReceived,
    Event,
    MessageReceived,
)
from farhand_protocol.errors import ErrorCode
from farhand_protocol.keepalive import Keepalive, KeepaliveAction
from farhand_protocol.login import NONCE_SIZE
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import ConnectionTransport

from .. import __version__
from ..admission.caller import Caller
from ..audit import Entry
from ..audit import Event as AuditEvent
from ..auth.principal import Principal
from ..logs import Logger
from ..policy import Action, Owner, may
from ..runs.run import LiveRun
from .channels.handler import ChannelHandler
from .context import Core
from .dispatch import dispatch
from .turns import SendTurns

SOFTWARE: Final = f"farhandd/{__version__}"

KEEPALIVE_INTERVAL: Final = 15.0
"""Seconds of silence after which a client is pinged. After three of them its connection counts as lost: a run whose
client is gone without notice must not wait for it indefinitely."""

FAREWELL: Final = 0
"""Id of the last ping."""

LoginReport = Callable[[bool], None]
"""Tells the edge whether its client has logged in."""


class ServerSession:
    """Handler of one `ConnectionTransport`. A local client has its `principal`; one of the edge has to log in."""

    def __init__(
        self,
        core: Core,
        log: Logger,
        *,
        principal: Principal | None = None,
        address: IPv4Address | IPv6Address | None = None,
        peer: str | None = None,
        verdict: LoginReport | None = None,
    ) -> None:
        self.core: Final = core
        self.log = log
        self.connection: Final = Connection(Side.SERVER)
        self.nonce: Final = os.urandom(NONCE_SIZE)
        self.hello: m.Hello | None = None
        self.principal = principal
        self.caller: Caller | None = None
        """Who has been let in."""
        self.channels: dict[int, ChannelHandler] = {}
        self.gone: Final = asyncio.Event()
        self._address = address
        self._peer = peer
        self._verdict = verdict
        self._attempts_left = core.config.login.attempts
        self._link: ConnectionTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.TimerHandle | None = None
        self._turns = SendTurns(lambda error: self._failed("output", error))
        self._finishing = False
        self._farewell_said = False
        self._unacknowledged: dict[int, ChannelHandler] = {}
        self._keepalive = Keepalive(KEEPALIVE_INTERVAL)
        self._keepalive_timer: asyncio.TimerHandle | None = None

    # Login

    def welcome(self, hello: m.Hello) -> None:
        """Answer the hello; a local client is logged in by it, unless it wants to be someone else."""
        self.hello = hello
        local = self.principal
        self.connection.send(
            0,
            m.Welcome(
                version=m.PROTOCOL_VERSION,
                software=SOFTWARE,
                limits=self.connection.announced,
                login=local is None,
                nonce=self.nonce,
            ),
        )
        if local is None:
            return
        if hello.user in (None, local.user):
            self.accept(local)
        else:
            self.connection.fail(
                ErrorCode.DENIED, f"this socket is for the account {local.user}; no other user can be had over it"
            )

    def authenticate(self, public_key: bytes, signature: bytes) -> Principal | None:
        """Judge a login; the cause of a refusal goes to the log and nowhere else."""
        from ..auth.login import LoginProof

        assert self.hello is not None
        proof = LoginProof(
            user=self.hello.user or "",
            server_name=self.hello.server or "",
            public_key=public_key,
            signature=signature,
            server_nonce=self.nonce,
            client_nonce=self.hello.nonce,
            hello_sha256=sha256(self.connection.hello_frame).digest(),
        )
        assert self.core.authenticator is not None  # clients of an edge come by its socket alone
        judged = self.core.authenticator.authenticate(proof, address=self._address, now=time.time())
        if not isinstance(judged, Principal):
            self.log.warning(
                "login refused", user=proof.user, key=judged.fingerprint, cause=judged.cause, detail=judged.detail
            )
            self.core.note(
                Entry(
                    "login_refused",
                    time.time(),
                    user=proof.user,
                    how="key",
                    key=judged.fingerprint,
                    peer=self._peer,
                    outcome=judged.cause,
                    detail=judged.detail,
                )
            )
            return None
        return judged

    def accept(self, principal: Principal) -> None:
        """Let the client in."""
        self.principal = principal
        self.caller = Caller.of(principal, self._peer)
        self._cancel_deadline()
        self._keepalive.start(self._loop.time())
        self._schedule_keepalive()
        if self._verdict is not None:
            self._verdict(True)
            self.log.info("login", user=principal.user, how=principal.how, key=principal.fingerprint)
        self.note("login")
        self.log = self.log.bind(user=principal.user)
        self.connection.send(0, m.Accepted(user=principal.user, host=platform.node() or "localhost"))

    def refuse(self) -> None:
        """Say that a login did not do, without the cause; end the connection with the last attempt."""
        self._attempts_left -= 1
        if self._attempts_left > 0:
            self.connection.send(0, m.Refused(attempts_left=self._attempts_left))
            return
        if self._verdict is not None:
            self._verdict(False)
        self._end(ErrorCode.LOGIN_FAILED, "none of the keys offered is authorized for this user")

    # What the client may do

    def may(self, action: Action, run: LiveRun) -> bool:
        """Whether the policy that is in force now lets the client do this with a run that is there."""
        assert self.caller is not None
        return may(self.core.policy, self.caller.subject, action, Owner(run.plan.owner, run.plan.origin.key))

    def note(
        self,
        event: AuditEvent,
        *,
        run: str | None = None,
        argv: tuple[bytes, ...] | None = None,
        commands: Literal["argv", "hash"] = "argv",
        detail: str | None = None,
    ) -> None:
        """Put something that this client did, or was not let do, into the audit log."""
        assert self.caller is not None
        who = self.caller.principal
        self.core.note(
            Entry(
                event,
                time.time(),
                user=who.user,
                how=who.how,
                key=who.fingerprint,
                peer=self._peer,
                run=run,
                argv=argv,
                commands=commands,
                detail=detail,
            )
        )

    # The life of the connection

    def going_away(self, grace: float) -> None:
        """Tell the client that the service drains."""
        if self.connection.phase is Phase.READY:
            self.connection.send(0, m.GoingAway(grace=grace))
            self.flush_soon()

    def deny(self, principal: Principal, sentence: str) -> None:
        """End the connection of a local client that has no business here."""
        self.core.note(
            Entry(
                "login_refused", time.time(), user=principal.user, how=principal.how, outcome="denied", detail=sentence
            )
        )
        self._end(ErrorCode.DENIED, sentence)

    def finish(self) -> None:
        """Close once every run has said its outcome, behind all of its output, and the client has it all.

        A client whose credit or close meets a closed socket loses what it has not read yet. Its answer to a last ping
        shows that it has read everything before.
        """
        self._finishing = True
        self._say_farewell()

    def close(self) -> None:
        """Send what is queued and close."""
        if self._link is not None:
            self._link.close()

    def abort(self) -> None:
        """Close without sending."""
        if self._link is not None:
            self._link.abort()

    def _end(self, code: ErrorCode, sentence: str) -> None:
        self.connection.fail(code, sentence)
        self._leave_runs()
        self.close()

    def _login_deadline_passed(self) -> None:
        self._deadline = None
        if self._verdict is not None:
            self._verdict(False)
        self.log.warning("login deadline passed")
        self._end(ErrorCode.LOGIN_TIMEOUT, "no login came in time; connect again")

    def _check_keepalive(self) -> None:
        match self._keepalive.check(self._loop.time()):
            case KeepaliveAction.GIVE_UP:
                self.log.warning("client has fallen silent", seconds=self._keepalive.silence)
                self.abort()
            case KeepaliveAction.PING if self.connection.phase is Phase.READY:
                self.connection.send(0, m.Ping(id=self._keepalive.silent_intervals))
                self.flush_soon()
        self._schedule_keepalive()

    def _schedule_keepalive(self) -> None:
        if self._keepalive.deadline is not None:
            self._keepalive_timer = self._loop.call_at(self._keepalive.deadline, self._check_keepalive)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # ChannelOutlet

    def flush_soon(self) -> None:
        """Send what is queued at the end of this turn of the loop."""
        # Each key is taken, but gives back credit only now and then: a turn of the loop for nothing is 8 µs.
        if self._link is not None and self.connection.queued:
            self._link.flush_soon()

    def schedule(self, channel: ChannelHandler, *, awaited: bool = False) -> None:
        """Give the channel its turn to send."""
        self._turns.add(channel, awaited=awaited)

    def closed(self, number: int) -> None:
        """The client has said its last on a channel behind ours."""
        channel = self._unacknowledged.pop(number, None)
        if channel is not None:
            channel.closed()

    def forget(self, channel: ChannelHandler) -> None:
        """The channel has said its last."""
        if self.channels.pop(channel.number, None) is not None:
            self._unacknowledged[channel.number] = channel
        if self._finishing:
            asyncio.get_running_loop().call_soon(self._say_farewell)

    def _say_farewell(self) -> None:
        if self._link is None or self.channels or self._farewell_said:
            return
        if self.connection.phase is not Phase.READY:
            self.close()
            return
        self._link.flush()
        if self._link.room:  # nothing waits here that a ping would overtake; else `writable` follows
            self._farewell_said = True
            self.connection.send(0, m.Ping(id=FAREWELL))
            self._link.flush()

    # Handler

    def connected(self, link: ConnectionTransport) -> None:
        """Handler."""
        self._link = self._turns.link = link
        self.core.sessions.add(self)
        self._deadline = self._loop.call_later(self.core.config.login.deadline, self._login_deadline_passed)

    def received(self, event: Event) -> None:
        """Handler."""
        self._keepalive.received()
        if isinstance(event, DataReceived):
            channel = self.channels.get(event.channel)
            if channel is not None:
                channel.received_data(event.data)
        elif isinstance(event, ChannelFailed):
            self.log.warning("message refused", code=event.error.code, reason=event.error.sentence)
            channel = self.channels.pop(event.channel, None)
            if channel is not None:
                channel.lost()
        elif isinstance(event, ConnectionFailed):
            self.log.warning("connection broke the protocol", code=event.error.code, reason=event.error.sentence)
        elif self._farewell_said and isinstance(event.message, m.Pong) and event.message.id == FAREWELL:
            self.close()
        else:
            self._dispatch(event)
        if self.connection.closed:
            self._leave_runs()
            self.close()

    def _dispatch(self, event: MessageReceived) -> None:
        try:
            dispatch(self, event.channel, event.message)
        except Exception as error:  # noqa: BLE001  # whatever it is, this client is told and the others go on
            self._failed(event.message.type, error)

    def _failed(self, what: str, error: Exception) -> None:
        self.log.error("message failed by a fault of the service", message=what, error=error)
        self._end(ErrorCode.INTERNAL, "the service failed to act on a message; its log says why")

    def writable(self) -> None:
        """Handler."""
        self._turns.send()
        if self._finishing:
            self._say_farewell()

    def lost(self, error: Exception | None) -> None:
        """Handler."""
        self._link = self._turns.link = None
        self._cancel_deadline()
        if self._keepalive_timer is not None:
            self._keepalive_timer.cancel()
        self.core.sessions.discard(self)
        self.gone.set()
        if self.principal is None and self._verdict is not None:
            self._verdict(False)
        self._leave_runs()

    def _leave_runs(self) -> None:
        for channel in (*self.channels.values(), *self._unacknowledged.values()):
            channel.lost()
        self.channels.clear()
        self._unacknowledged.clear()
        self._turns.clear()
