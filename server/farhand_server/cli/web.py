"""`farhandd web`: runs the web door."""

from __future__ import annotations

import argparse

from farhand_server.web.process import web_setup

from .facing import FacingKind, run_facing

WEB_WORKERS = 1
"""Worker processes of the web door: one carries fifty pages and more, and is replaced if it hangs."""


def web(options: argparse.Namespace) -> int:
    """Serve until told to stop or, if started by `serve`, until the core has ended."""
    kind = FacingKind(
        "web",
        lambda config: config.web.listen,
        lambda config: web_setup(config, options.certificate, options.key),
        lambda config: WEB_WORKERS,
        "set web.listen in the configuration",
    )
    return run_facing(options, kind)
