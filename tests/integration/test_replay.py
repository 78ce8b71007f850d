"""The output of a run is replayed and exported for asciinema with its times: tested with the real programs."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client import PIPE, Client, Run, connect
from farhand_protocol.messages import TerminalRequest, WindowSize
from tests.support.command import farhand
from tests.support.service import Service
from tests.support.tmux import Screen

TERMINAL = TerminalRequest(name="xterm-256color", size=WindowSize(columns=80, rows=20))
PAUSE = 0.02
"""Seconds between outputs; outputs within a millisecond share a mark."""

ASCIINEMA = (sys.executable, "-m", "asciinema")


@pytest.fixture
async def client(core: Service) -> AsyncIterator[Client]:
    async with connect(core.host) as connected:
        yield connected


async def until(run: Run, text: bytes) -> None:
    """Read until the run has written `text`."""
    seen = b""
    while text not in seen:
        seen += await anext(aiter(run.stdout))


async def later(client: Client, seconds: float) -> None:
    """Wait until `seconds` have passed in the recording."""
    moment = time.monotonic()
    while time.monotonic() - moment < seconds:
        await client.ping()


async def export(core: Service, run_id: str, file: Path) -> tuple[dict[str, Any], list[list[Any]]]:
    done = await farhand("export", "--asciicast", str(file), core.host, run_id, env=core.environment)
    assert (done.code, done.stdout) == (0, b""), done.stderr
    header, *events = [json.loads(line) for line in file.read_text().rstrip("\n").split("\n")]
    return header, events


def asciinema(directory: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the real asciinema without a terminal, with its files in `directory`."""
    return subprocess.run(
        [*ASCIINEMA, *arguments], env=at_home(directory), capture_output=True, start_new_session=True, check=False
    )


def at_home(directory: Path) -> dict[str, str]:
    return os.environ | {"ASCIINEMA_CONFIG_HOME": str(directory / "asciinema")}


async def test_a_run_on_a_terminal_is_exported_whole(core: Service, client: Client, tmp_path: Path) -> None:
    script = "stty -echo; printf '\\33[1;31mgröße\\33[m 漢字\\n'; stty size; read x; "
    script += "while [ \"$(stty size)\" = '20 80' ]; do sleep 0.01; done; stty size; head -c 5000 /dev/zero"
    async with client.start(
        ["sh", "-c", script], stdin=PIPE, merge_stderr=True, terminal=TERMINAL, record_input=True
    ) as run:
        assert run.stdin is not None
        await until(run, b"20 80")
        await asyncio.sleep(0.005)  # times are recorded in milliseconds; in the same one, a size comes before output
        run.resize(100, 30)
        run.stdin.write("schön\r".encode())
        await run.wait()
    file = tmp_path / "cast"
    header, events = await export(core, run.id, file)
    assert (header["version"], header["width"], header["height"]) == (2, 80, 20)
    assert header["duration"] >= events[-1][0] - 0.001
    assert [data for _, code, data in events if code == "r"] == ["100x30"]
    assert "".join(data for _, code, data in events if code == "i") == "schön\r"
    times = [at for at, _, _ in events]
    assert times == sorted(times)

    shown = asciinema(tmp_path, "cat", str(file))
    assert (shown.returncode, shown.stderr) == (0, b"")
    logs = await farhand("logs", core.host, run.id, env=core.environment)
    assert shown.stdout == logs.stdout
    assert b"30 100" in logs.stdout


async def test_a_run_without_a_terminal_is_exported_in_chronological_order(
    core: Service, client: Client, tmp_path: Path
) -> None:
    async with client.start("read x; echo out; read x; echo err >&2; read x; echo end", shell=True, stdin=PIPE) as run:
        assert run.stdin is not None
        assert run.stderr is not None
        for stream in (run.stdout, run.stderr, run.stdout):
            run.stdin.write(b"\n")
            await anext(aiter(stream))
            await later(client, PAUSE)
        await run.wait()
    file = tmp_path / "cast"
    header, events = await export(core, run.id, file)
    assert header["command"].startswith("read x; echo out")
    assert [(code, data) for _, code, data in events] == [("o", "out\r\n"), ("o", "err\r\n"), ("o", "end\r\n")]
    assert events[1][0] - events[0][0] >= PAUSE - 0.001
    assert asciinema(tmp_path, "cat", str(file)).stdout == b"out\r\nerr\r\nend\r\n"


async def test_a_running_run_is_exported_up_to_now(core: Service, client: Client, tmp_path: Path) -> None:
    async with client.start("echo so far; read x", shell=True, stdin=PIPE) as run:
        await until(run, b"so far\n")
        file = tmp_path / "cast"
        header, events = await export(core, run.id, file)
    assert "duration" not in header
    assert [data for _, _, data in events] == ["so far\r\n"]
    assert asciinema(tmp_path, "cat", str(file)).stdout == b"so far\r\n"


async def test_the_part_of_a_long_run_that_is_kept_is_exported(core: Service, client: Client, tmp_path: Path) -> None:
    script = "seq 1 30000; read x; echo end"
    async with client.start(script, shell=True, stdin=PIPE, spool=65536, on_gap=lambda _: None) as run:
        assert run.stdin is not None
        await until(run, b"30000\n")
        run.stdin.write(b"\n")
        await run.wait()
    file = tmp_path / "cast"
    _, events = await export(core, run.id, file)
    assert events[0][:2] == [0.0, "m"]
    assert "are no longer kept" in events[0][2]
    assert events[1][:2] == [0.0, "o"]
    logs = await farhand("logs", core.host, run.id, env=core.environment)
    shown = asciinema(tmp_path, "cat", str(file)).stdout
    assert shown == logs.stdout.replace(b"\n", b"\r\n")
    assert shown.endswith(b"\r\n30000\r\nend\r\n")


async def test_binary_output_is_exported_in_a_form_that_players_can_show(
    core: Service, client: Client, tmp_path: Path
) -> None:
    done = await client.run(["sh", "-c", "head -c 20000 /dev/urandom"], spool=1 << 20)
    file = tmp_path / "cast"
    await export(core, done.run_id, file)
    shown = asciinema(tmp_path, "cat", str(file))
    assert shown.returncode == 0
    # Newlines of a run without a terminal get a CR, and invalid UTF-8 the replacement character.
    assert shown.stdout.decode() == done.stdout.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").decode(errors="replace")


FULL_SCREEN = "\\33[?1049h\\33[?25l\\33[2J\\33[5;10Hfull screen"


@pytest.mark.needs("tmux")
async def test_asciinema_plays_it(core: Service, client: Client, tmp_path: Path, screen: Screen) -> None:
    run_id = await on_terminal(client, f"printf '{FULL_SCREEN}'; read x; printf '\\33[?1049l\\33[?25hafter\\n'")
    file = tmp_path / "cast"
    await export(core, run_id, file)
    play = shlex.join([*ASCIINEMA, "play", "-s", "0.1", str(file)])
    screen.tmux("new-session", "-d", "-x", "80", "-y", "20", "-e", f"HOME={tmp_path}", f"{play}; echo $?; exec cat")
    await screen.matches("full screen")
    assert screen.text == "         full screen"
    await screen.matches("^after\n0$")
    assert "full screen" not in screen.text


async def on_terminal(client: Client, script: str) -> str:
    """Run a script that reads one line on a terminal; return the id."""
    async with client.start(["sh", "-c", f"stty -echo; {script}"], stdin=PIPE, terminal=TERMINAL) as run:
        assert run.stdin is not None
        await until(run, b"full screen")
        await later(client, 0.5)
        run.stdin.write(b"\r")
        await run.wait()
    return run.id
