"""The edge's numbers: every bound on those who have not logged in, and how connections end."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
"""A time within which something must happen; beyond an hour it would be no bound."""
Penalty = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
"""Seconds of debt; 0 switches the penalty off."""


class EdgeSettings(BaseModel):
    """Bounds and times of one edge. The precedents are MaxStartups, PerSourceMaxStartups and
    PerSourcePenalties of sshd_config(5)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    before_login: int = Field(default=512, ge=1, le=100_000)
    """Connections that have not logged in, in total. At 20 KiB each they hold 10 MiB; sshd's 100 are few
    where one client opens 64 at once."""

    before_login_per_source: int = Field(default=128, ge=1, le=100_000)
    """Those of one source (an IPv4 address, an IPv6 /64): a quarter, so that no source alone keeps others out."""

    connections: int = Field(default=8000, ge=1, le=500_000)
    """Connections in total, logged in or not. Each takes two descriptors: 8,000 fit the 16,384 of the unit."""

    tls_deadline: Seconds = 10.0
    """Seconds from accept to the end of the TLS handshake: two round trips, with room for lost packets."""

    login_deadline: Seconds = 25.0
    """Seconds from accept to login; more than the core's own `login.deadline`, which can tell the client why."""

    penalty_refused: Penalty = 5.0
    """Debt of a source for a login refused; sshd's `authfail`."""

    penalty_no_login: Penalty = 1.0
    """Debt for a connection that ends, or fails in TLS, before it has logged in; sshd's `noauth`."""

    penalty_deadline: Penalty = 10.0
    """Debt for running into a deadline, which keeps a slot from others; sshd's `grace-exceeded`."""

    penalty_threshold: Penalty = 15.0
    """Debt from which on a source's connections are refused; sshd's `min`. Debt falls by one second a second: three
    refused logins are free, then there is one every five seconds."""

    penalty_max: Penalty = 600.0
    """The most debt a source can have, which is the longest it is kept out after its last failure; sshd's `max`."""

    penalty_sources: int = Field(default=16_384, ge=16, le=1_000_000)
    """Sources in debt that are remembered, in about 4 MiB; beyond that the smallest debts are forgotten."""

    flush: Seconds = 10.0
    """Seconds that a peer which stopped reading has to take the last bytes once the other end is gone."""

    linger: Seconds = 2.0
    """Seconds for which a closed connection waits for the client's end, reading on, so that what it was sent
    last is not lost to a TCP reset (RFC 1122, section 4.2.2.13)."""

    drain: Seconds = 5.0
    """Seconds that logged-in connections have to end after SIGTERM; below the 10 the unit allows to stop."""
