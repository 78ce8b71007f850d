"""`farhand rsh`: what each option of ssh asks of the service, and what is said where nothing is asked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from farhand_client import Exited, Signaled
from farhand_client.cli.rsh import SSH_VERSION
from tests.support.command import Finished, farhand
from tests.support.fake_service import FakeRun, FakeService


@pytest.fixture
def named(service: FakeService, tmp_path: Path) -> dict[str, str]:
    """An environment in which the service is called web; it can leave processes running, as sshd does."""
    service.features = ("left-processes",)
    config = tmp_path / "config"
    (config / "farhand").mkdir(parents=True)
    (config / "farhand/config.toml").write_text(f'[hosts.web]\naddress = "{service.host}"\n')
    return {**os.environ, "XDG_CONFIG_HOME": str(config), "FARHAND_SSH_CONFIG": "none"}


async def rsh(named: dict[str, str], *words: str, input: bytes | None = None) -> Finished:
    return await farhand("rsh", *words, env=named, input=input)


async def test_the_words_of_a_command_are_text_for_the_shell(service: FakeService, named: dict[str, str]) -> None:
    assert (await rsh(named, "web", "echo", "a  b", "$HOME")).code == 0
    request = service.runs[0].request
    assert (request.shell, request.argv, request.login) == (b"echo a  b $HOME", None, False)
    assert request.leave_processes


async def test_without_a_command_it_is_a_login_shell(service: FakeService, named: dict[str, str]) -> None:
    assert (await rsh(named, "-T", "web", input=b"exit\n")).code == 0
    assert service.runs[0].request.login
    assert service.runs[0].request.terminal is None


async def test_a_terminal_is_requested_with_tt(service: FakeService, named: dict[str, str]) -> None:
    done = await rsh(named, "-tt", "web", "tty")
    assert service.runs[0].request.terminal is not None
    assert done.stderr.endswith(b"Connection to web closed.\n")


async def test_variables_are_sent(service: FakeService, named: dict[str, str]) -> None:
    await rsh({**named, "LC_TEST": "x"}, "-oSetEnv=A=1", "-oSendEnv=LC_TEST", "web", "env")
    assert dict(service.runs[0].request.env) == {b"A": b"1", b"LC_TEST": b"x"}


async def test_n_closes_stdin(service: FakeService, named: dict[str, str]) -> None:
    await rsh(named, "-n", "web", "cat", input=b"never read")
    assert service.runs[0].request.stdin is False


async def test_a_subsystem_is_a_program(service: FakeService, named: dict[str, str]) -> None:
    await rsh(named, "web", "-s", "sftp")
    argv = service.runs[0].request.argv
    assert argv is not None
    assert (argv[0], b"/usr/lib/openssh/sftp-server" in argv[2]) == (b"/bin/sh", True)
    done = await rsh(named, "-s", "web", "other")
    assert (done.code, b"no subsystem 'other'" in done.stderr) == (255, True)


@pytest.mark.parametrize(("outcome", "code"), [(Exited(code=7), 7), (Signaled(signal=9), 255)])
async def test_the_exit_code_is_that_of_the_command_or_255(
    service: FakeService, named: dict[str, str], outcome: Exited | Signaled, code: int
) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(outcome)

    service.behave = behave
    assert (await rsh(named, "web", "a command")).code == code


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["-V"], 0, SSH_VERSION),
        (["-Q", "cipher"], 0, "TLS_AES_256_GCM_SHA384"),
        (["-Q", "nothing"], 255, 'Unsupported query "nothing"'),
        (["--help"], 0, "rsync -a -e 'farhand rsh'"),
        ([], 255, "usage: "),
        (["-G", "web"], 0, "hostname web"),
        (["-oNothing=1", "web", "true"], 255, "Bad configuration option: nothing"),
        (["-w0:0", "web", "true"], 255, "forward ports with -L, -R or -D"),
        (["-O", "check", "web"], 255, "Control socket connect"),
        (["-L", "1", "web", "true"], 255, "Bad local forwarding specification '1'"),
        (["-f", "web"], 255, "Cannot fork into background without a command to execute."),
        (["-E", "/nonexistent/log", "web", "true"], 255, "Couldn't open logfile /nonexistent/log"),
    ],
)
async def test_what_asks_nothing_of_the_service(
    service: FakeService, named: dict[str, str], words: list[str], code: int, says: str
) -> None:
    done = await rsh(named, *words)
    assert (done.code, says in (done.stdout + done.stderr).decode()) == (code, True), done
    assert service.runs == []


async def test_messages_go_where_e_says(named: dict[str, str], tmp_path: Path) -> None:
    done = await rsh(named, "-E", str(tmp_path / "log"), "-oBatchMode=yes", "-J", "none.invalid", "web", "true")
    assert (done.code, done.stderr) == (255, b"")
    assert "none.invalid" in (tmp_path / "log").read_text()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600, "as ssh makes it"
    assert (await rsh(named, "-q", "-J", "none.invalid", "web", "true")).code == 255


async def test_f_returns_once_the_command_has_started(service: FakeService, named: dict[str, str]) -> None:
    assert (await rsh(named, "-f", "web", "sleep 1")).code == 0
    assert service.runs[0].request.shell == b"sleep 1"
    assert service.runs[0].request.stdin is False


@pytest.mark.parametrize("words", [["-N", "-L", "0:localhost:1"], ["-W", "localhost:1"], ["-L", "0:a:1", "-v"]])
async def test_an_old_service_that_makes_no_tunnels_is_told(
    service: FakeService, named: dict[str, str], words: list[str]
) -> None:
    done = await rsh(named, *words, "web", *([] if words[0] in ("-N", "-W") else ["true"]))
    assert (done.code, b"forward" in done.stderr) == (255, True)
