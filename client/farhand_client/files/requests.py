"""The arguments of `Client.put`, `Client.get` and `Client.sync`, checked: what a `Transfer` needs to begin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .movers import receiving, sending
from .options import is_pattern, transfer_options
from .places import OpenFile, Remote, local_destination, local_path, local_sources, remote_path, remote_paths
from .transfer import TransferPlan


def put_plan(sources: Any, destination: Any, keywords: Mapping[str, Any], *, sync: bool = False) -> TransferPlan:
    """Return the plan of a `put`. Raises TypeError and ValueError."""
    local = local_sources(sources, "sources")
    remote = remote_path(destination, "destination")
    options = transfer_options("put", (remote,), len(local) > 1, keywords, sync=sync)
    repeatable = not any(isinstance(source, OpenFile) for source in local)
    return TransferPlan(options, sending(local, os.fsencode(Path.cwd())), repeatable)


def get_plan(sources: Any, destination: Any, keywords: Mapping[str, Any], *, sync: bool = False) -> TransferPlan:
    """Return the plan of a `get`. Raises TypeError and ValueError."""
    remote = remote_paths(sources, "sources")
    local = local_destination(destination, "destination")
    several = len(remote) > 1 or any(map(is_pattern, remote))
    options = transfer_options("get", remote, several, keywords, sync=sync)
    return TransferPlan(options, receiving(local, os.fsencode(Path.cwd())), not isinstance(local, OpenFile))


def sync_plan(source: Any, destination: Any, keywords: Mapping[str, Any]) -> TransferPlan:
    """Return the plan of a `sync`. Raises TypeError and ValueError."""
    if isinstance(source, Remote) == isinstance(destination, Remote):
        raise ValueError("one of source and destination must be a Remote, and the other a path on this machine")
    if isinstance(source, Remote):
        return get_plan(source, local_path(destination, "destination"), keywords, sync=True)
    return put_plan(local_path(source, "source"), destination, keywords, sync=True)
