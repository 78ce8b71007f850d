"""`farhandd edge`: runs an edge."""

from __future__ import annotations

import argparse

from farhand_server.config import ServiceConfig
from farhand_server.edge.process import FacingSetup
from farhand_server.edge.tls import server_context
from farhand_server.hostkey import PRIVATE_KEY_FILE, load_host_key

from .facing import FacingKind, run_facing


def edge(options: argparse.Namespace) -> int:
    """Serve until told to stop or, if started by `serve`, until the core has ended."""

    def setup(config: ServiceConfig) -> FacingSetup:
        key = load_host_key(options.key or config.state_dir / PRIVATE_KEY_FILE)
        return FacingSetup(config.edge, server_context(key))

    kind = FacingKind(
        "edge",
        lambda config: config.listen,
        setup,
        lambda config: config.edge.processes,
        "give --listen HOST:PORT or set listen in the configuration",
    )
    return run_facing(options, kind)
