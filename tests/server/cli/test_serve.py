"""`farhandd serve` warns at its start if descriptors are short, and a refused reload changes nothing."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
from pathlib import Path

import pytest

from farhand_server.admission.shares import CORE_DESCRIPTORS, RUN_DESCRIPTORS
from farhand_server.cli.serve import warn_if_few_descriptors
from farhand_server.config import load
from tests.support.client import TIMEOUT
from tests.support.history import LogFile
from tests.support.service import Service, running_service

TOO_FEW = r"level=warning .*too few descriptors for runs\.max_runs.* max_runs=10 fit=9 "


def descriptors(limit: int) -> tuple[str, ...]:
    """Return a command prefix that sets the soft limit on descriptors."""
    return ("sh", "-c", f'ulimit -S -n {limit}; exec "$@"', "sh")


async def reloaded(service: Service, pattern: str) -> None:
    """Reload and wait for a line of the log; a growing file has no event, so it is polled."""
    service.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(TIMEOUT):
        while not re.search(pattern, service.log):  # noqa: ASYNC110  # polled, as its docstring says
            await asyncio.sleep(0.002)


async def test_it_warns_if_max_runs_needs_more_descriptors_than_the_limit(tmp_path: Path) -> None:
    needed = 10 * RUN_DESCRIPTORS + CORE_DESCRIPTORS
    prefix = descriptors(needed - 1)
    async with running_service(tmp_path, config="[runs]\nmax_runs = 10\n", prefix=prefix) as service:
        await service.stop()
        assert re.search(f"{TOO_FEW}descriptors={needed - 1} needed={needed}", service.log)


@pytest.mark.parametrize("limit", [10 * RUN_DESCRIPTORS + CORE_DESCRIPTORS, resource.RLIM_INFINITY])
def test_it_does_not_warn_if_the_descriptors_suffice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    log = LogFile(tmp_path)
    config = load(environ={"HOME": str(tmp_path)}, uid=1000)
    config = config.model_copy(update={"runs": config.runs.model_copy(update={"max_runs": 10})})
    warn_if_few_descriptors(config, log.logger)
    assert str(log) == ""
    log.close()


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
