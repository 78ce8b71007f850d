"""What a shell reports, and the state in which the next line runs. The shells are real, as far as installed."""

import subprocess
from pathlib import Path

import pytest

from farhand_client.repl.shell_state import ShellReport, ShellState, reporting_script

SHELLS = [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("sh", "bash")]
SHELLS += [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("dash",)]
HOME = b"/home/ada"


def run(shell: str, state: ShellState, script: bytes, home: Path) -> subprocess.CompletedProcess[bytes]:
    """Run `script` as the service would."""
    args, as_script = state.command(script)
    argv = [shell, "-c", args] if as_script else args
    env = {b"HOME": bytes(home), b"SHELL": shell.encode(), b"PATH": b"/usr/bin:/bin", b"LANG": b"C.UTF-8"}
    env.update(state.environment)
    return subprocess.run(argv, cwd=state.directory or home, env=env, capture_output=True, check=False)  # type: ignore[arg-type]  # bytes and str


def change(shell: str, state: ShellState, command: bytes, home: Path) -> bytes:
    """Run a command that changes the state; return what it printed."""
    script, marker = reporting_script(command)
    done = run(shell, state, script, home)
    assert done.returncode == 0, done.stderr
    _, before, printed, after = done.stdout.split(marker)
    state.apply_changes(ShellReport.parse(before), ShellReport.parse(after))
    return printed


@pytest.mark.parametrize("shell", SHELLS)
class TestShell:
    def test_a_directory_is_kept_with_the_path_by_which_it_was_reached(self, shell: str, tmp_path: Path) -> None:
        odd = tmp_path / "a b\n$c"
        odd.mkdir()
        (tmp_path / "link").symlink_to(odd)
        state = ShellState()
        change(shell, state, b"cd link", tmp_path)
        assert run(shell, state, b"pwd; pwd -P", tmp_path).stdout == f"{tmp_path}/link\n{odd}\n".encode()
        assert (state.shown_directory, state.previous) == ("~/link", bytes(tmp_path))
        change(shell, state, b"cd ..", tmp_path)
        assert state.shown_directory == "~"

    def test_exported_variables_are_kept(self, shell: str, tmp_path: Path) -> None:
        state = ShellState()
        change(shell, state, b"export A='x\n  y' B=$HOME", tmp_path)
        assert state.variables == {b"A": b"x\n  y", b"B": bytes(tmp_path)}
        assert run(shell, state, b'printf "[%s]" "$A"', tmp_path).stdout == b"[x\n  y]"

    def test_a_variable_that_the_service_provides_can_be_unset(self, shell: str, tmp_path: Path) -> None:
        state = ShellState()
        change(shell, state, b"export A=1", tmp_path)
        change(shell, state, b"unset A LANG", tmp_path)
        assert run(shell, state, b'echo "${A-gone} ${LANG-gone}"', tmp_path).stdout == b"gone gone\n"
        change(shell, state, b"export LANG=C", tmp_path)
        assert run(shell, state, b"echo $LANG", tmp_path).stdout == b"C\n"

    def test_a_command_that_fails_is_not_followed_by_a_report(self, shell: str, tmp_path: Path) -> None:
        script, marker = reporting_script(b"cd nowhere")
        done = run(shell, ShellState(), script, tmp_path)
        assert done.returncode != 0
        assert len(done.stdout.split(marker)) == 3
        assert b"nowhere" in done.stderr

    def test_the_last_exit_code_is_in_the_shells_variable(self, shell: str, tmp_path: Path) -> None:
        assert run(shell, ShellState(code=37), b"echo $?", tmp_path).stdout == b"37\n"


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
def test_the_home_directory_is_shown_as_a_tilde(shown: bytes | None, where: str) -> None:
    assert ShellState(logical_directory=shown, directory=shown, home=HOME).shown_directory == where


def test_a_home_directory_of_slash_is_not_abbreviated() -> None:
    assert ShellState(logical_directory=b"/etc", directory=b"/etc", home=b"/").shown_directory == "/etc"


def test_pwd_is_set_only_if_the_path_contains_symbolic_links() -> None:
    assert ShellState(directory=b"/a", logical_directory=b"/a").environment == {}
    assert ShellState(directory=b"/a", logical_directory=b"/l").environment == {b"PWD": b"/l"}


@pytest.mark.parametrize("data", [b"", b"nothing"])
def test_anything_but_a_report_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="unpack"):
        ShellReport.parse(data)
