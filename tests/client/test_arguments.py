"""Every mistake in a call is a TypeError or ValueError in one plain sentence, and the client works as before."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from farhand_client import Client, FarhandError, Run, connect
from farhand_client.arguments import (
    as_bytes,
    as_callback,
    as_choice,
    as_count,
    as_id_prefix,
    as_instance,
    as_pattern,
    as_run_id,
    as_seconds,
    as_str,
    shortened,
)
from farhand_client.options import SHELL_KEYWORDS, START_KEYWORDS
from farhand_protocol import messages as m
from tests.support.fake_runs import ID, printing
from tests.support.fake_service import client_of


class Odd:
    """Nothing that any argument may be."""


WRONG: list[Any] = [
    *(None, True, -1, 0, 7, 2**70, -(2**70), 10**400, 1.5, -0.5, float("nan"), float("inf")),
    *("", "x", "a\0b", "\ud800", "é", "x" * 70_000, b"x", b"\0"),
    *([], [None], [Odd()], ["a", b"\0"], (1, 2, 3), ("a", "b"), (2**70, 0)),
    *({}, {"A": None}, {1: "a"}, {"memory": "1"}, {"memory": -1}, {"cpu": float("nan")}),
    *(Odd(), Odd),
]

Call = Callable[[Any], Any]

untyped_connect: Any = connect


def calls(client: Client, run: Run, host: str) -> Iterator[tuple[str, Call]]:
    """Yield every argument of the API, and what passes a value for it, with all others right."""

    def each(method: Any, base: dict[str, Any], more: frozenset[str] = frozenset()) -> Iterator[tuple[str, Call]]:
        names = {*inspect.signature(method).parameters} - {"keywords"} | more
        for name in sorted(names):
            yield f"{method.__qualname__}({name}=…)", partial(_call, method, base, name)

    yield from each(client.run, {"args": ["x"]}, START_KEYWORDS - {"terminal", "record_input"})
    yield from each(client.start, {"args": ["x"]}, START_KEYWORDS)
    yield from each(client.shell, {"terminal": None}, SHELL_KEYWORDS)
    yield "run(shell=True)", lambda value: client.run(value, shell=True)
    yield from each(client.attach, {"run_id": ID})
    yield from each(client.signal, {"run_id": ID, "number": signal.SIGTERM})
    for method in (client.info, client.recording, client.stop, client.wait, client.wait_for):
        yield from each(method, {"run_id": ID})
    yield from each(client.runs, {})
    yield from each(run.wait_for, {})
    yield from each(run.send_signal, {})
    yield from each(run.resize, {"columns": 80, "rows": 24})
    yield from each(run.on_resize, {})
    yield "Run.output(offset=…)", lambda value: anext(run.output(value), None)
    yield "stdout.lines(limit=…)", lambda value: anext(aiter(run.stdout.lines(value)), None)
    yield "stdout.read(size=…)", run.stdout.read
    yield "Client.reconnect", lambda value: setattr(client, "reconnect", value)
    yield from each(connect, {"host": host})


def _call(method: Any, base: dict[str, Any], name: str, value: Any) -> Any:
    return method(**{**base, name: value})


async def mistake(call: Call, value: Any) -> Exception | None:
    """Return the TypeError or ValueError with which a call fails."""
    try:
        result = call(value)
        if hasattr(result, "__await__"):
            result = await asyncio.wait_for(result, 20)
        if isinstance(result, Run):
            result.detach()
        elif isinstance(result, Client):
            await result.close()
    except (FarhandError, OSError):
        return None
    except (ValueError, TypeError) as error:
        return error
    return None


UGLY = ("\n", "object is not", "not supported between", "attribute", "pydantic")


async def test_no_argument_fails_in_any_other_way(tmp_path: Path) -> None:
    failed = set()
    async with client_of(tmp_path, printing()) as (client, service):
        run = await client.start(["x"])
        await run.wait()
        for name, call in calls(client, run, service.host):
            for value in WRONG:
                try:
                    error = await mistake(call, value)
                except Exception as other:
                    other.add_note(f"{name} with {shortened(value)}")
                    raise
                failed.add(type(error))
                text = f"{name} with {shortened(value)}: {error}"
                assert not any(word in text for word in UGLY), text
                assert len(text) < 700, text
            client.reconnect = 0
            assert client.connected, name
        assert await client.ping() > 0
    assert failed == {ValueError, TypeError, type(None)}  # and no subclass, such as pydantic's


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda client: client.attach(ID, offset=2**70),
            ValueError,
            "offset is 11805.*; it must be at most",
        ),
        (lambda client: client.attach(ID, offset=(1, 2, 3)), ValueError, "offset has 3 values"),
        (lambda client: client.attach(ID, stdin=-1), ValueError, "stdin is -1; it must be 0 or more"),
        (lambda client: client.attach(ID, stdin=True, read_only=True), ValueError, "cannot feed stdin or hold"),
        (lambda client: client.attach(ID, share=True), ValueError, "it needs stdin and size"),
        (lambda client: client.attach(7), TypeError, "run_id is int; it must be the id of a run, as str"),
        (lambda client: client.attach("x" * 99), ValueError, "run_id has 99 characters; the id of a run has 36"),
        (lambda client: client.stop(ID, -1), ValueError, "kill_after is -1; it must be 0 to 316224000 seconds"),
        (lambda client: client.stop(ID, float("nan")), ValueError, "kill_after is nan"),
        (lambda client: client.signal(ID, "TERM"), TypeError, r"a number, such as signal\.SIGTERM"),
        (lambda client: client.wait_for(ID, "x", timeout=-3), ValueError, "timeout is -3"),
        (lambda client: client.wait_for(ID, "x", stream="log"), ValueError, "it must be 'stdout' or 'stderr'"),
        (lambda client: client.wait_for(ID, "x" * 70_000), ValueError, "pattern has 70000 bytes"),
        (lambda client: client.run(None), TypeError, r"args is None; .*for a login shell, use shell\(\)"),
        (lambda client: client.run(7), TypeError, "args is int; it must be the program and its arguments, in a list"),
        (lambda client: client.run({"a": 1}), TypeError, "args is dict"),
        (lambda client: client.run(["x"], env=["A=1"]), TypeError, "env is list; it must be a mapping, or None"),
        (lambda client: client.run(["x"], limits=5), TypeError, "limits is int; it must be a mapping or Bounds"),
        (lambda client: client.run(["x"], timeout="5"), TypeError, "timeout is str; it must be a number of seconds"),
        (lambda client: client.run(["x"], max_output=-1), ValueError, "max_output is -1"),
        (lambda client: client.run(["x"], on_gap=7), TypeError, "on_gap is int; it must be a function, or None"),
        (lambda client: client.run(["x\ud800"]), ValueError, r"args\[0\] contains a surrogate"),
        (
            lambda client: client.start(["x"], terminal="xterm"),
            TypeError,
            "terminal is str; it must be a Terminal",
        ),
        (lambda _: untyped_connect(7), TypeError, "host is int; it must be str"),
        (lambda client: connect("h", port=70_000), ValueError, "port is 70000; it must be 1 to 65535"),
        (lambda _: untyped_connect("h", timeout=None), TypeError, "timeout is None; it must be a number of seconds"),
        (lambda client: connect("h", timeout=float("nan")), ValueError, "timeout is nan; it must be more than 0"),
        (
            lambda client: connect("h", identities="~/.ssh/id"),
            TypeError,
            "identities is str; it must be a list",
        ),
    ],
)
async def test_a_mistake_is_named(
    tmp_path: Path, call: Callable[[Client], Any], error: type[Exception], sentence: str
) -> None:
    async with client_of(tmp_path) as (client, service):
        with pytest.raises(error, match=sentence):
            await call(client)
        assert (service.runs, service.questions) == ([], [])


async def test_an_environment_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, service):
        with pytest.raises(ValueError, match=r"the command cannot be sent: a run of .* bytes; the peer accepts"):
            await client.run(["x"], env={"A": "x" * 5_000_000})
        assert service.runs == []


def test_right_values_are_converted() -> None:
    assert as_bytes(Path("/é"), "cwd") == "/é".encode()
    assert (as_count(3, "size"), as_str("x", "host"), as_choice("a", "mode", ("a", "b"))) == (3, "x", "a")
    assert [as_seconds(value, "timeout", positive=True) for value in (3, 0.5, Decimal("1.5"), None)] == [
        3,
        0.5,
        1.5,
        None,
    ]
    assert as_seconds(0, "grace", positive=False) == 0
    assert (as_run_id(UUID(ID)), as_run_id(ID), as_id_prefix("01890")) == (ID, ID, "01890")
    assert (as_pattern("é"), as_pattern(b"\xff"), as_pattern("\udcff"), as_pattern(None)) == (
        "é".encode(),
        b"\xff",
        b"\xff",
        None,
    )
    size = m.WindowSize(columns=1, rows=1)
    assert (as_instance(size, "size", m.WindowSize), as_instance(None, "size", m.WindowSize)) == (size, None)
    as_callback(print, "watch")
    assert (shortened(10**5000), len(shortened("x" * 500))) == ("a number of 16610 bits", 80)
