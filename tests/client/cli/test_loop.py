"""The event loop of a command: its result, and what nobody waits for."""

from __future__ import annotations

import asyncio
import errno
import threading

import pytest
import uvloop

from farhand_client.cli.loop import run_attended, run_loop


def test_a_command_at_a_terminal_runs_on_uvloop_and_has_its_exit_code() -> None:
    async def command() -> int:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        return 7

    assert run_attended(command()) == 7


def test_without_descriptors_for_a_loop_the_error_is_raised_and_nothing_else_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def command() -> int:
        raise AssertionError("is never run")

    def fail() -> asyncio.AbstractEventLoop:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(OSError, match="Too many open files"):
        run_loop(command(), fail)  # a coroutine that was never awaited would be a warning, which fails this test
    assert capsys.readouterr() == ("", "")


def test_an_error_for_which_nobody_waits_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    done = threading.Event()

    def fail() -> None:
        raise KeyError("of a callback")

    def fail_in_thread() -> None:
        done.set()
        raise KeyError("of a thread")

    async def command() -> int:
        asyncio.get_running_loop().call_soon(fail)
        asyncio.get_running_loop().call_exception_handler({"message": "a remark for developers"})
        await asyncio.sleep(0)
        thread = threading.Thread(target=fail_in_thread)
        thread.start()
        done.wait()
        thread.join()
        return 3

    assert run_loop(command()) == 3
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        "farhand: in the background: unexpected error KeyError: 'of a callback'",
        "farhand: in the background: unexpected error KeyError: 'of a thread'",
    ]
