"""`farhand repl HOST`: line by line on another machine, at a terminal and as a script."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.repl.completer import DEADLINE
from tests.support.command import FARHAND, farhand, running
from tests.support.service import Service, environment, running_service

PATIENCE = 20.0
"""Seconds after which something expected on the screen counts as never coming."""

PROMPT = "# " if os.geteuid() == 0 else "$ "


async def script(service: Service, text: str | bytes) -> tuple[int, str, str]:
    """Give a REPL a script; return its exit code, stdout and stderr."""
    data = text.encode() if isinstance(text, str) else text
    done = await farhand("repl", service.host, input=data, env=service.environment)
    return done.code, done.stdout.decode(), done.stderr.decode()


class TestScript:
    async def test_lines_run_one_after_another_and_the_last_ones_code_is_ours(self, core: Service) -> None:
        assert await script(core, "echo a; echo b >&2\n# nothing\n\nsh -c 'exit 3'") == (3, "a\n", "b\n")

    async def test_nothing_to_do_is_done_well(self, core: Service) -> None:
        assert await script(core, "") == (0, "", "")

    async def test_every_byte_passes(self, core: Service) -> None:
        every = r"printf '" + "".join(f"\\{byte:03o}" for byte in range(256)) + "'\n"
        done = await farhand("repl", core.host, input=every.encode(), env=core.environment)
        assert done.stdout == bytes(range(256))

    async def test_directory_and_environment_last(self, core: Service, tmp_path: Path) -> None:
        odd = tmp_path / "a b é"
        odd.mkdir()
        text = f"""
            cd '{odd}'
            pwd
            export A='x  y' B=1
            unset B
            echo "$A${{B-!}}"
            cd .. && pwd
            cd -
            cd; pwd
        """
        home = await script(core, "pwd")
        assert await script(core, text) == (0, f"{odd}\nx  y!\n{tmp_path}\n{odd}\n{home[1]}", "")

    async def test_what_a_line_begins_with_lasts_too(self, core: Service) -> None:
        text = "cd /tmp && export A=1 B=2; unset B && pwd\npwd; echo $A${B-!}\ncd / | cat; (cd /); cd / &\npwd"
        assert await script(core, text) == (0, "/tmp\n/tmp\n1!\n/tmp\n", "")

    async def test_a_wrong_directory_is_the_shells_error_and_changes_nothing(self, core: Service) -> None:
        code, out, err = await script(core, "cd /tmp\ncd nowhere && echo never; echo $?\npwd\ncd nowhere")
        assert code != 0
        assert out in ("1\n/tmp\n", "2\n/tmp\n")  # bash and dash
        assert err.count("nowhere") == 2

    async def test_a_directory_that_is_gone_can_be_left(self, core: Service, tmp_path: Path) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        code, out, err = await script(core, f"cd {gone}\nrmdir {gone}\necho never\ncd ..\ncd /tmp\npwd")
        assert (code, out) == (0, "/tmp\n")
        assert err.count("No such file or directory") == 2

    async def test_constructs_of_several_lines_are_one_command(self, core: Service) -> None:
        text = "for i in 1 2\ndo\n  echo $i\ndone\ncat <<E\n'$((1 + 2))\nE\necho 'a\nb' \\\n  c\n"
        assert await script(core, text) == (0, "1\n2\n'3\na\nb c\n", "")

    @pytest.mark.parametrize(
        ("text", "code"),
        [("exit 7\necho no", 7), ("false\nexit", 1), ("true\nexit 256", 0), ("sh -c 'exit 5'\nexit $?", 5)],
    )
    async def test_exit_ends_it(self, core: Service, text: str, code: int) -> None:
        assert await script(core, text) == (code, "", "")

    async def test_a_signal_and_a_missing_program_have_the_codes_shells_give_them(self, core: Service) -> None:
        assert (await script(core, "kill -9 $$\necho $?"))[1] == "137\n"
        assert (await script(core, "no-such-program\necho $?"))[1] == "127\n"

    async def test_what_is_not_finished_is_an_error(self, core: Service) -> None:
        said = "farhand: line 2: the script ends inside a ' quote\n"
        assert await script(core, "echo a\necho 'b\nc") == (2, "a\n", said)

    async def test_carriage_returns_at_line_ends_are_dropped(self, core: Service) -> None:
        assert await script(core, "echo a\r\necho b\r\n") == (0, "a\nb\n", "")

    async def test_a_nul_byte_is_refused_with_a_sentence(self, core: Service) -> None:
        code, out, err = await script(core, "echo a\necho b\0c\n")
        assert (code, out) == (255, "a\n")
        assert "NUL" in err
        assert "Traceback" not in err

    async def test_commands_get_no_stdin_of_the_scripts(self, core: Service) -> None:
        assert await script(core, "cat\necho still here\n") == (0, "still here\n", "")

    async def test_lines_are_run_as_they_come(self, core: Service) -> None:
        async with running("repl", core.host, env=core.environment, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for text in (b"one\n", b"two\n"):
                process.stdin.write(b"echo " + text)
                assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == text

    async def test_output_comes_while_the_command_runs(self, core: Service, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        async with running("repl", core.host, env=core.environment, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"echo first; cat {fifo}\n".encode())
            assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"first\n"
            await asyncio.to_thread(fifo.write_text, "second\n")
            assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"second\n"

    async def test_nobody_who_reads_is_no_disaster(self, core: Service) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = await farhand("repl", core.host, input=b"yes\necho no", env=core.environment, stdout=writing)
        finally:
            os.close(writing)
        assert (done.code, done.stderr) == (141, b"")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    async def test_a_signal_ends_script_and_command(self, core: Service, number: int, code: int) -> None:
        async with running("repl", core.host, env=core.environment, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"echo $$; exec sleep 1000\necho never\n")
            pid = int(await asyncio.wait_for(process.stdout.readline(), PATIENCE))
            process.send_signal(number)
            assert await asyncio.wait_for(process.wait(), PATIENCE) == code
            assert not Path(f"/proc/{pid}").exists()
            assert await process.stdout.read() == b""

    async def test_a_lost_connection_ends_the_script(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service:
            code, out, err = await script(service, f"echo a\nkill -9 {service.process.pid}; sleep 1000\necho no\n")
        assert (code, out) == (255, "a\n")
        assert "may have run" in err
        assert err.count("farhand: ") == 1, "the line after it was tried"

    async def test_nobody_there_is_a_sentence(self, tmp_path: Path) -> None:
        done = await farhand("repl", f"unix:{tmp_path}/none", input=b"", env=environment(tmp_path))
        assert (done.code, done.stdout) == (255, b"")
        assert done.stderr.startswith(b"farhand: there is no socket")

    async def test_prompt_toolkit_is_not_loaded_for_it(self, core: Service) -> None:
        env = core.environment | {"PYTHONPROFILEIMPORTTIME": "1"}
        done = await farhand("repl", core.host, input=b"true", env=env)
        assert b"farhand_client.repl" in done.stderr
        assert b"prompt_toolkit" not in done.stderr


class Screen:
    """A terminal of tmux with a REPL in it."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]

    def tmux(self, *arguments: str) -> str:
        """Run a command of tmux."""
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True).stdout

    async def open(self, host: str, env: dict[str, str], prompt: str) -> None:
        """Start a REPL in a new terminal and wait for its prompt; when it has ended, its exit code is shown."""
        self.tmux("new-session", "-d", "-x", "100", "-y", "30", self._repl(host, env))
        await self.shows(f"{prompt}~{PROMPT}")

    async def open_again(self, host: str, env: dict[str, str], prompt: str) -> None:
        """Start another in the same terminal, which is empty again."""
        self.tmux("respawn-pane", "-k", self._repl(host, env))
        await self.shows(f"{prompt}~{PROMPT}")

    def _repl(self, host: str, env: dict[str, str]) -> str:
        own = [f"{name}={value}" for name, value in env.items() if name.startswith("XDG_")]
        return f"{shlex.join(['env', *own, *FARHAND, 'repl', host])}; echo left with $?; exec cat"

    def type(self, text: str, *keys: str) -> None:
        """Type text as it is, then keys by tmux's names."""
        if text:
            self.tmux("send-keys", "-l", text)
        if keys:
            self.tmux("send-keys", *keys)

    @property
    def process(self) -> int:
        """The pid of the REPL."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    @property
    def text(self) -> str:
        """What is on the screen, without empty lines."""
        lines = self.tmux("capture-pane", "-p", "-J").split("\n")
        return "\n".join(line.rstrip() for line in lines if line.strip())

    async def shows(self, text: str) -> None:
        """Wait until the screen ends with `text`."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not self.text.endswith(text.rstrip()):  # noqa: ASYNC110  # tmux tells nobody
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"expected at the end: {text!r}; the screen:\n{self.text}")

    async def answers(self, line: str, output: str, prompt: str) -> None:
        """Type a line and wait for what it prints and the next prompt."""
        self.type(line, "Enter")
        await self.shows(f"{line}\n{output}{prompt}")


@pytest.fixture
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """A terminal, with a socket whose path is short enough."""
    made = Screen(tmp_path_factory.mktemp("tmux") / "socket")
    yield made
    with contextlib.suppress(subprocess.CalledProcessError):
        made.tmux("kill-server")


@pytest.fixture
async def state(core: Service, tmp_path: Path) -> dict[str, str]:
    """An environment with a history of its own, and a short prompt."""
    return core.environment | {"XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
async def prompt(core: Service) -> str:
    """What every prompt begins with."""
    name, host = (await script(core, "id -un; uname -n"))[1].split()
    return f"{name}@{host}:"


@pytest.fixture
async def repl(screen: Screen, core: Service, state: dict[str, str], prompt: str) -> Screen:
    """A REPL at its first prompt."""
    await screen.open(core.host, state, prompt)
    return screen


@pytest.mark.needs("tmux")
class TestTerminal:
    async def test_the_prompt_says_where_one_is_and_what_failed(self, repl: Screen, prompt: str) -> None:
        await repl.answers("cd /tmp", "", f"{prompt}/tmp{PROMPT}")
        await repl.answers("sh -c 'exit 3'", "", f"{prompt}/tmp [3]{PROMPT}")
        await repl.answers("kill -SEGV $$", "", f"{prompt}/tmp [SIGSEGV]{PROMPT}")
        await repl.answers("echo well", "well\n", f"{prompt}/tmp{PROMPT}")

    async def test_output_without_a_newline_stays_and_the_prompt_has_its_own_line(
        self, repl: Screen, prompt: str
    ) -> None:
        await repl.answers("printf abc", "abc%\n", f"{prompt}~{PROMPT}")

    async def test_paths_are_completed_and_quoted(self, repl: Screen, prompt: str, tmp_path: Path) -> None:
        (tmp_path / "two words").mkdir()
        (tmp_path / "two words/it's é").write_text("found\n")
        where = f"{prompt}{tmp_path}{PROMPT}"
        repl.type(f"cd {tmp_path}", "Enter")
        await repl.shows(where)
        repl.type("cat tw", "Tab")
        await repl.shows(f"{where}cat two\\ words/")
        repl.type("it", "Tab")
        await repl.shows(f"{where}cat two\\ words/it\\'s\\ é")
        repl.type("", "Enter")
        await repl.shows(f"found\n{where}")

    async def test_typing_goes_on_while_a_completion_is_awaited(self, repl: Screen, prompt: str, core: Service) -> None:
        core.process.send_signal(signal.SIGSTOP)
        try:
            repl.type("ls /us", "Tab")
            repl.type("r/lib is slow")
            async with asyncio.timeout(DEADLINE):  # else it was awaited
                await repl.shows("ls /usr/lib is slow")
        finally:
            core.process.send_signal(signal.SIGCONT)
        repl.type("", "C-c")
        await repl.shows(f"slow\n{prompt}~{PROMPT}")

    async def test_unfinished_lines_go_on_on_the_next(self, repl: Screen, prompt: str) -> None:
        repl.type("for i in 'a", "Enter")
        repl.type('b\'; do echo "$i"', "Enter")
        await repl.shows('> b\'; do echo "$i"\n>')
        repl.type("done", "Enter")
        await repl.shows(f"> done\na\nb\n{prompt}~{PROMPT}")

    async def test_a_paste_of_several_commands_runs_them_all(self, repl: Screen, prompt: str) -> None:
        repl.tmux("set-buffer", "cd /tmp\npwd\nif true\nthen echo yes\nfi")
        repl.tmux("paste-buffer", "-p")
        await repl.shows("> fi")
        repl.type("", "Enter")
        await repl.shows(f"> fi\n/tmp\nyes\n{prompt}/tmp{PROMPT}")

    async def test_control_c_clears_the_line(self, repl: Screen, prompt: str) -> None:
        repl.type("never run 'this", "Enter")
        repl.type("", "C-c")
        await repl.shows(f"{prompt}~{PROMPT}")
        await repl.answers("echo $?", "0\n", f"{prompt}~{PROMPT}")

    async def test_control_c_ends_a_flood_and_not_the_repl(self, repl: Screen, prompt: str) -> None:
        repl.type("yes", "Enter")
        await repl.shows("y\ny\ny")
        repl.type("", "C-c")
        await repl.shows(f"{prompt}~ [SIGINT]{PROMPT}")
        repl.type("", "C-l")
        await repl.answers("echo alive", "alive\n", f"{prompt}~{PROMPT}")

    async def test_a_second_control_c_kills(self, repl: Screen, prompt: str) -> None:
        repl.type("trap 'echo ignored' INT; echo ready; while :; do sleep 1; done", "Enter")
        await repl.shows("ready")
        repl.type("", "C-c")
        await repl.shows("ignored")
        repl.type("", "C-c")
        await repl.shows(f"{prompt}~ [SIGKILL]{PROMPT}")

    async def test_control_d_leaves_with_the_last_code(self, repl: Screen, prompt: str) -> None:
        await repl.answers("sh -c 'exit 3'", "", f"{prompt}~ [3]{PROMPT}")
        repl.type("", "C-d")
        await repl.shows("left with 3")

    async def test_a_signal_to_end_leaves_the_terminal_as_it_was(self, repl: Screen) -> None:
        os.kill(repl.process, signal.SIGTERM)
        await repl.shows("left with 143")
        repl.type("echoed", "Enter")
        await repl.shows("echoed\nechoed")

    async def test_exit_leaves(self, repl: Screen) -> None:
        repl.type("exit 9", "Enter")
        await repl.shows("left with 9")

    async def test_the_history_is_there_at_the_next_start(
        self, repl: Screen, core: Service, state: dict[str, str], prompt: str
    ) -> None:
        await repl.answers("echo remember", "remember\n", f"{prompt}~{PROMPT}")
        repl.type("", "C-d")
        await repl.shows("left with 0")
        await repl.open_again(core.host, state, prompt)
        repl.type("", "C-r")
        repl.type("rem")
        await repl.shows("echo remember\nI-search backward: rem")
        repl.type("", "Enter", "Enter")
        await repl.shows(f"echo remember\nremember\n{prompt}~{PROMPT}")

    async def test_a_history_that_cannot_be_written_is_said(
        self, screen: Screen, core: Service, state: dict[str, str], prompt: str
    ) -> None:
        Path(state["XDG_STATE_HOME"]).write_text("in the way")
        await screen.open(core.host, state, prompt)
        assert "farhand: the history " in screen.text
        await screen.answers("echo on", "on\n", f"{prompt}~{PROMPT}")

    async def test_a_lost_connection_is_said_and_made_again(
        self, screen: Screen, tmp_path: Path, state: dict[str, str], prompt: str
    ) -> None:
        async with running_service(tmp_path) as service:
            await screen.open(service.host, state, prompt)
            await screen.answers("cd /tmp", "", f"{prompt}/tmp{PROMPT}")
            screen.type("echo under way; sleep 1000", "Enter")
            await screen.shows("\nunder way")
            service.process.kill()
            await screen.shows(f"{prompt}/tmp [255]{PROMPT}")
            assert "the command may have run" in screen.text
            screen.type("echo nobody", "Enter")
            await screen.shows(f"is farhandd running?\n{prompt}/tmp [255]{PROMPT}")
            assert "connecting again" not in screen.text, "the loss was said twice"
        async with running_service(tmp_path):
            screen.type("", "C-l")
            await screen.answers("pwd", "/tmp\n", f"{prompt}/tmp{PROMPT}")

    async def test_a_service_that_goes_away_is_said(
        self, screen: Screen, tmp_path: Path, state: dict[str, str], prompt: str
    ) -> None:
        async with running_service(tmp_path) as service:
            await screen.open(service.host, state, prompt)
            screen.type("echo under way; sleep 1000", "Enter")
            await screen.shows("\nunder way")
            service.process.terminate()
            screen.type("", "C-c")
            await screen.shows(f"[SIGINT]{PROMPT}")
            assert "is going away" in screen.text
