"""The keeper of a shell's state: a real one, behind a fake service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client.options import RunOptions
from farhand_client.repl import shell_code
from farhand_client.repl.hosts import ReplHost
from farhand_client.repl.state_keeper import KeeperFailed, StateKeeper, StateReport
from farhand_protocol.features import PRELUDE
from tests.support.fake_service import FakeService

pytestmark = pytest.mark.needs("bash")


@pytest.fixture
def bash(service: FakeService) -> FakeService:
    """The service, whose account has bash."""
    service.features = (PRELUDE,)
    service.shell = b"/bin/bash"
    return service


async def started(host: ReplHost, home: Path, *, interactive: bool = False) -> tuple[StateKeeper, StateReport]:
    client = await host.connection.connect()
    options = RunOptions.of(env={"TMPDIR": str(home), "XDG_RUNTIME_DIR": ""}, kill_after=1)
    return await StateKeeper.start(client, options, interactive=interactive)


async def run(host: ReplHost, keeper: StateKeeper, line: bytes) -> tuple[bytes, StateReport | None]:
    number, prelude = keeper.prelude(line, 0)
    client = await host.connection.connect()
    async with client.start(line, RunOptions.of(shell=True, prelude=prelude)) as run:
        printed = await run.stdout.read()
        await run.wait()
    return printed, await keeper.report(number)


async def test_the_state_is_kept_until_the_keeper_is_closed(host: ReplHost, bash: FakeService, home: Path) -> None:
    keeper, first = await started(host, home)
    assert (keeper.kind, first.directory, first.how) == ("bash", bytes(home), "start")
    _, report = await run(host, keeper, b"cd /; X=1; export Y=2")
    assert report is not None
    assert report.environment is not None
    assert (report.directory, report.environment[b"Y"]) == (b"/", b"2")
    printed, report = await run(host, keeper, b"echo $X $Y")
    assert (printed, report and report.environment) == (b"1 2\n", None)
    assert Path(keeper.path.decode()).is_dir()
    await keeper.close()
    assert not Path(keeper.path.decode()).exists()


async def test_a_line_that_cannot_report_changes_nothing(host: ReplHost, bash: FakeService, home: Path) -> None:
    keeper, _ = await started(host, home)
    await run(host, keeper, b"X=1")
    assert (await run(host, keeper, b"X=2; kill -KILL $$"))[1] is None
    unchanged = [keeper.unchanged]
    assert (await run(host, keeper, b"ls /"))[1] is None
    assert [*unchanged, keeper.unchanged] == [False, True]
    assert (await run(host, keeper, b"echo $X; true"))[0] == b"1\n"
    await keeper.close()


async def test_variables_are_set_to_any_value(host: ReplHost, bash: FakeService, home: Path) -> None:
    keeper, _ = await started(host, home)
    await run(host, keeper, keeper.assignments([(b"A", b"it's $x\n\xff"), (b"LANG", None)]))
    assert (await run(host, keeper, b'printf %s "$A" "${LANG-none}"; :'))[0] == b"it's $x\n\xffnone"
    await keeper.close()


async def test_a_job_has_read_the_state_before_it_is_removed(host: ReplHost, bash: FakeService, home: Path) -> None:
    keeper, _ = await started(host, home)
    await run(host, keeper, b"X=1")
    line = b"echo $X"
    prelude = keeper.job_prelude(line, 0)
    client = await host.connection.connect()
    async with client.start(line, RunOptions.of(shell=True, prelude=prelude)) as job:
        await keeper.close()
        assert await job.stdout.read() == b"1\n"


async def test_a_job_that_is_slow_to_begin_finds_its_state_after_later_lines(
    host: ReplHost, bash: FakeService, home: Path
) -> None:
    keeper, _ = await started(host, home)
    await run(host, keeper, b"X=1; :")
    line = b"echo $X; true"
    prelude = keeper.job_prelude(line, 0)
    await run(host, keeper, b"X=2; :")
    await run(host, keeper, b"X=3; :")
    client = await host.connection.connect()
    async with client.start(line, RunOptions.of(shell=True, prelude=prelude)) as job:
        assert await job.stdout.read() == b"1\n"
    await keeper.close()


async def test_a_state_that_was_removed_is_reported(host: ReplHost, bash: FakeService, home: Path) -> None:
    keeper, _ = await started(host, home)
    _, report = await run(host, keeper, b"X=1")
    assert report is not None
    for file in Path(keeper.path.decode()).iterdir():
        file.unlink()
    with pytest.raises(KeeperFailed, match="the directory with its state was removed"):
        await run(host, keeper, b"echo $X")
    await keeper.close()


async def test_an_older_service_keeps_no_state(host: ReplHost, bash: FakeService, home: Path) -> None:
    bash.features = ()
    with pytest.raises(KeeperFailed, match="its service is older"):
        await started(host, home)
    assert bash.runs == []


@pytest.mark.parametrize(("shell", "reason"), [(b"/bin/tcsh", "its shell is none of bash"), (b"/bin/false", "none of")])
async def test_other_shells_keep_no_state(
    host: ReplHost, bash: FakeService, home: Path, shell: bytes, reason: str
) -> None:
    bash.shell = shell
    with pytest.raises(KeeperFailed, match=reason):
        await started(host, home)


async def test_startup_files_that_hang_are_done_without(
    host: ReplHost, bash: FakeService, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.repl.state_keeper.STARTUP_TIMEOUT", 0.2)
    (home / ".bashrc").write_text("X=1; read -r _ < <(sleep 1000)\n")
    async with asyncio.timeout(20):
        keeper, _ = await started(host, home, interactive=True)
    assert keeper.base == 1
    await keeper.close()


@pytest.mark.parametrize("data", [b"", b"end\0-\0/"])
def test_anything_but_a_report_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="unpack"):
        StateReport.parse(data)


@pytest.mark.parametrize(
    "printed", ["shell 0\\0bash\\0/x\\0\\0started 1\\0what\\0\\0", "\\377 x\\0\\0", "shell 99999999999\\0\\0"]
)
async def test_a_host_that_prints_something_else_keeps_no_state(
    host: ReplHost, bash: FakeService, home: Path, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    monkeypatch.setattr(shell_code, "keeper_script", lambda *, interactive: f"printf '{printed}'; exit".encode())
    with pytest.raises(KeeperFailed):
        await started(host, home)
