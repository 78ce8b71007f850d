"""Goes on with a run that the direct path has handed over, as if this client had requested it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from farhand_client.connector import reconnect_lost
from farhand_client.pending import Pending
from farhand_client.run import Run, RunWithStdin
from farhand_client.times import KEEPALIVE_INTERVAL
from farhand_client.ui.printing import LocalError

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.connection.reconnecting import ReconnectingConnection
    from farhand_client.handover import Handover
    from farhand_client.output import OnGap
    from farhand_client.sshconfig.lookup import SshSource
    from farhand_client.ui.outages import OutageNotice


class ResumedRun:
    """The run of `handover` at `host`. `open_client` returns its client, and `start` the run, as for a new one.

    `user`, `port`, `ssh` and `keepalive` are as for `connect`.
    """

    def __init__(
        self,
        host: str,
        options: argparse.Namespace,
        handover: Handover,
        outage: OutageNotice,
        *,
        user: str | None = None,
        port: int | None = None,
        ssh: SshSource | None = None,
        keepalive: float = KEEPALIVE_INTERVAL,
    ) -> None:
        self.handover = handover
        self._host = host
        self._place = (user, port, ssh)
        self._options = options
        self._keepalive = keepalive
        self._outage = outage
        self._connection: ReconnectingConnection | None = None

    def open_client(self, reconnect: float) -> Callable[[], Pending[Client]]:
        """Return what makes the client, which reconnects for `reconnect` seconds."""

        async def opened() -> Client:
            user, port, ssh = self._place
            client, self._connection = await reconnect_lost(
                self._host,
                self.handover,
                identities=self._options.identity,
                touch=self._outage.touch,
                timeout=self._options.connect_timeout,
                keepalive=self._keepalive,
                reconnect=reconnect,
                watch=self._outage,
                user=user,
                port=port,
                ssh=ssh,
            )
            return client

        return lambda: Pending(opened())

    def raise_what_failed(self) -> None:
        """Raise what has failed here before, and is the reason why the run is being stopped."""
        if self.handover.output_closed:
            raise BrokenPipeError
        if self.handover.failure is not None:
            raise LocalError(self.handover.failure)

    def start(self, on_gap: OnGap) -> Pending[Run]:
        """Return the run."""
        assert self._connection is not None
        kind = RunWithStdin if self.handover.request.get("stdin") else Run
        return Pending(kind.resume(self._connection, self.handover, on_gap))
