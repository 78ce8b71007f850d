"""Under storms of resizes, huge pastes and lost connections, nothing typed or shown is lost, doubled or garbled."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client import connect
from farhand_client.terminal.input import RESIZE_INTERVAL
from tests.support.command import FARHAND
from tests.support.cutting_proxy import cutting_proxy
from tests.support.ptys import Pty, terminal
from tests.support.reference_terminals import Reference
from tests.support.service import Service, running_service
from tests.support.shells import PROMPT, Shell, new_run_id, shell
from tests.support.unix_proxy import unix_proxy

KiB, MiB = 1 << 10, 1 << 20


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


@pytest.fixture
def env(core: Service) -> dict[str, str]:
    """The environment of a user with an ordinary terminal."""
    return core.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}


def on_terminal(host: str, script: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the command that runs a script of sh remotely, on the local terminal."""
    return (*FARHAND, "run", "-t", *options, host, "sh", "-c", script, "sh", *arguments)


class TestSizes:
    async def test_the_last_of_many_resizes_wins_and_few_arrive(
        self, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        script = "trap 'stty size' WINCH; echo ready; while :; do sleep 1000 & wait; kill $!; done"
        async with pty.running(*on_terminal(core.host, script), env=env):
            await pty.shows(b"ready")
            await pty.until_raw()
            reported = 0
            start_time = time.monotonic()
            for gust in range(10):
                for number in range(5 + gust):
                    pty.resize(40 + number, 20 + gust)
                    await asyncio.sleep(0.01)  # the storm of resizes
                last = f"{40 + gust} 120\r\n".encode()
                pty.resize(120, 40 + gust)
                reported += len(re.findall(rb"\d+ \d+\r\n", await pty.shows(last)))
            # A slow machine makes no storm, and then all may arrive.
            assert reported <= 40 + (time.monotonic() - start_time) / RESIZE_INTERVAL, reported

    @pytest.mark.needs("vim", "less")
    @pytest.mark.parametrize(("columns", "rows"), [(1, 1), (500, 300)])
    async def test_programs_work_in_a_terminal_of_any_size(
        self, columns: int, rows: int, pty: Pty, core: Service, env: dict[str, str], tmp_path: Path
    ) -> None:
        pty.resize(columns, rows)
        file = tmp_path / "file"
        file.write_text("".join(f"{number:0498}|\n" for number in range(400)))
        async with shell(pty, core.host, env) as remote:
            assert f"{rows} {columns}\r\n" in await does(remote, "stty size")
            await begins(remote, f"less -S {file}")
            await pty.shows(b"0" if rows == 1 else b"0298|")
            pty.type(b"q")
            await pty.shows(PROMPT)
            await begins(remote, f"vim -u NONE -N {file}")
            await pty.shows(b"\x1b[?1049h")
            if rows > 1:
                await pty.shows(b"0298|")
            pty.type(b"Gdd:wq\r")
            await pty.shows(b"\x1b[?1049l")
            await pty.shows(PROMPT)
        assert file.read_text().count("\n") == 399


async def does(remote: Shell, line: str) -> str:
    """Like `Shell.does`, but the echo of the line may be wrapped."""
    remote.type_line(line + "; echo d''one")
    output = await remote.pty.shows(b"done\r\n")
    await remote.pty.shows(PROMPT)
    return output.decode()


async def begins(remote: Shell, line: str) -> None:
    """Like `Shell.begins`, but the echo of the line may be wrapped."""
    remote.type_line("echo be''gin; " + line)
    await remote.pty.shows(b"begin\r\n")


LINES = b"".join(b"%06d %s~.\r~." % (number, b"\xc3\xbc" * 24) for number in range(MiB // 60))
"""A text that contains the escape to detach, which would act if it were typed."""


class TestPastes:
    async def test_a_pasted_megabyte_arrives_unchanged_and_triggers_no_escape(
        self, pty: Pty, core: Service, env: dict[str, str], tmp_path: Path
    ) -> None:
        pasted = b"\x1b[200~" + LINES + b"\x1b[201~"
        script = f'stty raw -echo; echo ready; head -c {len(pasted)} >"$1"; echo over'
        async with pty.running(*on_terminal(core.host, script, str(tmp_path / "pasted")), env=env):
            await pty.shows(b"ready")
            await pty.paste(pasted)
            await pty.shows(b"over")
        assert (tmp_path / "pasted").read_bytes() == pasted

    async def test_ctrl_c_overtakes_unread_input(self, pty: Pty, core: Service, env: dict[str, str]) -> None:
        async with shell(pty, core.host, env) as remote:
            await remote.begins("stty -echo; sleep 1000")
            await pty.paste(LINES.replace(b"~.", b"!!"))
            pty.type(b"\x03")  # nothing reads what is before it
            await pty.shows(PROMPT)
            pty.type(b"\recho the$()end\r")
            assert b"!!" not in await pty.shows(b"theend")


class TestBytes:
    @pytest.mark.parametrize(("local", "remote"), [("C", "C.UTF-8"), ("C.UTF-8", "C"), ("C", "C")])
    async def test_every_byte_is_passed_unchanged_both_ways_in_every_locale(
        self, local: str, remote: str, pty: Pty, tmp_path: Path
    ) -> None:
        every = bytes(range(256)) + "größe 漢字".encode()
        script = f"stty raw -echo; printf 'ready:'; head -c {len(every)}"
        async with running_service(tmp_path, prefix=("env", "-u", "LANG", f"LC_ALL={remote}")) as service:
            env = service.environment | {"TERM": "xterm", "LC_ALL": local}
            before = pty.modes
            command = on_terminal(service.host, script, options=("-e", "none"))
            async with pty.running(*command, env=env) as process:
                await pty.shows(b"ready:")
                pty.type(every)
                await pty.shows(every)
                assert await process.wait() == 0
            assert pty.modes == before

    @pytest.mark.parametrize("name", ["../../x", "a" * 65, "x\x1b[2J"])
    async def test_an_invalid_terminal_name_is_reported_and_no_program_starts(
        self, name: str, pty: Pty, core: Service, env: dict[str, str]
    ) -> None:
        run_id = new_run_id()
        async with pty.running(*FARHAND, "shell", "--id", run_id, core.host, env=env | {"TERM": name}) as process:
            assert await process.wait() == 2
            await pty.shows(b"farhand: TERM is ")
            assert b"which is not the name of a terminal" in pty.shown
            assert b"\x1b[2J" not in pty.shown
        async with connect(core.host) as client:
            assert run_id not in [run.id for run in await client.runs(ended=True)]


COLOURS = "".join(f"\\033[38;5;{number}m\\033[4{number % 8}mü漢{number}\\033[K\\033[m\\r\\n" for number in range(256))


class TestCuts:
    async def test_output_is_the_same_wherever_the_connection_is_cut(
        self, pty: Pty, core: Service, env: dict[str, str], tmp_path: Path
    ) -> None:
        whole = COLOURS.encode().replace(b"\\033", b"\x1b").replace(b"\\r\\n", b"\r\n")
        lengths = iter([(None, LOGGED_IN + 97 * number) for number in range(20)])
        async with cutting_proxy(tmp_path / "cut", core.socket, lengths) as cuts:
            script = f"stty -opost; printf 'begin:'; printf '{COLOURS}'; printf ':end'"
            async with pty.running(*on_terminal(f"unix:{tmp_path}/cut", script), env=env) as process:
                await pty.shows(b"begin:")
                output = await pty.shows(b":end")
                assert await process.wait() == 0
        assert output == whole
        assert len(cuts) >= 10

    async def test_input_is_typed_and_answered_once_wherever_the_connection_is_cut(
        self, pty: Pty, core: Service, env: dict[str, str], tmp_path: Path
    ) -> None:
        texts = [b"".join(b"%d:%05d\r" % (part, number) for number in range(2000)) for part in range(5)]
        # Alternately while it is typed and while it is echoed.
        lengths = iter([(6000, None), (None, 3000)] * len(texts))
        async with cutting_proxy(tmp_path / "cut", core.socket, lengths) as cuts:
            script = 'stty raw -echo; printf ready:; exec tee "$1"'
            command = on_terminal(f"unix:{tmp_path}/cut", script, str(tmp_path / "typed"))
            async with pty.running(*command, env=env) as process:
                await pty.shows(b"ready:")
                for text in texts:
                    await pty.paste(text)
                    assert await pty.shows(text[-8:]) == text[:-8]
                pty.type(b"~.")
                assert await process.wait() == 255
        assert (tmp_path / "typed").read_bytes() == b"".join(texts)
        assert len(cuts) == 2 * len(texts)


LOGGED_IN = 600
"""Bytes after which a client is logged in and has its run."""


SPLIT = [
    (r"\033[1;3", "1mred"),
    (r"\033[", "5Cfurther"),
    (r"\346\274", r"\242 character"),
    (r"\033]2;a ti", r"tle\007 behind a title"),
]
"""Output before and after a cut, for printf(1)."""


class TestNotices:
    async def test_a_notice_in_the_middle_of_an_escape_sequence_leaves_no_trace(
        self, core: Service, env: dict[str, str], tmp_path: Path
    ) -> None:
        async with unix_proxy(tmp_path, core.socket) as proxy, contextlib.AsyncExitStack() as stack:
            ptys = [await stack.enter_async_context(terminal()) for _ in SPLIT]
            for pty, (before, after) in zip(ptys, SPLIT, strict=True):
                script = f"stty -echo; printf 'begin {before}'; read -r x; printf '{after} end'; exec sleep 1000"
                await stack.enter_async_context(pty.running(*on_terminal(proxy.host, script), env=env))
            for pty in ptys:
                await pty.until_raw()
                await pty.sees(b"begin ")
            await proxy.cut()
            for pty in ptys:
                await pty.sees(b"lost; reconnecting")
                pty.type(b"\r")
            await proxy.restore()
            for pty, (before, after) in zip(ptys, SPLIT, strict=True):
                await pty.sees(b" end")
                output = subprocess.run(
                    ["printf", f"begin {before}{after} end"], capture_output=True, check=True
                ).stdout
                seen, expected = Reference(80, 24, pty.shown).state, Reference(80, 24, output).state
                assert seen["rows"] == expected["rows"]
                assert seen["cursor"] == expected["cursor"]

    @pytest.mark.parametrize(("key", "code"), [(b"~.", 255), (b"~d", 0)])
    async def test_escapes_work_on_a_silent_connection(
        self, key: bytes, code: int, pty: Pty, core: Service, env: dict[str, str], tmp_path: Path
    ) -> None:
        before = pty.modes
        async with unix_proxy(tmp_path, core.socket) as proxy, shell(pty, proxy.host, env) as remote:
            proxy.pause()
            pty.type(b"never heard\r" + key)
            await pty.until_raw(False)
            # Not once the connection is given up, which is said.
            assert b"lost; reconnecting" not in pty.shown
            assert await remote.process.wait() == code
            assert b"keeps running for as long as the service keeps" in await pty.shows(b"to return: farhand attach")
        assert pty.modes == before
