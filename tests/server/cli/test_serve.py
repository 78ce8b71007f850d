"""`farhandd serve` launches its edge before it loads the core, and a refused reload changes nothing."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.client import TIMEOUT
from tests.support.processes import children
from tests.support.service import Service, environment, running_service


async def reloaded(service: Service, pattern: str) -> None:
    """Reload and wait for a line of the log; a growing file has no event, so it is polled."""
    service.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(TIMEOUT):
        while not re.search(pattern, service.log):  # noqa: ASYNC110  # polled, as its docstring says
            await asyncio.sleep(0.002)


CORE = ["farhand_server.ledger", "farhand_server.service", "farhand_protocol.messages", "sqlite3", "re2"]

SLOW = [
    # core and edge load at the same time, each for a third of a second: the edge is launched before the core is loaded
    ("farhand_server.cli.commands", [*CORE, "asyncio", "pydantic", "ssl", "importlib.metadata"]),
    ("farhand_server.cli.serve", [*CORE, "cryptography", "uvloop", "importlib.metadata"]),
    ("farhand_server.cli.edge", [*CORE, "cryptography", "importlib.metadata"]),
    ("farhand_server.cli.core", ["cryptography", "uvloop", "importlib.metadata", "farhand_server.auth.login"]),
]
"""What `farhandd serve` imports before it is ready, and what that must not import: it is slow, and not needed yet."""


@pytest.mark.parametrize(("module", "slow"), SLOW, ids=[module for module, _ in SLOW])
def test_what_is_slow_is_imported_when_it_is_needed(module: str, slow: list[str]) -> None:
    script = f"import sys, {module}; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_a_core_that_cannot_start_leaves_no_edge(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        before = children(service.process.pid)
        command = ["serve", "--listen", "127.0.0.1:0", "--socket", str(tmp_path / "second")]
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "farhand_server", *command),
            env=environment(tmp_path),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        async with asyncio.timeout(TIMEOUT):
            said, errors = await second.communicate()  # returns once no edge holds them either
        assert (second.returncode, said) == (1, b"")
        assert b"another" in errors
        assert children(service.process.pid) == before


async def test_a_reload_refused_for_the_host_key_does_not_change_the_log(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        (tmp_path / "config/farhand/farhandd.toml").write_text('[log]\nlevel = "error"\nformat = "json"\n')
        key = tmp_path / "state/farhand/host_key.pub"
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_text("no key\n")
        await reloaded(
            service, r'level=error msg="reload refused; the old configuration is kept" reason="[^"]*not a public'
        )
        await service.stop()
    assert "level=info msg=draining" in service.log


async def test_a_reload_applies_the_new_log_settings(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        (tmp_path / "config/farhand/farhandd.toml").write_text('[log]\nformat = "json"\n')
        await reloaded(service, '"msg": "reloaded"')
        await service.stop()
    assert '"msg": "draining"' in service.log
