"""farhandd: the service that runs commands for clients and reports reliably how they ended.

`cli` reads the options and starts one of two processes. The core (`service`) owns the runs: `listen` accepts clients on
Unix sockets, `connection` implements the protocol for each client, `admission` decides whether a request is allowed
(using `auth` and `policy`), `worker` looks at users' files, `files` transfers them, `forwards` forwards connections
(both are `programs` of the service's own), `runs` executes it, and `ledger` records it in `history` and `audit`. The
edge (`edge`) faces the network: it terminates TLS and copies bytes to the core. `upgrade` replaces the core's program
while its runs continue. One frozen `config` configures everything; `logs`, `systemd`, `hostkey`, `credentials`,
`runtime`, `hangup`, `lingering`, `filewatch`, `acceptor`, `throttle` and `sharing` are used throughout.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__version__: Final = "0.1.0"
"""A constant: reading it from the installed metadata would take the service 20 ms of each start."""
