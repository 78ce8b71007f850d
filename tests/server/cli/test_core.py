"""The core warns at its start if descriptors are short, or if what faces browsers runs as root."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

from farhand_server.admission.shares import CORE_DESCRIPTORS, RUN_DESCRIPTORS
from farhand_server.cli.core import warn_if_few_descriptors, web_warning
from farhand_server.config import load
from tests.support.history import LogFile
from tests.support.service import running_service

TOO_FEW = r"level=warning .*too few descriptors for runs\.max_runs.* max_runs=10 fit=9 "


def descriptors(limit: int) -> tuple[str, ...]:
    """Return a command prefix that sets the soft limit on descriptors."""
    return ("sh", "-c", f'ulimit -S -n {limit}; exec "$@"', "sh")


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


def test_it_warns_if_the_process_that_faces_browsers_runs_as_root(tmp_path: Path) -> None:
    def warning(uid: int, listen: str) -> str | None:
        file = tmp_path / "farhandd.toml"
        file.write_text(f'[web]\nlisten = [{listen}]\norigin = "http://localhost:7443"\n')
        return web_warning(load(file, environ={"HOME": str(tmp_path)}, uid=uid), uid)

    assert "remove web.listen, and enable farhand-web.socket" in (warning(0, '"127.0.0.1:7443"') or "")
    assert warning(0, "") is None
    assert warning(1000, '"127.0.0.1:7443"') is None
