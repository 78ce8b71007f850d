"""The REPL at a terminal: what its user types and sees, on a real terminal."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import end_of
from tests.support.service import Service
from tests.support.tmux import COLUMNS, WHO, Screen, at

pytestmark = pytest.mark.needs("tmux")

PATIENT = """\
import sys
from farhand_client.cli import main
from farhand_client.repl import completer
completer.COMPLETION_TIMEOUT = 3600.0
sys.exit(main())
"""
"""`farhand` whose REPL never gives up a completion: what waits for it is not shown."""


class TestLine:
    async def test_the_prompt_shows_the_directory_and_the_last_failure(self, repl: Screen) -> None:
        await repl.answers("cd /tmp", "", at("/tmp"))
        await repl.answers("sh -c 'exit 3'", "", at("/tmp", " [3]"))
        await repl.answers("kill -SEGV $$", "", at("/tmp", " [SIGSEGV]"))
        await repl.answers("echo well", "well\n", at("/tmp"))
        repl.type("sleep 1; echo slept", "Enter")
        await repl.shows(f"slept\n{at('/tmp')}")
        assert re.search(re.escape(f"{WHO}:/tmp [") + r"[\d.m]+s\][#$]\Z", repl.timed_text)

    async def test_the_branch_is_shown_without_git_and_escaped(self, repl: Screen, tmp_path: Path) -> None:
        (tmp_path / "repo/.git").mkdir(parents=True)
        (tmp_path / "repo/src").mkdir()
        head = tmp_path / "repo/.git/HEAD"
        head.write_text("ref: refs/heads/fix/Ü\x1b]0;x\x07\n")
        await repl.answers(f"cd {tmp_path}/repo/src", "", at(f"{tmp_path}/repo/src", " (fix/Ü\\x1b]0;x\\x07)"))
        head.write_text("0123456789abcdef\n")
        await repl.answers("true", "", at(f"{tmp_path}/repo/src", " (0123456)"))
        await repl.answers("cd /tmp", "", at("/tmp"))

    async def test_output_without_a_newline_is_kept_above_the_prompt(self, repl: Screen) -> None:
        await repl.answers("printf abc", "abc%\n", at())

    async def test_programs_have_a_terminal_of_the_same_size(self, repl: Screen) -> None:
        await repl.answers("stty size; test -t 0 && echo $TERM", f"30 {COLUMNS}\ntmux-256color\n", at())

    async def test_program_output_passes_unchanged_and_our_own_text_is_escaped(
        self, repl: Screen, tmp_path: Path
    ) -> None:
        await repl.answers("printf 'a\\033[1D\\033[Kb\\n'", "b\n", at())
        (tmp_path / "evil\x1b]0;x\x07").mkdir()
        shown = f"{tmp_path}/evil\\x1b]0;x\\x07"
        repl.type(f"cd {tmp_path}/evil*", "Enter")
        await repl.shows(at(shown))
        await repl.answers(":cd", f"{shown}\n", at(shown))

    @pytest.mark.needs("vim")
    async def test_a_full_screen_program_works_and_the_screen_is_restored(self, repl: Screen, tmp_path: Path) -> None:
        file = tmp_path / "file"
        repl.type(f"vim -u NONE {file}", "Enter")
        await repl.matches(r"^~$")
        repl.type("iwritten by hand")
        await repl.matches("^written by hand$")
        repl.type("", "Escape")
        repl.type(":wq", "Enter")
        await repl.shows(f"vim -u NONE {file}\n{at()}")
        assert file.read_text() == "written by hand\n"
        await repl.answers("echo on", "on\n", at())

    async def test_ctrl_c_ends_a_flood_of_output_and_not_the_repl(self, repl: Screen) -> None:
        repl.type("yes", "Enter")
        await repl.shows("y\ny\ny")
        repl.type("", "C-c")
        await repl.shows(at("~", " [SIGINT]"))
        repl.type("", "C-l")
        await repl.answers("echo alive", "alive\n", at())

    async def test_a_program_that_ignores_ctrl_c_can_be_left(self, repl: Screen) -> None:
        repl.type("trap 'echo ignored' INT; echo ready $$; while :; do sleep 1; done", "Enter")
        pid = int((await repl.matches(r"^ready (\d+)$"))[1])
        repl.type("", "C-c")
        await repl.shows("ignored")
        repl.type("", "Enter")
        repl.type("~.")
        await repl.shows(at("~", " [SIGINT]"))
        assert "the service stops it" in repl.text
        await end_of(pid)


class TestTyping:
    async def test_paths_are_completed_and_quoted(self, repl: Screen, tmp_path: Path) -> None:
        (tmp_path / "two words").mkdir()
        (tmp_path / "two words/it's é").write_text("found\n")
        (tmp_path / "two words/.hidden").touch()
        where = at(tmp_path)
        repl.type(f"cd {tmp_path}", "Enter")
        await repl.shows(where)
        repl.type("cat tw", "Tab")
        await repl.shows(f"{where}cat two\\ words/")
        repl.type("it", "Tab")
        await repl.shows(f"{where}cat two\\ words/it\\'s\\ é")
        repl.type("", "Enter")
        await repl.shows(f"found\n{where}")
        repl.type("ls two\\ words/.", "Tab")
        await repl.shows(f"{where}ls two\\ words/.hidden")

    @pytest.mark.needs("bash")
    async def test_options_variables_and_accounts_are_completed(self, repl: Screen, tmp_path: Path) -> None:
        (tmp_path / "functions").write_text("complete -W '--almost --always start' tool\n")
        await repl.answers(f"export BASH_COMPLETION={tmp_path}/functions", "", at())
        repl.type("tool --alm", "Tab")
        await repl.shows(f"{at()}tool --almost")
        repl.type("sta", "Tab")
        await repl.shows(f"{at()}tool --almost start")
        repl.type("$BASH_COMPL", "Tab")
        await repl.shows(f"{at()}tool --almost start $BASH_COMPLETION")
        repl.type(f" ~{WHO.partition('@')[0][:-1]}", "Tab")
        await repl.matches(re.escape(f" ~{WHO.partition('@')[0]}"))

    async def test_commands_of_the_repl_are_completed_with_a_summary_of_each(self, repl: Screen) -> None:
        repl.type(":", "Tab")
        await repl.matches(r"\battach +show a run")
        repl.type("jo", "Tab")
        await repl.shows(f"{at()}:jobs")

    async def test_typing_continues_while_a_completion_is_pending(
        self, screen: Screen, own: dict[str, str], core: Service
    ) -> None:
        screen.run(sys.executable, "-c", PATIENT, "repl", "web", env=own)
        await screen.shows(at())
        core.process.send_signal(signal.SIGSTOP)
        try:
            screen.type("ls /us", "Tab")
            screen.type("r/lib is slow")
            await screen.shows("ls /usr/lib is slow")
        finally:
            core.process.send_signal(signal.SIGCONT)
        screen.type("", "C-c")
        await screen.shows(f"slow\n{at()}")

    async def test_an_unfinished_line_continues_on_the_next(self, repl: Screen) -> None:
        repl.type("for i in 'a", "Enter")
        repl.type('b\'; do echo "$i"', "Enter")
        await repl.shows('> b\'; do echo "$i"\n>')
        repl.type("done", "Enter")
        await repl.shows(f"> done\na\nb\n{at()}")

    async def test_pasted_commands_run_with_enter_and_not_before(self, repl: Screen) -> None:
        repl.tmux("set-buffer", "cd /tmp\npwd\nif true\nthen echo yes\nfi\n")
        repl.tmux("paste-buffer", "-p")
        await repl.shows("> fi\n>")
        repl.type("", "Enter")
        await repl.shows(f"> fi\n>\n/tmp\nyes\n{at('/tmp')}")

    async def test_ctrl_c_clears_the_line(self, repl: Screen) -> None:
        repl.type("never run 'this", "Enter")
        repl.type("", "C-c")
        await repl.shows(at())
        await repl.answers("echo $?", "0\n", at())

    async def test_a_mistyped_command_is_reported_with_the_nearest_one(self, repl: Screen) -> None:
        await repl.answers(":job", "farhand: there is no command :job; did you mean :jobs?\n", at("~", " [1]"))
        await repl.answers(": a comment for the shell", "", at())

    async def test_directory_and_variables_can_be_set_literally(self, repl: Screen) -> None:
        await repl.answers(":env A='$HOME x' -LANG", "", at())
        await repl.answers('echo "$A" ${LANG-none}', "$HOME x none\n", at())
        await repl.answers(":env", "A='$HOME x'\n-LANG\n", at())


class TestLeaving:
    async def test_ctrl_d_leaves_with_the_last_exit_code(self, repl: Screen) -> None:
        await repl.answers("sh -c 'exit 3'", "", at("~", " [3]"))
        repl.type("", "C-d")
        await repl.shows("left with 3")

    async def test_exit_leaves(self, repl: Screen) -> None:
        repl.type("exit 9", "Enter")
        await repl.shows("left with 9")

    async def test_sigterm_restores_the_terminal(self, repl: Screen) -> None:
        os.kill(repl.process, signal.SIGTERM)
        await repl.shows("left with 143")
        repl.type("echoed", "Enter")
        await repl.shows("echoed\nechoed")

    async def test_a_signal_while_a_program_runs_restores_the_terminal_and_leaves_the_run(
        self, repl: Screen, own: dict[str, str]
    ) -> None:
        repl.type("echo begun; stty raw; cat", "Enter")
        await repl.shows("begun")
        os.kill(repl.process, signal.SIGTERM)
        await repl.matches(r"^farhand: left run [0-9a-f-]+ running$")
        await repl.shows("left with 143")
        repl.type("echoed", "Enter")
        await repl.shows("echoed\nechoed")
        await repl.open_again("web", own)
        repl.type(":jobs", "Enter")
        run = (await repl.matches(r"^([0-9a-f-]+)  running .*  echo begun; stty raw; cat$"))[1]
        repl.type(f":kill {run}", "Enter")
        await repl.shows(f"farhand: [{run}] stopped\n{at()}")


class TestHistory:
    async def test_the_history_is_available_at_the_next_start_and_to_other_sessions(
        self, repl: Screen, own: dict[str, str]
    ) -> None:
        await repl.answers("echo remember", "remember\n", at())
        file = Path(own["XDG_STATE_HOME"], "farhand/histories/web")
        assert file.read_text() == "echo remember\n"
        with file.open("a") as other:
            other.write("echo from another prompt\n")
        await repl.answers("true", "", at())
        await repl.recalls(f"{at()}true")
        repl.type("", "Up")
        await repl.shows(f"{at()}echo from another prompt")
        repl.type("", "C-c", "C-d")
        await repl.shows("left with 0")
        await repl.open_again("web", own)
        await repl.recalls(f"{at()}true")  # the history is loaded; a search before finds nothing
        repl.type("", "C-r")
        repl.type("rem")
        await repl.shows("echo remember\nI-search backward: rem")
        repl.type("", "Enter", "Enter")
        await repl.shows(f"echo remember\nremember\n{at()}")

    async def test_a_history_that_cannot_be_written_is_reported(self, screen: Screen, own: dict[str, str]) -> None:
        Path(own["XDG_STATE_HOME"]).write_text("in the way")
        await screen.open("web", own)
        assert screen.text.startswith("farhand: the history ")
        await screen.answers("echo on", "on\n", at())
        await screen.recalls(f"{at()}echo on")
        assert screen.text.count("the history") == 1

    async def test_a_damaged_history_is_reported_and_its_readable_lines_are_used(
        self, screen: Screen, own: dict[str, str]
    ) -> None:
        file = Path(own["XDG_STATE_HOME"], "farhand/histories/web")
        file.parent.mkdir(parents=True)
        file.write_bytes(b"echo good\n\xff\xfe\0\n\x1b[2J\n")
        await screen.open("web", own)
        await screen.recalls(f"{at()}^[[2J")
        screen.type("", "Up")
        await screen.shows(f"{at()}echo good")
        screen.type("", "Enter")
        await screen.matches(r"^farhand: skipped 1 line with NUL bytes in the history .*, which is damaged$")

    async def test_a_line_of_any_characters_is_run_recalled_and_drawn_so_that_it_can_be_seen(
        self, screen: Screen, own: dict[str, str]
    ) -> None:
        await screen.open("web", own)
        line = "printf %s a\u3000b\u2028c\u202ed\u200be | wc -c"
        shown = f"{at()}printf %s a\u3000b<2028>c<202e>d<200b>e | wc -c"
        screen.type(line)
        await screen.shows(shown)
        screen.type("", "Enter")
        await screen.shows(f"17\n{at()}")
        screen.type("", "C-d")
        await screen.shows("left with 0")
        await screen.open_again("web", own)
        await screen.recalls(shown)
        screen.type("", "Enter")
        await screen.shows(f"17\n{at()}")

    async def test_a_line_from_the_history_is_suggested_and_taken(self, repl: Screen) -> None:
        await repl.answers("echo one two", "one two\n", at())
        repl.type("echo")
        await repl.shows(f"{at()}echo one two")
        repl.type("", "M-f", "C-u")
        await repl.shows(at())
        repl.type("ec")
        await repl.shows(f"{at()}echo one two")
        repl.type("", "Right", "Enter")
        await repl.shows(f"{at()}echo one two\none two\n{at()}")
        repl.type("echo ")
        await repl.shows(f"{at()}echo one two")
        repl.type("", "Enter")
        await repl.shows(f"{at()}echo\n{at()}")
