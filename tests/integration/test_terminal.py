"""A program on a terminal finds it as a person's own would be: its size, its modes, its keys, its signals."""

from __future__ import annotations

import os
import re
from typing import Any

from farhand_protocol import messages as m
from farhand_protocol.limits import TERMINAL_WINDOW
from farhand_protocol.outcome import Exited, Signaled
from tests.support.client import RawClient, RemoteRun

ALL_BYTES = bytes(range(256))


def terminal(columns: int = 80, rows: int = 24, *modes: tuple[str, int], name: str = "xterm-256color") -> m.Terminal:
    return m.Terminal.model_validate({"name": name, "size": {"columns": columns, "rows": rows}, "modes": modes})


def on_terminal(client: RawClient, *argv: str, shown: m.Terminal | None = None, **fields: Any) -> RemoteRun:
    """Start a command on a terminal, as a client for people would."""
    given: dict[str, Any] = {
        "terminal": shown or terminal(),
        "stdin": True,
        "merge_stderr": True,
        "window": TERMINAL_WINDOW,
    }
    return client.start(*argv, **({"window": TERMINAL_WINDOW} | given | fields))


async def said(client: RawClient, script: str, shown: m.Terminal | None = None, **fields: Any) -> list[str]:
    """The lines that a shell's text writes on a terminal."""
    run = on_terminal(client, "sh", "-c", script, shown=shown, **fields)
    assert (await run.ended()).outcome == Exited(code=0), run.stdout
    return run.stdout.decode().replace("\r\n", "\n").splitlines()


async def test_a_program_finds_its_terminal_as_it_was_asked_for(client: RawClient) -> None:
    lines = await said(
        client,
        "stty size; tty; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo three",
        terminal(132, 43, name="tmux-256color"),
    )
    assert (lines[0], lines[2], lines[3]) == ("43 132", "tmux-256color", "three")
    assert re.fullmatch("/dev/pts/[0-9]+", lines[1])


async def test_its_terminal_is_the_controlling_one(client: RawClient) -> None:
    run = on_terminal(client, "bash", "-c", "echo through the name >/dev/tty; ps -o pid=,sid=,pgid=,tpgid= $$")
    await run.ended()
    name, numbers = run.stdout.decode().splitlines()
    assert name == "through the name"
    pid = await run.started()
    assert [int(number) for number in numbers.split()] == [pid] * 4


async def test_the_first_modes_are_those_that_were_asked_for(client: RawClient) -> None:
    shown = terminal(80, 24, ("VINTR", 1), ("VSUSP", 255), ("ECHO", 0), ("IXON", 0), ("VEOF", 5))
    (modes,) = [" ".join(await said(client, "stty -a", shown))]
    for part in ("intr = ^A;", "susp = <undef>;", "eof = ^E;", "quit = ^\\;", " -echo ", " -ixon ", " iutf8"):
        assert part in modes, modes


async def test_all_bytes_pass_both_ways(client: RawClient) -> None:
    script = "stty raw -echo -iutf8; echo ready; head -c 256 | tee /dev/stderr | od -An -v -tu1 >$0"
    path = f"/tmp/farhand-{os.getpid()}"
    run = on_terminal(client, "sh", "-c", script, path)
    begin = (await run.match(b"ready\r?\n")).end()
    run.write(ALL_BYTES)
    assert (await run.ended()).outcome == Exited(code=0)
    assert run.stdout[begin:] == ALL_BYTES


async def test_ctrl_c_ends_a_program(client: RawClient) -> None:
    run = on_terminal(client, "sh", "-c", "echo ready; exec sleep 60")
    await run.until(b"ready")
    run.write(b"\x03")
    assert (await run.ended()).outcome == Signaled(signal=2)


async def test_size(client: RawClient) -> None:
    run = on_terminal(client, "sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 60 & wait; done")
    await run.until(b"ready")
    assert run.sizes == [m.Size(columns=80, rows=24)]
    run.say(m.Resize(columns=100, rows=30))
    await run.until(b"30 100")
    assert run.sizes[1:] == [m.Size(columns=100, rows=30)]
    run.say(m.Stop())
    await run.ended()


async def test_login_shell(client: RawClient) -> None:
    run = on_terminal(client, login=True)
    await run.match(rb"[#$] $")
    run.write(b'echo "<$0>" $SHLVL; fg; sleep 60\r')
    await run.until(b"<-bash> 1")
    await run.match(b"no such job|no current job|current")
    run.write(b"\x1a")
    await run.until(b"Stopped")
    run.write(b"exit\r")
    run.write(b"exit 3\r")
    assert (await run.ended()).outcome == Exited(code=3)
