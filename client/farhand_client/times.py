"""The times in seconds that hold for both ways of running a command. Imports nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

CONNECT_TIMEOUT: Final = 30.0
"""Seconds allowed to connect and log in: enough to touch a security key; TCP gives up only after minutes (tcp(7))."""

KEEPALIVE_INTERVAL: Final = 15.0
"""Seconds of silence after which the service is pinged; after three such intervals without an answer the connection
counts as lost. Shorter than the shortest time for which firewalls are known to remember an idle connection (RFC 5382
requires 2 hours; a few minutes are seen)."""

STOP_MARGIN: Final = 10.0
"""Seconds for which a stop waits for the outcome after the grace period. The service needs far less to kill and reap:
if they are not enough, the service hangs, or the connection is lost permanently."""

COMMAND_KILL_AFTER: Final = 5.0
"""Seconds between TERM and KILL when a command is stopped that says nothing else."""

MAX_SIGNING_TIME: Final = 1.0
"""Seconds for a signature above which a person was probably asked for it (`ssh-add -c`). The helper makes no such
connection: no question must appear that nobody has caused."""
