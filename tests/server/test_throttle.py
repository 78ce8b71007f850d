"""Events that strangers and users can cause without end are logged now and then, with their number."""

from __future__ import annotations

from pathlib import Path

from farhand_server.throttle import BURST, LINES_PER_SECOND, LOG_INTERVAL, MAX_LINE_SHARES, LineShares, LogThrottle
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


def test_the_lines_of_one_user_are_limited_and_the_suppressed_ones_counted(tmp_path: Path) -> None:
    now = 100.0
    file = LogFile(tmp_path)
    shares = LineShares(lambda: now)
    for _ in range(BURST + 3):
        file.logger.limited(shares.of("user ada")).bind(user="ada").warning("run refused")
    file.logger.limited(shares.of("user bob")).info("login")
    now += 1 / LINES_PER_SECOND
    file.logger.limited(shares.of("user ada")).warning("run refused")
    lines = str(file).splitlines()
    assert len(lines) == BURST + 2
    assert lines[BURST].endswith("msg=login")
    assert lines[-1].endswith('msg="run refused" kept_back=3')
    file.close()


def test_the_user_who_has_not_connected_for_longest_is_forgotten() -> None:
    shares = LineShares(lambda: 100.0)
    first = shares.of("user 0")
    for number in range(1, MAX_LINE_SHARES):
        shares.of(f"user {number}")
    assert shares.of("user 0") is first
    shares.of("one more")
    assert shares.of("user 0") is first
    for number in range(MAX_LINE_SHARES):
        shares.of(f"another {number}")
    assert shares.of("user 0") is not first
