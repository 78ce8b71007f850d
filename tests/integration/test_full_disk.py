"""A full disk ends no shell: it may be the shell in which the problem is fixed."""

from __future__ import annotations

from pathlib import Path

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from tests.support.client import RawClient
from tests.support.service import running_service
from tests.support.terminals import answer, shell

BOUNDED = ("sh", "-c", 'ulimit -S -f 400; exec "$@"', "sh")
"""No file of the service grows beyond 200 KB, as if the disk were full then."""


async def test_a_shell_continues_when_its_recording_cannot(tmp_path: Path) -> None:
    async with running_service(tmp_path, prefix=BOUNDED) as own, RawClient.connect(own.socket) as client:
        run = await shell(client)
        await answer(run, "seq 100000", rb"\r\n99999\r\n100000\r\n")
        run.write(b"exit 5\r")
        ended = await run.last()
    assert isinstance(ended, m.Ended)
    assert ended.outcome == Exited(code=5)
