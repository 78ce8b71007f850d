"""An object is used in the process and the event loop in which it was made; anywhere else an error says what to do."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from farhand_client import PIPE, Client, ConnectionLost, NotUsableHere, Run
from farhand_client import connect as connect_async
from farhand_client.home_loop import HomeLoop, call_back
from farhand_protocol import messages as m
from tests.support.fake_runs import ID, STOPPED
from tests.support.fake_service import FakeRun, client_of
from tests.support.serving import serving


async def stoppable(run: FakeRun) -> None:
    """Run until the client stops it."""
    run.started()
    await run.until(m.Stop)
    run.ended(STOPPED)


def test_a_home_accepts_its_own_loop_alone() -> None:
    async def make() -> HomeLoop:
        home = HomeLoop()
        home.check("it")
        asyncio.get_running_loop().call_soon(home.check, "it")
        await asyncio.sleep(0)
        return home

    async def check() -> None:
        home.check("it")

    with asyncio.Runner() as first:
        home = first.run(make())
        with (
            asyncio.Runner() as second,
            pytest.raises(NotUsableHere, match="made in another event loop; connect"),
        ):
            second.run(check())
        with pytest.raises(NotUsableHere, match=r"from another thread use asyncio\.run_coroutine_threadsafe"):
            home.check("it")
    with pytest.raises(NotUsableHere, match=r"closed by now: each asyncio\.run has a loop"):
        asyncio.run(check())
    with pytest.raises(NotUsableHere, match="closed by now"):
        home.check("it")
    assert not home.in_child


async def test_an_error_of_a_callback_is_reported_by_the_loop_and_goes_no_further() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    seen: list[int] = []
    call_back(seen.append, 3)
    call_back(lambda: 1 / 0)
    assert seen == [3]
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]


async def test_a_client_survives_what_its_callbacks_raise(tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with (
        client_of(tmp_path, stoppable, reconnect=60, watch=fail) as (client, service),
        client.start(["sleep"]) as run,
    ):
        run.on_going_away(fail)
        service.connections[0].send(m.GoingAway(grace=1.0))
        await client.ping()
        service.connections[0].cut()
        assert await client.ping() > 0
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError] * 3


def test_a_home_without_a_loop_accepts_none() -> None:
    home = HomeLoop()
    home.check("it")

    async def check() -> None:
        home.check("it")

    with pytest.raises(NotUsableHere, match="another event loop"):
        asyncio.run(check())


ASYNC_CALLS: dict[str, Callable[[Client, Run], Awaitable[Any]]] = {
    "run": lambda client, _: client.run(["true"]),
    "start": lambda client, _: client.start(["true"]),
    "shell": lambda client, _: client.shell(None),
    "attach": lambda client, _: client.attach(ID),
    "runs": lambda client, _: client.runs(),
    "info": lambda client, _: client.info(ID),
    "recording": lambda client, _: client.recording(ID),
    "signal": lambda client, _: client.signal(ID, 15),
    "stop": lambda client, _: client.stop(ID),
    "wait": lambda client, _: client.wait(ID),
    "wait_for": lambda client, _: client.wait_for(ID, "x"),
    "status": lambda client, _: client.status(),
    "ping": lambda client, _: client.ping(),
    "close": lambda client, _: client.close(),
    "Run.wait": lambda _, run: run.wait(),
    "Run.stop": lambda _, run: run.stop(),
    "Run.wait_for": lambda _, run: run.wait_for("x"),
    "Run.output": lambda _, run: anext(run.output()),
    "Run.__aexit__": lambda _, run: run.__aexit__(None, None, None),
    "stdin.drain": lambda _, run: stdin_of(run).drain(),
    "stdout.read": lambda _, run: run.stdout.read(),
    "stdout.read_ready": lambda _, run: run.stdout.read_ready(),
    "stdout.__anext__": lambda _, run: anext(run.stdout),
    "stdout.lines": lambda _, run: anext(aiter(run.stdout.lines())),
}
PLAIN_CALLS: dict[str, Callable[[Run], object]] = {
    "send_signal": lambda run: run.send_signal(15),
    "terminate": lambda run: run.terminate(),
    "kill": lambda run: run.kill(),
    "resize": lambda run: run.resize(80, 24),
    "detach": lambda run: run.detach(),
    "abandon": lambda run: run.abandon(),
    "stdin.write": lambda run: stdin_of(run).write(b"x"),
    "stdin.close": lambda run: stdin_of(run).close(),
    "stdout.discard": lambda run: run.stdout.discard(),
    "stdout.read_nowait": lambda run: run.stdout.read_nowait(),
}


def stdin_of(run: Run) -> Any:
    assert run.stdin is not None
    return run.stdin


def public_methods(kind: type) -> set[str]:
    return {name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}


def test_every_method_of_a_client_and_a_run_is_tried() -> None:
    tried = {name.partition(".")[2] or name for name in (*ASYNC_CALLS, *PLAIN_CALLS)}
    callbacks = {"on_resize", "on_going_away"}  # they only store a function
    constructors = {name for name in vars(Run) if isinstance(vars(Run)[name], classmethod)}
    assert public_methods(Client) <= tried
    assert public_methods(Run) - callbacks - constructors <= tried


async def use_elsewhere(tmp_path: Path, use: Callable[[Client, Run], None]) -> None:
    """Call `use` in another thread, while the loop of the client turns."""
    async with client_of(tmp_path, stoppable) as (client, _), client.start(["cat"], stdin=PIPE) as run:
        await asyncio.wait_for(asyncio.to_thread(use, client, run), 30)
        assert await client.ping() > 0  # the client itself is as before


async def test_another_event_loop_is_refused_at_once(tmp_path: Path) -> None:
    def use(client: Client, run: Run) -> None:
        async def call(function: Callable[[Client, Run], Awaitable[Any]]) -> None:
            with pytest.raises(NotUsableHere, match="made in another event loop"):
                await asyncio.wait_for(function(client, run), 10)

        for function in ASYNC_CALLS.values():
            asyncio.run(call(function))

    await use_elsewhere(tmp_path, use)


async def test_another_thread_is_refused_at_once(tmp_path: Path) -> None:
    def use(client: Client, run: Run) -> None:
        for function in PLAIN_CALLS.values():
            with pytest.raises(NotUsableHere, match="called outside its event loop: from another thread"):
                function(run)

    await use_elsewhere(tmp_path, use)


def test_a_second_asyncio_run_is_refused_at_once(tmp_path: Path) -> None:
    async def open_client(host: str) -> tuple[Client, Run]:
        client = await connect_async(host)
        return client, await client.start(["sleep"], stdin=PIPE)

    async def use(client: Client, run: Run) -> None:
        for function in ASYNC_CALLS.values():
            with pytest.raises(NotUsableHere, match=r"closed by now: each asyncio\.run has a loop of its own"):
                await asyncio.wait_for(function(client, run), 10)

    with serving(tmp_path, stoppable) as service:
        client, run = asyncio.run(open_client(service.host))
        asyncio.run(use(client, run))
        for function in PLAIN_CALLS.values():
            with pytest.raises(NotUsableHere, match="closed by now"):
                function(run)
        with pytest.raises(NotUsableHere, match="closed by now"):
            asyncio.run(client.close())
        with warnings.catch_warnings(action="ignore"):  # asyncio says that the transport was left open, which it was
            del client, run
            gc.collect()


async def test_nothing_hangs_after_close(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, _):
        run = await client.start(["sleep"], stdin=PIPE)
        await client.close()
        refused = set()
        for name, function in ASYNC_CALLS.items():
            results: Any = await asyncio.gather(asyncio.wait_for(function(client, run), 10), return_exceptions=True)
            assert not isinstance(results[0], TimeoutError), name
            if isinstance(results[0], ConnectionLost):
                refused.add(name)
        assert {"run", "start", "shell", "attach", "runs", "signal", "ping", "Run.wait", "Run.output"} <= refused
