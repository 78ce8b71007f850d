"""A program starts where its user's worker has looked, and its user alone waits for what hangs."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_server.credentials import Credentials
from farhand_server.runs.process import place
from farhand_server.runs.process.place import LaunchError, look
from farhand_server.runs.process.process import Process
from farhand_server.worker.messages import NotAnswered, WorkerAnswer
from farhand_server.worker.workers import NoAnswer
from tests.support.processes import TIMEOUT
from tests.support.started_programs import nothing_left

NOBODY = Credentials("nobody", 65534, 65534, (65534,))
WHO = [
    pytest.param(None, id="the service"),
    pytest.param(NOBODY, id="another user", marks=pytest.mark.needs("root")),
]


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


async def output(*argv: bytes, cwd: bytes, who: Credentials | None, home: bytes = b"") -> bytes:
    """Return what a program prints."""
    reading, writing = os.pipe()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        process = await Process.start(
            argv,
            cwd=cwd,
            env={b"PATH": b"/usr/bin:/bin"},
            stdin=null,
            stdout=writing,
            stderr=null,
            credentials=who,
            home=home,
        )
    finally:
        os.close(writing)
        os.close(null)
    with open(reading, "rb") as file:  # noqa: PTH123  # a descriptor, not a path
        async with asyncio.timeout(TIMEOUT):
            assert await process.exited == 0
        process.close()
        return file.read()


ENTERS = """
import asyncio, os, sys
from farhand_server.credentials import Credentials
from farhand_server.runs.process.process import Process, prepare_loop
from farhand_server.worker.workers import current

async def main():
    prepare_loop()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    who = Credentials("nobody", 65534, 65534, (65534,)) if sys.argv[1:] else None
    show = (b"/bin/sh", b"-c", b"pwd -P; ls /proc/$$/fd; cat /proc/$$/environ")
    process = await Process.start(
        show, cwd=b"/proc/sys", env={b"A": b"B"}, stdin=null, stdout=1, stderr=2, credentials=who
    )
    assert await process.exited == 0
    process.close()
    await current().close()

asyncio.run(main())
"""


@pytest.mark.parametrize("user", [[], pytest.param(["nobody"], marks=pytest.mark.needs("root"))])
async def test_a_directory_that_may_hang_is_entered_by_the_program_which_inherits_nothing_of_it(
    user: list[str],
) -> None:
    # In a process of its own, because here others may have taken all descriptors with one digit.
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENTERS, *user, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(TIMEOUT):
        shown, _ = await service.communicate()
    assert (service.returncode, shown.split(b"\n", 4)) == (0, [b"/proc/sys", b"0", b"1", b"2", b"A=B\0"])


@pytest.mark.parametrize("who", WHO)
async def test_a_home_that_cannot_be_entered_is_replaced_by_the_root_directory(who: Credentials | None) -> None:
    shown = await output(b"/bin/sh", b"-c", b"pwd", cwd=b"/gone/etc", who=who, home=b"/gone")
    assert shown == b"/etc\n"


async def looked(cwd: bytes, *, judged: bool = False, who: Credentials | None = None) -> None:
    there = await look(b"true", search=b"/usr/bin:/bin", cwd=cwd, judged=judged, credentials=who, opened=True)
    there.close()


@pytest.mark.parametrize("who", WHO)
async def test_a_directory_must_still_be_the_one_that_the_policy_has_judged(who: Credentials | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(os.path.realpath(name))
        directory.chmod(0o755)
        (directory / "judged").mkdir()
        await looked(bytes(directory / "judged"), judged=True, who=who)
        (directory / "judged").rmdir()
        (directory / "judged").symlink_to("/")
        with pytest.raises(LaunchError, match="has become another one since the policy has judged it") as caught:
            await looked(bytes(directory / "judged"), judged=True, who=who)
        assert (caught.value.name, caught.value.what) == ("ESTALE", "directory")
        await looked(bytes(directory / "judged"), who=who)


@pytest.mark.parametrize(
    ("answer", "name", "sentence"),
    [
        (
            NoAnswer(errno.ETIMEDOUT, "a process of the user has not answered for 4 s"),
            "ETIMEDOUT",
            "cannot look at the program 'true' in '/proc': a process of the user has not answered for 4 s",
        ),
        ((NotAnswered(errno.EMFILE), None), "EMFILE", "cannot look at the program 'true': Too many open files"),
    ],
)
async def test_without_an_answer_the_program_does_not_start_and_the_reason_is_told(
    answer: NoAnswer | tuple[WorkerAnswer, None], name: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pool:
        async def ask(self, *_: object) -> tuple[WorkerAnswer, None]:
            if isinstance(answer, NoAnswer):
                raise answer
            return answer

    monkeypatch.setattr(place, "current", Pool)
    with pytest.raises(LaunchError) as caught:
        await looked(b"/proc")
    assert (caught.value.name, caught.value.what, str(caught.value)) == (name, "process", sentence)
