"""Under any parent, the programs work, stop on SIGTERM, and start their children with clean signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from tests.support.client import TIMEOUT, RawClient
from tests.support.parents import ALL_STATEMENTS, ORDINARY_USER, PARENTS, give_to_user, parent
from tests.support.processes import end_of, fields, session_is_gone, signal_set, status
from tests.support.service import Service, environment, running_service
from tests.support.upgrades import edge_of
from tests.support.warm import FARHAND

PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}


@dataclass(frozen=True)
class Start:
    """How a program is started. With `as_user`, its files have to belong to the ordinary user."""

    statements: str
    as_user: bool = False

    @property
    def prefix(self) -> tuple[str, ...]:
        return (*(ORDINARY_USER if self.as_user else ()), *parent(self.statements))

    def prepare(self, directory: Path) -> None:
        (directory / "run").mkdir(mode=0o700, exist_ok=True)
        if self.as_user:
            give_to_user(directory)
            for above in (directory, *directory.parents):
                if above.stat().st_mode & 0o711 != 0o711 and above.owner() == "root":
                    above.chmod(above.stat().st_mode | 0o711)


@pytest.fixture(
    params=[
        pytest.param("everything"),
        pytest.param("ordinary_user", marks=[pytest.mark.needs("root", "setpriv")]),
        *(pytest.param(name, marks=pytest.mark.long) for name in PARENTS),
    ]
)
def start(request: pytest.FixtureRequest) -> Start:
    return Start(PARENTS.get(request.param, ALL_STATEMENTS), as_user=request.param == "ordinary_user")


def assert_clean(found: Mapping[str, str], ignored: Set[int] = frozenset()) -> None:
    """Check that the signals of a process are those of a fresh login; a Python process ignores two itself."""
    assert signal_set(dict(found), "SigBlk") == set()
    assert signal_set(dict(found), "SigIgn") == ignored


async def test_the_service_works_and_stops_and_its_runs_and_edge_have_clean_signals(
    tmp_path: Path, start: Start
) -> None:
    start.prepare(tmp_path)
    async with (
        running_service(tmp_path, listen=True, prefix=start.prefix) as service,
        RawClient.connect(service.socket) as client,
    ):
        _, run = await client.run("cat", "/proc/self/status")
        assert_clean(fields(run.stdout.decode()))
        assert_clean(status(service.process.pid), PYTHON_IGNORES)
        assert_clean(status(edge_of(service)), PYTHON_IGNORES)
        assert service.socket.stat().st_mode & 0o777 == 0o666
        running = client.start("sleep", "60")
        pid = await running.started()
        service.process.send_signal(signal.SIGTERM)
        await client.wait_for_message(m.GoingAway)  # two signals at once may arrive as one
        service.process.send_signal(signal.SIGTERM)  # the second signal ends the grace period of the run
        assert await asyncio.wait_for(service.process.wait(), TIMEOUT) == 0
        await end_of(pid)


@pytest.fixture
async def service(core: Service, tmp_path: Path, start: Start) -> AsyncIterator[Service]:
    """A service that accepts the client: the shared one, or one of the ordinary user's own."""
    start.prepare(tmp_path)
    if not start.as_user:
        yield core
        return
    async with running_service(tmp_path, prefix=ORDINARY_USER) as running:
        yield running


async def test_a_command_works_and_stops_and_its_run_has_clean_signals(
    service: Service, tmp_path: Path, start: Start
) -> None:
    script = "cat /proc/self/status; echo up; exec sleep 60"
    process = await asyncio.create_subprocess_exec(
        *start.prefix,
        *(*FARHAND, "run", service.host, "--", "sh", "-c", script),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=environment(tmp_path),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT):
            found = fields((await process.stdout.readuntil(b"up\n")).decode())
            assert_clean(found)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 128 + signal.SIGTERM
            await session_is_gone(int(found["Pid"]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_private_service_and_its_runs_stop_and_have_clean_signals(tmp_path: Path, start: Start) -> None:
    start.prepare(tmp_path)
    # Until the service goes on after vfork(2), it still blocks all signals, as the C library does meanwhile.
    blocked = "n=0; while [ $((n += 1)) -lt 100 ] && ! grep -q '^SigBlk:.0*$' /proc/$PPID/status; do sleep 0.1; done"
    script = f"cat /proc/self/status; echo up; {blocked}; cat /proc/$PPID/status; echo service; exec sleep 60"
    process = await asyncio.create_subprocess_exec(
        *start.prefix,
        *(*FARHAND, "local", "--", "sh", "-c", script),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=environment(tmp_path) | {"TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT):
            found = fields((await process.stdout.readuntil(b"up\n")).decode())
            assert_clean(found)
            service = fields((await process.stdout.readuntil(b"service\n")).decode())
            assert_clean(service, PYTHON_IGNORES)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 128 + signal.SIGTERM
        await session_is_gone(int(found["Pid"]))
        await end_of(int(service["Pid"]))
        assert not list(tmp_path.glob("farhand-*"))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


NOHUP = ("nohup",)
BACKGROUND = parent("signal.signal(signal.SIGINT, signal.SIG_IGN)")
"""As after a script's `&`."""


@pytest.mark.parametrize(
    ("prefix", "number", "survives"),
    [
        pytest.param(NOHUP, signal.SIGHUP, True, id="hangup under nohup"),
        pytest.param((), signal.SIGHUP, False, id="hangup"),
        pytest.param(BACKGROUND, signal.SIGINT, True, id="interrupt in the background"),
        pytest.param((), signal.SIGINT, False, id="interrupt"),
    ],
)
async def test_a_command_keeps_ignoring_signals_that_it_was_started_with_ignored(
    core: Service, prefix: tuple[str, ...], number: signal.Signals, survives: bool
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*prefix, *FARHAND, "run", "-i", core.host, "--", "sh", "-c", "echo up; read -r x; echo $x"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=core.environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT):
        assert await process.stdout.readline() == b"up\n"
        process.send_signal(number)
        if survives:
            process.stdin.write(b"went on\n")
        output, _ = await process.communicate()
    assert (process.returncode, output) == ((0, b"went on\n") if survives else (128 + number, b""))
