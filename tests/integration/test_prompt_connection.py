"""The REPL's connections: made, refused, lost for a while, and lost permanently."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import signal
import termios
from pathlib import Path

import pytest

from farhand_client.repl.host_shell import STATE_LOST
from tests.support.policy_service import policy_service
from tests.support.service import Service, running_service
from tests.support.tmux import SIGN, WHO, Screen, at
from tests.support.unix_proxy import unix_proxy

pytestmark = pytest.mark.needs("tmux")


async def test_an_unreachable_service_is_reported_without_a_prompt(
    screen: Screen, own: dict[str, str], tmp_path: Path
) -> None:
    screen.start(f"unix:{tmp_path}/none", own)
    await screen.shows("left with 255")
    assert screen.text.startswith("farhand: there is no socket")


async def test_a_dumb_terminal_has_a_prompt(screen: Screen, own: dict[str, str], core: Service) -> None:
    screen.start(core.host, own, term="dumb")
    await screen.matches("… *$")
    screen.type("echo $TERM; pwd", "Enter")
    await screen.shows(f"\ndumb\n{pwd.getpwuid(os.getuid()).pw_dir}\n{at()}")
    screen.type("exit 3", "Enter")
    await screen.shows("left with 3")


async def test_a_dumb_terminal_without_a_service_ends_the_repl(
    screen: Screen, own: dict[str, str], tmp_path: Path
) -> None:
    screen.start(f"unix:{tmp_path}/none", own, term="dumb")
    await screen.shows("left with 255")


async def test_the_user_is_asked_about_an_unknown_host_key(screen: Screen, own: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    async with running_service(tmp_path / "tls", listen=True) as service:
        assert service.address is not None
        screen.start(f"{service.address[0]}:{service.address[1]}", own)
        await screen.shows("Is it the same? (yes/no)")
        screen.type("no", "Enter")
        await screen.shows("left with 255")


async def test_a_lost_connection_is_only_a_pause(
    screen: Screen, own: dict[str, str], core: Service, tmp_path: Path
) -> None:
    async with unix_proxy(tmp_path, core.socket) as proxy:
        await screen.open(proxy.host, own)
        screen.type("echo begun; read -r word; echo $word", "Enter")
        await screen.shows("\nbegun")
        await proxy.cut()
        screen.type("typed during an outage", "Enter")
        await proxy.restore()
        took = r"( \[[\d.]+s\])?"  # where it was a second or more
        await screen.matches(rf"\ntyped during an outage\n{re.escape(WHO)}:~{took}{SIGN.strip()}$")
        await proxy.cut()
        await screen.matches(rf"^{re.escape(WHO)}:~{took} \(connection lost\){SIGN.strip()}\Z")
        await proxy.restore()
        await screen.matches(rf"^{re.escape(WHO)}:~{took}{SIGN.strip()}\Z")


async def test_ctrl_c_right_after_the_first_line_interrupts_it_and_not_the_repl(repl: Screen, core: Service) -> None:
    terminal = os.open(repl.tmux("display-message", "-p", "#{pane_tty}").strip(), os.O_RDONLY | os.O_NOCTTY)
    core.process.send_signal(signal.SIGSTOP)
    try:
        repl.type("echo never", "Enter")
        while not termios.tcgetattr(terminal)[3] & termios.ISIG:  # noqa: ASYNC110  # there is no notification
            await asyncio.sleep(0)
        os.kill(repl.process, signal.SIGINT)
        await repl.shows(at("~", " [SIGINT]"))
    finally:
        core.process.send_signal(signal.SIGCONT)
        os.close(terminal)


async def test_ctrl_c_and_leaving_work_while_the_service_does_not_answer(repl: Screen, core: Service) -> None:
    core.process.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(10):  # the client waits longer for a run to be stopped
            repl.type("echo never", "Enter")
            await repl.interrupted(rf"^{re.escape(WHO)}:~ \[SIGINT[^]]*\]{SIGN.strip()}$")
            repl.type("", "C-l")
            repl.type(":jobs", "Enter")
            await repl.interrupted(rf":jobs\n(.*\n)+{re.escape(at('~', ' [SIGINT]').rstrip())}$")
            repl.type("", "C-d")
            await repl.shows("left with 130")
    finally:
        core.process.send_signal(signal.SIGCONT)


async def test_a_run_of_a_crashed_service_is_reported_as_lost(
    screen: Screen, tmp_path: Path, own: dict[str, str]
) -> None:
    (tmp_path / "one").mkdir()
    async with running_service(tmp_path / "one") as service:
        await screen.open(service.host, own)
        await screen.answers("cd /tmp", "", at("/tmp"))
        screen.type("echo under way; sleep 1000", "Enter")
        await screen.shows("\nunder way")
        service.process.kill()
        await service.process.wait()
        async with running_service(tmp_path / "one"):
            await screen.matches(rf"unknown outcome: .*\n{re.escape(WHO)}:/tmp \[lost")
            screen.type("", "C-l")
            await screen.answers("pwd", f"farhand: {STATE_LOST}\n/tmp\n", at("/tmp"))


async def test_a_service_that_shuts_down_is_reported(screen: Screen, tmp_path: Path, own: dict[str, str]) -> None:
    (tmp_path / "one").mkdir()
    async with running_service(tmp_path / "one") as service:
        await screen.open(service.host, own)
        screen.type("echo under way; sleep 1000", "Enter")
        await screen.shows("\nunder way")
        service.process.terminate()
        screen.type("", "C-c")
        await screen.matches(rf"\[SIGINT[^]]*\].*{SIGN.strip()}$")
        assert "is shutting down" in screen.text or "(connection lost)" in screen.text, "it may have stopped already"


@pytest.mark.needs("ssh-keygen")
async def test_lines_run_without_a_terminal_if_the_service_gives_none(
    screen: Screen, own: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "guarded"
    directory.mkdir()
    policy = '[[rules]]\nname = "me"\nwho = {{ users = ["{me}"] }}\ncommands = [["*", "..."]]\nshell = true\n'
    async with policy_service(directory, monkeypatch, policy, key="no-pty") as guard:
        assert guard.service.address is not None
        host, port = guard.service.address
        screen.start(f"{host}:{port}", own, "-I", str(directory / "key"))
        await screen.shows("Is it the same? (yes/no)")
        screen.type("yes", "Enter")
        await screen.shows(at())
        screen.type("test -t 0 || echo none", "Enter")
        await screen.matches(r"^none$")
        await screen.matches(r"^farhand: lines run without a terminal here: .*no-pty")
        await screen.answers("exit 3 | cat; sh -c 'exit 4'", "", at("~", " [4]"))
        assert screen.text.count("without a terminal") == 1
