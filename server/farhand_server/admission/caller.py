"""Who is at the other end of a connection that has logged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from farhand_server.auth.principal import Principal
from farhand_server.policy import Subject, subject_of
from farhand_server.runs.environment import Home


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal with all that was looked up of its account, once, at login: what changes there shows at the next.

    `peer` is the client's address as it stands in the log; None for a local client.
    """

    principal: Principal
    home: Home
    subject: Subject
    peer: str | None = None

    @classmethod
    def of(cls, principal: Principal, peer: str | None = None) -> Self:
        """Look up home, shell and groups (passwd(5), group(5))."""
        home = Home.of(principal.uid)
        return cls(principal, home, subject_of(principal, home), peer)
