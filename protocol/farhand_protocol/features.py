"""Features: what a side sends only if its peer has announced in `hello` or `welcome` that it knows it.

A peer refuses a field that it does not know, so an older one must never receive it. `left_out` names the fields to
leave out of a message; `Connection` applies it to everything it sends.
"""

from __future__ import annotations

from functools import cache, lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Set
    from typing import Any, Final

FILES: Final = "files"
"""Transfers of files: `run.transfer`, and `transfer` in a listing."""

FORWARDS: Final = "forwards"
"""Tunnels for forwarded connections: `run.forward`, and `forward` in a listing."""

LEFT_PROCESSES: Final = "left-processes"
"""Processes that a run leaves behind: `run.leave_processes`, `ended.left_processes`, `deliver.kill_after`, and
`left_processes` in a listing."""

LOOP_HOLDS: Final = "loop-holds"
"""How often something held up the service: `service_status.holds`."""

LOST_CHANNEL: Final = "lost-channel"
"""The loss of one of the clients that share a connection: `close.lost`."""

RUN_DETAILS: Final = "run-details"
"""What a listing says about a run: `login`, `tty`, `clients` and `internal`; and `run.internal`."""

RETURN_TICKET: Final = "return-ticket"
"""What a client shows at its next connection: `accepted.ticket` and `ticket_secret`."""

SERVICE_STATUS: Final = "service-status"
"""The request `status`, about the service itself, and its answer `service_status`."""

SHARES: Final = "shares"
"""What users have of that which they share: `service_status.shares`."""

SSH_VARIABLES: Final = "ssh-variables"
"""Variables as sshd(8) sets them: `run.ssh_variables`."""

PRELUDE: Final = "prelude"
"""A script that the shell runs with the text of a run as its argument: `run.prelude`."""

FEATURES: Final = (
    FILES,
    FORWARDS,
    LEFT_PROCESSES,
    LOOP_HOLDS,
    LOST_CHANNEL,
    PRELUDE,
    RETURN_TICKET,
    RUN_DETAILS,
    SERVICE_STATUS,
    SHARES,
    SSH_VARIABLES,
)
"""The features of this version, as both sides announce them."""

_FIELDS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    FILES: {"run": ("transfer",), "runs": ("transfer",)},
    FORWARDS: {"run": ("forward",), "runs": ("forward",)},
    LEFT_PROCESSES: {
        "run": ("leave_processes",),
        "ended": ("left_processes",),
        "deliver": ("kill_after",),
        "runs": ("left_processes",),
    },
    LOOP_HOLDS: {"service_status": ("holds",)},
    LOST_CHANNEL: {"close": ("lost",)},
    PRELUDE: {"run": ("prelude",)},
    RETURN_TICKET: {"accepted": ("ticket", "ticket_secret")},
    RUN_DETAILS: {"run": ("internal",), "runs": ("login", "tty", "clients", "internal")},
    SHARES: {"service_status": ("shares",)},
    SSH_VARIABLES: {"run": ("ssh_variables",)},
}
"""The fields of each feature, by the type of message; for `runs`, those of each run in it."""


@cache
def left_out(kind: str, announced: Set[str]) -> dict[str, Any] | None:
    """Return which fields of a message of this type to exclude for a peer that announced these features; None if none.

    The form is that of pydantic's `exclude`.
    """
    names = {
        name: True for feature, fields in _FIELDS.items() if feature not in announced for name in fields.get(kind, ())
    }
    if not names:
        return None
    return {"runs": {"__all__": names}} if kind == "runs" else names


def known_features(announced: Set[str]) -> frozenset[str]:
    """Return the features that a peer has announced and that this version knows: for all connections with the same
    features the same object, because an idle connection shall take little memory."""
    return _shared(frozenset(feature for feature in FEATURES if feature in announced))


@lru_cache(maxsize=16)
def _shared(features: frozenset[str]) -> frozenset[str]:
    return features
