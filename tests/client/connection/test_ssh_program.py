"""Which program is ssh, and what it is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from farhand_client.connection.address import resolve
from farhand_client.connection.ssh_program import REMOTE_COMMAND, find_ssh, ssh_words
from farhand_client.errors import ConnectError


def program(path: Path, text: str = "#!/bin/sh\n") -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_first_ssh_in_path_that_is_no_shim_of_ours_is_it(tmp_path: Path) -> None:
    program(tmp_path / "a/ssh", '#!/bin/sh\nexec /usr/bin/farhand rsh "$@"\n')
    real = program(tmp_path / "b/ssh", "\x7fELF farhand")
    assert find_ssh({"PATH": f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b"}) == real


def test_another_program_can_be_named(tmp_path: Path) -> None:
    other = program(tmp_path / "a/other")
    assert find_ssh({"PATH": f"{tmp_path}/a", "FARHAND_SSH": other}) == other
    assert find_ssh({"PATH": f"{tmp_path}/a", "FARHAND_SSH": "other"}) == other
    with pytest.raises(ConnectError, match="FARHAND_SSH is /nowhere, which is not a program that can be run"):
        find_ssh({"PATH": f"{tmp_path}/a", "FARHAND_SSH": "/nowhere"})


def test_without_one_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="there is no ssh in PATH; install OpenSSH's client, or name the program in"):
        find_ssh({"PATH": str(tmp_path)})


def test_user_and_port_are_sshs_own_unless_they_are_written() -> None:
    words = ssh_words("/usr/bin/ssh", resolve("ssh:web"), asks=False, own=False, timeout=29.6)
    assert words[-3:] == ["--", "web", REMOTE_COMMAND]
    assert not {"-p", "-l"} & {*words}
    words = ssh_words("/usr/bin/ssh", resolve("ssh:ann@[::1]:2222"), asks=True, own=True, timeout=0.1)
    assert words[-7:] == ["-p", "2222", "-l", "ann", "--", "::1", REMOTE_COMMAND]
    assert {"BatchMode=no", "ConnectTimeout=1", "ControlPath=none"} <= {*words}


def test_whatever_the_configuration_says_for_other_uses_is_off(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("LocalForward 1 x:2\nRemoteCommand x\nForwardAgent yes\nRequestTTY force\nControlMaster auto\n")
    words = ssh_words("ssh", resolve("ssh:web"), asks=False, own=False, timeout=30)
    settings = subprocess.run(
        [words[0], "-F", file, *words[1:-3], "-G", "web"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.splitlines()
    for line in ("batchmode yes", "forwardagent no", "requesttty false", "connecttimeout 30", "controlmaster false"):
        assert line in settings
    assert not [line for line in settings if line.startswith(("localforward", "remotecommand"))]


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "fish", "zsh", "tcsh"])
def test_the_command_means_the_same_to_every_shell(shell: str, tmp_path: Path) -> None:
    """In a home where `farhand up` has installed it."""
    from shutil import which

    found = which(shell)
    if found is None:
        return  # one of those that are there is enough for each; sh always is
    program(tmp_path / "farhandd", '#!/bin/sh\necho "$@"\n')
    installed = tmp_path / ".local/share/farhand/current/bin"
    installed.mkdir(parents=True)
    (tmp_path / "farhandd").rename(installed / "farhandd")
    done = subprocess.run(
        [found, "-c", REMOTE_COMMAND],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"stdio\n", done.stderr
