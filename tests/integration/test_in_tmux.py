"""In a real terminal, a remote shell looks exactly like a local one; also outages and exits, as a user sees them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farhand_client import connect
from farhand_protocol.messages import WindowSize
from tests.support.command import FARHAND
from tests.support.service import Service
from tests.support.shells import new_run_id
from tests.support.tmux import COLUMNS, TIMEOUT, Screen
from tests.support.unix_proxy import unix_proxy

pytestmark = pytest.mark.needs("tmux")


def plain(directory: Path) -> str:
    """Return a shell command that is the same locally and remotely."""
    return f'cd {directory}; exec env -i PATH="$PATH" HOME=/ TERM="$TERM" LANG=C.UTF-8 PS1=\'at> \' sh -i'


@pytest.fixture
def another(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """A second terminal."""
    made = Screen(tmp_path_factory.mktemp("tmux") / "socket")
    yield made
    with contextlib.suppress(Exception):
        made.tmux("kill-server")


async def shell(screen: Screen, env: dict[str, str], directory: Path, host: str) -> str:
    """Start a plain shell on the service; return its run id."""
    run_id = new_run_id()
    screen.run("sh", "-c", f"{shlex.join([*FARHAND, 'shell', '--id', run_id, host])}; exec cat", env=env)
    await screen.matches(r"[#$] $|[#$]$")
    screen.type(plain(directory), "Enter")
    await screen.matches("^at>")
    screen.type("clear", "Enter")
    await shows_only(screen, "at>")
    return run_id


async def shows_only(screen: Screen, text: str) -> None:
    await until(lambda: screen.text == text, lambda: screen.text)


async def until(condition: Callable[[], bool], seen: Callable[[], str]) -> None:
    """Wait until a condition that no terminal output signals is true."""
    try:
        async with asyncio.timeout(TIMEOUT):
            while not condition():  # noqa: ASYNC110  # tmux sends no notification
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"the condition never became true:\n{seen()}")


class Both:
    """A local and a remote shell, in terminals of the same size."""

    def __init__(self, local: Screen, remote: Screen, core: Service, run_id: str) -> None:
        self._both = local, remote
        self._core = core
        self._run_id = run_id

    async def do(self, text: str, *keys: str, shows: str) -> None:
        """Type the same in both; wait until both match `shows`, and then show the same."""
        local, remote = self._both
        for screen in self._both:
            screen.type(text, *keys)
        for screen in self._both:
            await screen.matches(shows)
        await until(
            lambda: local.picture == remote.picture,
            lambda: f"{local.text}\n{local.flags}\n{remote.text}\n{remote.flags}",
        )

    async def resize(self, columns: int, rows: int) -> None:
        """Resize both, and wait until the remote one has the size: a key that is typed at once may overtake it."""
        for screen in self._both:
            screen.tmux("resize-window", "-x", str(columns), "-y", str(rows))
        async with asyncio.timeout(TIMEOUT), connect(self._core.host) as client:
            while (await client.info(self._run_id)).terminal != WindowSize(columns=columns, rows=rows):
                await client.ping()


@pytest.fixture
async def both(screen: Screen, another: Screen, core: Service, tmp_path: Path) -> Both:
    screen.run("sh", "-c", plain(tmp_path), env=core.environment)
    await screen.matches("^at>")
    screen.type("clear", "Enter")
    run_id = await shell(another, core.environment, tmp_path, core.host)
    for one in (screen, another):
        one.tmux("select-pane", "-T", "same")
    return Both(screen, another, core, run_id)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A source file that vim shows in many colours."""
    made = tmp_path / "file.py"
    made.write_text(
        "".join(f'def größe{number}(x: int) -> str:\n    return "漢字 {number}"  # why\n' for number in range(200))
    )
    return made


class TestRemoteLooksLikeLocal:
    @pytest.mark.needs("vim")
    async def test_vim(self, both: Both, file: Path) -> None:
        options = "-c 'syntax on' -c 'set mouse=a ruler number'"
        await both.do(f"vim -n -u NONE -N {options} {file.name}", "Enter", shows="größe0")
        await both.do("", "C-f", "C-f", shows="größe28")
        await both.do(":vsplit", "Enter", shows="größe28.*größe28")
        await both.do("Gzzoende 漢字", "Escape", shows="ende 漢字")
        await both.resize(72, 21)
        await both.do(':echo &columns."x".&lines', "Enter", shows="^72x21")
        await both.do(":only | !echo out''side", "Enter", shows="^outside$")
        await both.do("", "Enter", shows="ende 漢字")
        await both.do(":qa!", "Enter", shows="^at>$")

    @pytest.mark.needs("less")
    async def test_less(self, both: Both, file: Path) -> None:
        await both.do(f"less {file.name}", "Enter", shows="größe0")
        await both.do(" ", shows="größe20")
        await both.do("/größe30", "Enter", shows="größe40")
        await both.do("G", shows="größe199")
        await both.resize(50, 40)
        await both.do("g=", shows="lines 1-39/400")
        await both.do("q", shows="^at> less(.|\n)*^at>$")

    async def test_tmux(self, both: Both, tmp_path_factory: pytest.TempPathFactory) -> None:
        # Each shell starts its own tmux.
        await both.do("S=$(mktemp -u); echo do''ne", "Enter", shows="^done")
        shell = "set -g default-command \"exec env PS1='in> ' sh\""
        settings = f"{shell} \\; set -g status-right x \\; set -g automatic-rename off"
        await both.do(f"clear; tmux -S $S -f /dev/null {settings} \\; new -n own", "Enter", shows=r"^\[0\]")
        await both.do("", "C-b", "%", shows="│in>")
        await both.do("echo größe 漢字; stty size", "Enter", shows=f"│29 {COLUMNS // 2 - 1}")
        await both.do("", "C-b", '"', shows="├─")
        await both.resize(72, 21)
        # It resizes its programs a little later.
        reported = 'until stty size | grep " 35"; do sleep 0.05; done; clear; stty size'
        await both.do(reported, "Enter", shows=r"│\d+ 35\n *│in>$|│\d+ 35\n.*│in> *\n")
        await both.do("", "C-b", "d", shows=r"^\[detached")
        await both.do("clear; tmux -S $S attach", "Enter", shows="├─")
        await both.do("", "C-b", "x", shows="^kill-pane")
        await both.do("n", shows=r"^\[0\]")
        await both.do("tmux kill-server", "Enter", shows="^.server exited")

    @pytest.mark.needs("top")
    async def test_top(self, screen: Screen, core: Service, tmp_path: Path) -> None:
        await shell(screen, core.environment, tmp_path, core.host)
        screen.type("top -d 0.1", "Enter")
        await screen.matches("^ +PID USER")
        screen.tmux("resize-window", "-x", "60", "-y", "20")
        screen.type("f")
        await screen.matches("^Fields Management")
        screen.type("", "Escape")
        await screen.matches("^ +PID USER")
        screen.type("q")
        await screen.matches("^at>$")


@pytest.mark.needs("vim")
async def test_an_outage_is_shown_on_one_row_and_in_the_title_and_leaves_no_trace(
    screen: Screen, core: Service, tmp_path: Path, file: Path
) -> None:
    (tmp_path / "config/farhand").mkdir(parents=True)
    (tmp_path / "config/farhand/config.toml").write_text(f'[hosts.web]\naddress = "unix:{tmp_path}/proxy"\n')
    env = core.environment | {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    async with unix_proxy(tmp_path, core.socket) as proxy:
        await shell(screen, env, tmp_path, "web")
        screen.type(f"vim -n -u NONE -N -c 'syntax on' -c 'set ruler mouse=a' {file.name}", "Enter")
        await screen.matches("1,1 +Top")
        screen.type("", "C-f")
        await screen.matches("größe20")
        await screen.matches(r" \d+%$")  # the ruler is drawn last, and then the cursor goes back
        await until(lambda: screen.flags.split()[1] == "0", lambda: screen.flags)
        before, rows = screen.picture, screen.rows
        await proxy.cut()
        await screen.matches(r"^connection to web lost; reconnecting \(for up to 24 h\)")
        assert screen.rows[:-1] == rows[:-1]
        await until(lambda: "lost; reconnecting" in screen.flags, lambda: screen.flags)  # where the title is
        await proxy.restore()
        await until(lambda: screen.picture == before, lambda: f"{screen.text}\n{screen.flags}\n{before[1]}")
        await proxy.cut()
        screen.type("Onever lost größe", "Escape")
        await proxy.restore()
        await screen.matches("^never lost größe$")


@pytest.mark.needs("vim")
async def test_an_editor_continues_in_another_window_after_its_window_was_closed(
    screen: Screen, another: Screen, core: Service, tmp_path: Path, file: Path
) -> None:
    run_id = await shell(screen, core.environment, tmp_path, core.host)
    screen.type(f"vim -n -u NONE -N -c 'syntax on' -c 'set ruler' {file.name}", "Enter")
    await screen.matches("1,1 +Top")
    screen.type("Onot written größe", "Escape")
    await screen.matches("^not written größe$")
    await screen.matches(r"^ {50,}1,\S+ +Top$")  # vim shows no mode here
    before = screen.rows
    screen.tmux("kill-server")
    command = f"{shlex.join([*FARHAND, 'attach', core.host, run_id])}; echo left with $?; exec cat"
    another.run("sh", "-c", command, env=core.environment)
    await another.matches("^not written größe$")
    await until(lambda: another.rows == before, lambda: another.text)
    another.type(":wq", "Enter")
    await another.matches("^at>$")
    another.type("exit 3", "Enter")
    await another.matches("^left with 3$")
    assert file.read_text().startswith("not written größe\ndef")


PAINTING = (
    r"\033[?1049h\033[2J\033[3;5H\033[1;7;31mbold\033[m \033[44m漢字 ü\033[K\033[m\033[10;20H┌──┐"
    r"\033[4;12r\033[12;3H\033[?1000h\033=\033[?1h\033[38;5;208morange"
)
"""The output of a program that draws its screen only once, for printf(1)."""


async def test_a_screen_drawn_once_is_redrawn_for_another_client(
    screen: Screen, another: Screen, core: Service
) -> None:
    run_id = new_run_id()
    command = [*FARHAND, "run", "-t", "--id", run_id, core.host, "sh", "-c", f"printf '{PAINTING}'; read -r x"]
    screen.run("sh", "-c", f"{shlex.join(command)}; exec cat", env=core.environment)
    await screen.matches("orange$")
    before = screen.picture
    screen.tmux("kill-server")
    another.run("sh", "-c", f"{shlex.join([*FARHAND, 'attach', core.host, run_id])}; exec cat", env=core.environment)
    await another.matches("orange$")
    await until(lambda: another.picture == before, lambda: f"{another.text}\n{another.flags}\n{before[1]}")


MESS = (
    r"\033[?1049h\033[?25l\033[?1003h\033[?1006h\033[?2004h\033[4h\033[5;9r\033[?6h\033[?7l\033[1;7;31m\033(0\016\033=\033[?1h"
    r"\377\376\033]2;a title without an e"
)
"""What printing a binary file may do to a terminal, for printf(1)."""


async def local_shell(screen: Screen, env: dict[str, str]) -> str:
    """Start a local shell; return the state of its terminal at the prompt."""
    screen.run("sh", "-c", "PS1='here> ' exec sh -i", env=env)
    await screen.matches("^here>$")
    screen.type("clear; stty -g; echo seen be''fore", "Enter")
    await screen.matches("^seen before$")
    await screen.matches("^here>$")
    return state(screen)


def state(screen: Screen) -> str:
    """Return the flags of the terminal and its modes as stty(1) prints them, without the cursor's position."""
    *_, modes = re.finditer("(?:[0-9a-f]+:){20,}[0-9a-f]+", screen.text)
    return modes[0] + screen.flags.split(" ", 2)[2].partition(" title=")[0]


async def works_as_before(screen: Screen, before: str) -> None:
    screen.type("", "Enter")
    screen.type("stty -g; echo works a''gain", "Enter")
    await screen.matches("^works again$")
    await screen.matches("^here>$")
    assert state(screen) == before
    assert "seen before" in screen.text


class TestLocalTerminal:
    @pytest.mark.parametrize("how", ["exit", "~.", "killed"])
    async def test_the_terminal_is_restored_whatever_the_program_has_set(
        self, how: str, screen: Screen, core: Service
    ) -> None:
        before = await local_shell(screen, core.environment)
        command = shlex.join([*FARHAND, "run", "-t", core.host, "sh", "-c", f"printf '{MESS}'; read -r x"])
        screen.type(command, "Enter")
        await until(lambda: "alternate=1" in screen.flags, lambda: screen.flags)
        match how:
            case "exit":
                screen.type("", "Enter")
            case "~.":
                screen.type("~.")
            case _:
                os.kill(screen.process, signal.SIGKILL)
        await until(lambda: "alternate=0" in screen.flags, lambda: screen.flags)
        await works_as_before(screen, before)


async def test_ctrl_c_under_a_flood_gives_the_prompt(screen: Screen, core: Service, tmp_path: Path) -> None:
    await shell(screen, core.environment, tmp_path, core.host)
    screen.type("yes", "Enter")
    await screen.matches("y\ny\ny\ny")
    screen.type("", "C-c")
    await screen.matches("^at>$")
