"""The state of the shell behind a prompt: kept over an outage and an upgrade of the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.service import Service
from tests.support.tmux import Screen, at
from tests.support.unix_proxy import unix_proxy
from tests.support.upgrades import upgraded

pytestmark = [pytest.mark.needs("tmux"), pytest.mark.needs("bash")]


async def test_an_outage_and_an_upgrade_do_not_affect_the_state(
    screen: Screen, own: dict[str, str], service: Service, tmp_path: Path
) -> None:
    (tmp_path / "proxy").mkdir()
    async with unix_proxy(tmp_path / "proxy", service.socket) as proxy:
        await screen.open(proxy.host, own)
        await screen.answers("mkdir -p /tmp && cd /tmp; A=1; f() { echo f $A; }", "", at("/tmp"))
        await proxy.cut()
        await screen.shows(at("/tmp", " (connection lost)"))
        await proxy.restore()
        await screen.shows(at("/tmp"))
        await upgraded(service)
        await screen.shows(at("/tmp"))
        await screen.answers("f; A=2", "f 1\n", at("/tmp"))
        await screen.answers("f; pwd", "f 2\n/tmp\n", at("/tmp"))
        screen.type("exit 3", "Enter")
        await screen.shows("left with 3")
