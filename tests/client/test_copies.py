"""Errors and results survive pickle and deepcopy whole; what belongs to a connection refuses both, and says why."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel

import farhand_client
from farhand_client import (
    AppliedBounds,
    Begun,
    Bounds,
    CarrierFailed,
    Chunk,
    Client,
    CommandError,
    CommandTimeout,
    Completed,
    Exited,
    FarhandError,
    Finished,
    Forward,
    ForwardedConnection,
    ForwardError,
    ForwardEvent,
    Found,
    FoundAll,
    Gap,
    Killed,
    LocalForward,
    Lost,
    Matched,
    Moved,
    Outage,
    OutputIncomplete,
    OutputMark,
    Placed,
    Remote,
    RemoteForward,
    RemoteSocksForward,
    Removed,
    RequestRefused,
    Result,
    Run,
    RunInfo,
    RunOptions,
    RunWithStdin,
    Signaled,
    Skipped,
    SocksForward,
    SpawnError,
    SpawnFailed,
    TerminalRequest,
    TimedOut,
    Transfer,
    Transferred,
    Trouble,
    UsageReport,
    WindowSize,
    sync,
)
from farhand_client.connection.attempts import ConnectionDropped
from farhand_client.errors import AmbiguousId, ConnectionLost, HostKeyError, RunGoesOn, TransferError
from farhand_client.output import OutputStream
from farhand_client.stdin import InputStream
from farhand_client.sync_forwards import SyncForward
from farhand_protocol.errors import ErrorCode
from farhand_protocol.left import LeftProcesses
from farhand_protocol.messages import ClientInfo, LoopHolds, ServiceStatus, ShareInfo
from farhand_protocol.sshformat import PublicKey
from tests.support.fake_runs import ID, stoppable
from tests.support.fake_service import FakeRun, client_of
from tests.support.serving import serving

FAILED = SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no nosuch")
KEY = PublicKey("ssh-ed25519", b"blob", b"point")
LEFT = LeftProcesses(count=1, names=("sleep",), stopped=True)
RESULT = Result(
    Exited(code=3), ID, 0.5, 3, 0, False, UsageReport(user=1, system=0.5), AppliedBounds(memory="cgroup"), LEFT
)
COMPLETED: Completed = Completed(["sh", b"\xff"], RESULT, b"out", b"err", truncated=True)
LOST = ConnectionLost("the connection was lost", run_id=ID)
LOST.__cause__ = HostKeyError("the key has changed", name="web", key=KEY)

TRANSFERRED = Transferred(
    files=1, bytes=3, failed=1, digests={b"\xff": "af13"}, errors=(Trouble(b"a", 13, "no", True),)
)

VALUES: list[Any] = [
    Begun(b"a", 3, 0),
    Finished(b"a", 3, 3, 0, bytes(32)),
    Found(b"a", 0, 3),
    FoundAll(1, 3),
    Moved(b"a", 3, 3),
    Placed(b"a", 1, 2),
    Remote("/srv"),
    Removed(b"a"),
    Skipped(b"a", 3),
    TRANSFERRED,
    Trouble(b"a", 13, "permission denied", False),
    AppliedBounds(memory="cgroup"),
    LEFT,
    Bounds(memory=1 << 20, cpu=1.5),
    Chunk("stdout", 3, b"\xff"),
    ClientInfo(user="ann"),
    COMPLETED,
    Completed("true", RESULT, "out", None, truncated=False),
    ErrorCode.DENIED,
    Exited(code=3),
    Gap("stderr", 0, 7),
    KEY,
    Killed(reason="memory", signal=9),
    Lost(),
    Matched(reason="pattern", start=1, end=2),
    Outage(LOST, 3.5),
    OutputMark(at=5, stdout=1, stderr=2),
    RESULT,
    RunOptions.of(env={"A": "1"}, cwd="/srv", timeout=3, limits={"memory": 1 << 20}),
    RunInfo(id=ID, owner="ann", command="true", began=1.5, duration=2.0, stdout=0, stderr=0, outcome=Lost()),
    Signaled(signal=9),
    FAILED,
    TerminalRequest(name="xterm", size=WindowSize(columns=80, rows=24)),
    TimedOut(timeout=2.0, signal=15),
    LoopHolds(times=2, longest=0.1, total=0.15),
    ServiceStatus(pid=7, uptime=0.5, runs=1, connections=2, faults=("the disk is full",)),
    ShareInfo(user="ada", resource="runs", used=3, limit=640),
    UsageReport(user=1, system=0.5, peak_memory=4096),
    WindowSize(columns=80, rows=24),
]

MADE: dict[type, Callable[[type[Any]], Exception]] = {
    AmbiguousId: lambda kind: kind("several", candidates=("01", "02")),
    CarrierFailed: lambda kind: kind("ssh has ended", code=255, output="no route to host"),
    CommandError: lambda kind: kind(COMPLETED),
    CommandTimeout: lambda kind: kind(COMPLETED, 2.0),
    ConnectionDropped: lambda kind: kind("dropped", attempts=3),
    ConnectionLost: lambda kind: LOST,
    HostKeyError: lambda kind: kind("no", name="[web]:7022", key=KEY),
    OutputIncomplete: lambda kind: kind("gap", run_id=ID, outcome=Exited(code=0)),
    RequestRefused: lambda kind: kind(ErrorCode.DENIED, "no", run_id=ID),
    RunGoesOn: lambda kind: kind("it goes on", run_id=ID),
    SpawnError: lambda kind: kind(FAILED, run_id=ID),
    TransferError: lambda kind: kind("a disk is full", transferred=TRANSFERRED),
    ForwardError: lambda kind: kind("refused", "nothing listens there"),
    FarhandError: lambda kind: kind("a sentence"),
}
"""How an error of a class is made, if it is not made like its base."""

OF_A_CONNECTION = {Client, InputStream, OutputStream, Run, RunWithStdin, Transfer} | {
    Forward,
    ForwardEvent,
    ForwardedConnection,
    LocalForward,
    RemoteForward,
    RemoteSocksForward,
    SocksForward,
    sync.SyncClient,
    SyncForward,
    sync.SyncInputStream,
    sync.SyncOutputStream,
    sync.SyncRun,
    sync.SyncRunWithStdin,
}


def errors() -> Iterator[type[FarhandError]]:
    """Yield every class of errors of the client, also of its commands."""
    for module in pkgutil.walk_packages(farhand_client.__path__, "farhand_client."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: list[type[FarhandError]] = [FarhandError]
    for kind in found:
        yield kind
        found += kind.__subclasses__()


def made(kind: type[FarhandError]) -> Exception:
    maker = next(maker for base in kind.__mro__ if (maker := MADE.get(base)) is not None)
    error = maker(kind)
    error.add_note("a note")
    return error


def used_types(kind: Any) -> Iterator[type]:
    """Yield the classes that the fields of `kind` may have, and their fields."""
    if isinstance(kind, type) and not get_args(kind):
        if is_dataclass(kind) or issubclass(kind, BaseModel | Enum) or hasattr(kind, "_fields"):
            yield kind
            for hint in get_type_hints(kind).values():
                yield from used_types(hint)
    else:
        for argument in get_args(kind):
            yield from used_types(argument)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, or two objects without equality have equal attributes."""
    if isinstance(one, BaseException | subprocess.CompletedProcess):
        return (
            type(one) is type(other)
            and str(one) == str(other)
            and same(one.args, other.args)
            and one.__dict__.keys() == other.__dict__.keys()
            and all(same(value, other.__dict__[name]) for name, value in one.__dict__.items())
            and same(getattr(one, "__cause__", None), getattr(other, "__cause__", None))
        )
    if isinstance(one, tuple) and isinstance(other, tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def copies(value: Any) -> Iterator[Any]:
    for version in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(value, version))
    yield copy.deepcopy(value)
    yield copy.copy(value)


def test_every_error_survives() -> None:
    for kind in errors():
        error = made(kind)
        assert all(same(each, error) for each in copies(error)), vars(error)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_value_survives(value: Any) -> None:
    assert all(same(each, value) for each in copies(value))


def test_no_value_is_forgotten() -> None:
    public = {getattr(module, name) for module in (farhand_client, sync) for name in module.__all__}
    classes = {each for each in public if isinstance(each, type)} | {type(farhand_client.Outcome)} - {type(Any)}
    classes = {each for each in classes if each.__module__.startswith("farhand")}
    reached = {used for each in classes for used in used_types(each)}
    tested = {type(value) for value in VALUES} | set(errors()) | OF_A_CONNECTION
    assert (classes | reached) - tested == set()


def test_options_are_as_immutable_as_before() -> None:
    again = pickle.loads(pickle.dumps(RunOptions.of(env={"A": "1"})))
    assert isinstance(again.env, MappingProxyType)
    assert [each.name for each in fields(again)] == [each.name for each in fields(RunOptions)]


async def test_what_belongs_to_a_connection_says_what_to_do(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, _):
        starting = client.start(["cat"], stdin=farhand_client.PIPE)
        transfer = client.put("a", "b")
        refusing: list[Any] = [client, starting, transfer]
        async with starting as run:
            refusing += [run, run.stdin, run.stdout, run.stderr]
            for each in refusing:
                for refused in (pickle.dumps, copy.copy, copy.deepcopy):
                    with pytest.raises(TypeError, match=r"cannot be pickled or copied: .* connect where they arrive"):
                        refused(each)
        transfer.close()


def test_the_blocking_objects_say_so_too(tmp_path: Path) -> None:
    with (
        serving(tmp_path, stoppable) as service,
        sync.connect(service.host) as client,
        client.start(["cat"], stdin=sync.PIPE) as run,
    ):
        objects: list[Any] = [client, run, run.stdin, run.stdout]
        assert {type(each) for each in objects} <= OF_A_CONNECTION
        for each in objects:
            with pytest.raises(TypeError, match=r"cannot be pickled or copied"):
                pickle.dumps(each)


WORKERS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import farhand_client.sync as farhand

def job(program):
    with farhand.connect(sys.argv[1]) as client:
        return client.run([program], check=True)

def show(call):
    try:
        print(call().stdout)
    except farhand.FarhandError as error:
        print(type(error).__name__, error, error.run_id is not None)

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(1) as pool:
            for program in ("nosuch", "fails", "works"):
                show(lambda: pool.map(job, [program])[0])
    with ProcessPoolExecutor(1) as pool:
        for program in ("nosuch", "fails", "works"):
            show(lambda: pool.submit(job, program).result())
"""


async def program(run: FakeRun) -> None:
    """Behave as the program's name says."""
    assert run.request.argv is not None
    match run.request.argv[0]:
        case b"nosuch":
            run.ended(FAILED)
        case b"fails":
            run.started()
            run.ended(Exited(code=3))
        case _:
            run.started()
            await run.write("stdout", b"fine")
            run.ended()


def test_what_a_worker_raises_or_returns_arrives_in_the_parent(tmp_path: Path) -> None:
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    with serving(tmp_path, program) as service:
        done = subprocess.run(
            [sys.executable, script, service.host], capture_output=True, text=True, timeout=60, check=False
        )
    once = "SpawnError there is no nosuch True\nCommandError the command ['fails'] exited with code 3 True\nb'fine'\n"
    assert (done.stdout, done.stderr) == (once * 4, "")
