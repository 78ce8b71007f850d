"""Wrong usage of `farhand run` is refused before anything is connected."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client.cli.run import run_command
from farhand_protocol.quantities import TIME_FORMS

NO_TIME = f"must be {TIME_FORMS}, not"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ([], "HOST is missing"),
        (["-i"], "HOST is missing"),
        (["web"], "no command after HOST"),
        (["web", "--"], "no command after HOST"),
        (["--shell", "web", "echo", "$HOME"], "--shell takes the script as one argument"),
        (
            ["--timeout", "soon", "web", "ls"],
            f"--timeout: {NO_TIME} 'soon'",
        ),
        (["--timeout", "0", "web", "ls"], "--timeout: must be more than 0, not '0'"),
        (["--timeout", "nan", "web", "ls"], f"{NO_TIME} 'nan'"),
        (
            ["--kill-after", "-1", "web", "ls"],
            f"--kill-after: {NO_TIME} '-1'",
        ),
        (
            ["--reconnect", "x", "web", "ls"],
            f"--reconnect: {NO_TIME} 'x'",
        ),
        (
            ["--grace", "inf", "web", "ls"],
            f"--grace: {NO_TIME} 'inf'",
        ),
        (["-e", "=x", "web", "ls"], "has no name before the equals sign"),
        (["--tim", "3", "web", "ls"], "unrecognized arguments: --tim; did you mean --timeout?"),
        (["--idel-timeout=3", "web", "ls"], "unrecognized arguments: --idel-timeout=3; did you mean --idle-timeout?"),
        (["--nope", "web", "ls"], "unrecognized arguments: --nope\n"),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(line: list[str], sentence: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(line)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert out == ""


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["--id", "7", "web", "ls"], "'7' is not a run id"),
        (["-in", "web", "cat"], "-i passes stdin on and -n does not; they cannot be combined"),
        (["--detach", "-i", "web", "cat"], "--detach gives the command no stdin; use -i --on-disconnect keep"),
        (["--detach", "--on-disconnect", "kill", "web", "ls"], "--detach keeps the run"),
        (["--buffer", "spool", "web", "ls"], "neither block nor spool=SIZE"),
        (["--buffer", "spool=1", "web", "ls"], "neither block nor spool=SIZE (at least 64K)"),
        (["--buffer", "drop", "web", "ls"], "neither block nor spool"),
        (["--limit", "ram=1", "web", "ls"], "'ram=1' is not a limit; known limits: memory=N"),
    ],
)
def test_wrong_usage_of_options_for_kept_runs_is_one_message_and_exit_code_2(
    line: list[str], sentence: str, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(line)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err
