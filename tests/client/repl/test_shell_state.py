"""What a shell reports, and what the next line finds. The shells are real ones, as far as they are installed."""

import subprocess
from pathlib import Path

import pytest

from farhand_client.repl.shell_state import Report, State, reporting

SHELLS = [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("sh", "bash")]
SHELLS += [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("dash",)]
HOME = b"/home/ada"


def run(shell: str, state: State, script: bytes, home: Path) -> subprocess.CompletedProcess[bytes]:
    """Do what the service does."""
    args, as_script = state.command(script)
    argv = [shell, "-c", args] if as_script else args
    env = {b"HOME": bytes(home), b"SHELL": shell.encode(), b"PATH": b"/usr/bin:/bin", b"LANG": b"C.UTF-8"}
    env.update(state.environment)
    return subprocess.run(argv, cwd=state.directory or home, env=env, capture_output=True, check=False)  # type: ignore[arg-type]  # bytes and str


def change(shell: str, state: State, command: bytes, home: Path) -> bytes:
    """Run a command that changes the state; return what it printed."""
    script, marker = reporting(command)
    done = run(shell, state, script, home)
    assert done.returncode == 0, done.stderr
    before, printed, after = done.stdout.split(marker)
    state.change(Report.parse(before), Report.parse(after))
    return printed


@pytest.mark.parametrize("shell", SHELLS)
class TestShell:
    def test_a_directory_is_carried_over_the_way_it_was_reached(self, shell: str, tmp_path: Path) -> None:
        odd = tmp_path / "a b\n$c"
        odd.mkdir()
        (tmp_path / "link").symlink_to(odd)
        state = State()
        change(shell, state, b"cd link", tmp_path)
        assert run(shell, state, b"pwd; pwd -P", tmp_path).stdout == f"{tmp_path}/link\n{odd}\n".encode()
        assert (state.where, state.previous) == ("~/link", bytes(tmp_path))
        change(shell, state, b"cd ..", tmp_path)
        assert state.where == "~"

    def test_exports_are_carried_over_and_plain_variables_are_not(self, shell: str, tmp_path: Path) -> None:
        state = State()
        change(shell, state, b"export A='x\n  y' B=$HOME", tmp_path)
        assert state.variables == {b"A": b"x\n  y", b"B": bytes(tmp_path)}
        assert run(shell, state, b'printf "[%s]" "$A"', tmp_path).stdout == b"[x\n  y]"

    def test_what_is_unset_is_gone_even_if_the_service_gives_it(self, shell: str, tmp_path: Path) -> None:
        state = State()
        change(shell, state, b"export A=1", tmp_path)
        change(shell, state, b"unset A LANG", tmp_path)
        assert run(shell, state, b'echo "${A-gone} ${LANG-gone}"', tmp_path).stdout == b"gone gone\n"
        change(shell, state, b"export LANG=C", tmp_path)
        assert run(shell, state, b"echo $LANG", tmp_path).stdout == b"C\n"

    def test_a_command_that_fails_reports_nothing_and_keeps_its_code(self, shell: str, tmp_path: Path) -> None:
        script, marker = reporting(b"cd nowhere")
        done = run(shell, State(), script, tmp_path)
        assert done.returncode != 0
        assert len(done.stdout.split(marker)) == 2
        assert b"nowhere" in done.stderr

    def test_the_last_code_is_there_as_a_variable(self, shell: str, tmp_path: Path) -> None:
        assert run(shell, State(code=37), b"echo $?", tmp_path).stdout == b"37\n"


@pytest.mark.parametrize(
    ("shown", "where"),
    [
        (None, "~"),
        (HOME, "~"),
        (HOME + b"/src", "~/src"),
        (HOME + b"x", "/home/adax"),
        (b"/tmp", "/tmp"),
        (b"/t\xffp", "/t\\xffp"),
    ],
)
def test_the_home_is_shown_as_a_tilde(shown: bytes | None, where: str) -> None:
    assert State(shown=shown, directory=shown, home=HOME).where == where


def test_the_root_as_a_home_is_not_abbreviated() -> None:
    assert State(shown=b"/etc", directory=b"/etc", home=b"/").where == "/etc"


def test_the_way_to_a_directory_is_only_sent_where_it_differs() -> None:
    assert State(directory=b"/a", shown=b"/a").environment == {}
    assert State(directory=b"/a", shown=b"/l").environment == {b"PWD": b"/l"}


@pytest.mark.parametrize("data", [b"", b"nothing"])
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="unpack"):
        Report.parse(data)
