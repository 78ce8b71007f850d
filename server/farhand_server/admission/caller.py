"""The account that a connection belongs to after login."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeVar
from weakref import WeakValueDictionary

from farhand_server.audit import AuditEntry, AuditEvent
from farhand_server.auth.accounts import Principal
from farhand_server.descriptors import check_descriptors
from farhand_server.policy import Subject, subject_of
from farhand_server.runs.environment import Home

_UNKNOWN: Final = "UNKNOWN:65535"

_Key = TypeVar("_Key")
_Found = TypeVar("_Found", Home, Subject)


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal with everything looked up about its account at login. Later changes take effect at the next login.

    `peer` is the client's address as it appears in the log; None for a local client. `arrival` is the address and the
    port to which it has connected.
    """

    principal: Principal
    home: Home
    subject: Subject
    peer: str | None = None
    arrival: str | None = None

    @classmethod
    def of(cls, principal: Principal, peer: str | None = None, arrival: str | None = None) -> Self:
        """Look up the account's home, shell and groups (passwd(5), group(5)).

        Raises OSError if the service lacks descriptors: then the account would have none of these.
        """
        check_descriptors()
        home = _same(_homes, principal.uid, Home.of(principal.uid))
        subject = _same(_subjects, (principal.user, principal.fingerprint), subject_of(principal, home))
        return cls(principal, home, subject, peer, arrival)

    @property
    def ssh_variables(self) -> dict[bytes, bytes]:
        """The variables by which programs find out that sshd(8) has started them: bash then reads `~/.bashrc`.

        Where an address is not known, as on a Unix socket, OpenSSH writes UNKNOWN and 65535, too (`packet.c`).
        """
        host, _, port = (self.peer or _UNKNOWN).rpartition(":")
        client, arrival = f"{host.strip('[]')} {port}", self.arrival or _UNKNOWN.replace(":", " ")
        return {
            b"SSH_CLIENT": f"{client} {arrival.rpartition(' ')[2]}".encode(),
            b"SSH_CONNECTION": f"{client} {arrival}".encode(),
        }

    def audit_entry(
        self,
        event: AuditEvent,
        *,
        run: str | None = None,
        argv: tuple[bytes, ...] | None = None,
        commands: Literal["argv", "hash"] = "argv",
        detail: str | None = None,
    ) -> AuditEntry:
        """Return an audit entry about something that this caller has just done or was just denied."""
        who = self.principal
        return AuditEntry(
            event,
            time.time(),
            user=who.user,
            how=who.how,
            key=who.fingerprint,
            peer=self.peer,
            run=run,
            argv=argv,
            commands=commands,
            detail=detail,
        )


_homes: Final[WeakValueDictionary[int, Home]] = WeakValueDictionary()
_subjects: Final[WeakValueDictionary[tuple[str, str | None], Subject]] = WeakValueDictionary()
"""What was looked up last for each account and key that are connected: all connections of one usually have the same,
and need not keep it several times."""


def _same(known: WeakValueDictionary[_Key, _Found], key: _Key, found: _Found) -> _Found:
    """Return the known object if it is equal to what was found, else that, which is known from then on."""
    before = known.get(key)
    if before == found:
        return before
    known[key] = found
    return found
