"""farhandd: the service that runs commands for clients and reports reliably how they ended.

`cli` reads the options and starts one of two processes. The core (`service`) owns the runs: `listen` accepts clients on
Unix sockets, `connection` implements the protocol for each client, `admission` decides whether a request is allowed
(using `auth` and `policy`), `worker` looks at users' files, `runs` executes it, and `ledger` records it in `history`
and `audit`. The edge (`edge`) faces the network: it terminates TLS and copies bytes to the core. `upgrade` replaces the
core's program while its runs continue. One frozen `config` configures everything; `logs`, `systemd`, `hostkey`,
`credentials`, `runtime`, `hangup`, `lingering`, `filewatch`, `acceptor`, `throttle` and `sharing`
are used throughout.
"""

__version__: str


def __getattr__(name: str) -> str:
    """Read `__version__` from the installed metadata when it is first needed."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    global __version__
    __version__ = version("farhand")
    return __version__
