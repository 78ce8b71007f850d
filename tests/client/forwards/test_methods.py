"""Calls that no service would accept fail at once, before anything is begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farhand_client import LocalForward, RemoteForward, RemoteSocksForward, SocksForward
from farhand_client.forwards.specs import parse_spec
from tests.support.fake_forward_worker import FakeWorkers, forwarding_client


async def test_impossible_arguments_are_errors_at_once(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client:
        untyped: Any = client
        calls: list[Callable[[], Any]] = [
            lambda: untyped.forward_local("web"),
            lambda: untyped.forward_remote("web", 80, path="/run/x"),
            lambda: untyped.forward_local("web", 80, watch=3),
            lambda: untyped.forward_remote("web", 80, watch=3),
            lambda: untyped.forward_socks(watch=3),
            lambda: untyped.forward(parse_spec("-D", "0"), watch=3),
            lambda: untyped.forward_socks(listen_host=3),
        ]
        for call in calls:
            with pytest.raises(TypeError):
                call()
        with pytest.raises(ValueError, match="limit"):
            await client.open_connection("web", 80, limit=0)
        with pytest.raises(TypeError, match="needs a host and a port"):
            await client.open_socket()
        with pytest.raises(ValueError, match="has 0 bytes"):
            await client.open_unix_connection("")
        assert workers.runs == []


@pytest.mark.parametrize(
    ("flag", "text", "kind"),
    [
        ("-L", "0:web:80", LocalForward),
        ("-R", "0:web:80", RemoteForward),
        ("-D", "0", SocksForward),
        ("-R", "0", RemoteSocksForward),
    ],
)
async def test_each_spec_has_its_kind_of_forward(tmp_path: Path, flag: Any, text: str, kind: type) -> None:
    async with (
        forwarding_client(tmp_path, FakeWorkers().behave) as client,
        client.forward(parse_spec(flag, text)) as forward,
    ):
        assert type(forward) is kind
        assert forward.port > 0
