"""`farhand ping` and `farhand trust`."""

from __future__ import annotations

from tests.support.command import farhand
from tests.support.fake_service import FakeService


async def test_ping_prints_who_answers_and_the_times(service: FakeService) -> None:
    done = await farhand("ping", "-c", "2", service.host)
    assert done.code == 0
    first, second, *times, summary = done.stdout.decode().splitlines()
    assert first == f"{service.host}: ann on fake"
    assert second == "fake/1, protocol 1, features: none"
    assert [line.split()[:2] for line in times] == [["round", "trip"]] * 2
    assert summary.startswith("min ")
