"""Events that strangers can cause without end are logged now and then, with their number."""

from __future__ import annotations

from pathlib import Path

from farhand_server.throttle import LOG_INTERVAL, LogThrottle
from tests.support.history import LogFile


def test_log_lines_of_one_kind_are_limited_and_the_suppressed_ones_counted(tmp_path: Path) -> None:
    now = 100.0
    file = LogFile(tmp_path)
    throttle = LogThrottle(file.logger, lambda: now)
    for _ in range(3):
        throttle.warning("client refused", reason="too many connections", peer="192.0.2.1")
    throttle.warning("client refused", reason="the source has failed too often")
    now += LOG_INTERVAL
    throttle.warning("client refused", reason="too many connections", peer="192.0.2.2")
    lines = [line.partition('msg="client refused" ')[2] for line in str(file).splitlines()]
    assert lines == [
        'reason="too many connections" peer=192.0.2.1',
        'reason="the source has failed too often"',
        'reason="too many connections" peer=192.0.2.2 kept_back=2',
    ]
    file.close()
