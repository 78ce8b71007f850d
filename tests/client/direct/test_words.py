"""Which command lines take the direct path, and that they request the same run as the parser of `farhand run`."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.cli import run as cli_run
from farhand_client.direct.deadline import NotDirectError
from farhand_client.direct.words import plain_command
from farhand_client.options import RunOptions
from farhand_protocol import messages as m
from tests.support.fake_runs import ID

PLAIN = [
    "web ls",
    "web -- ls -l --color",
    "web ls -- x",
    "-- web -- -x",
    "-i web cat",
    "-n -T --merge web sh -c x",
    "--shell web x|y",
    "--shell -- web -- -x",
    "--cwd src/app web make",
    "--cwd=src/app --timeout=1.5m web make",
    "--timeout 600 --idle-timeout 30s --kill-after 0 web make",
    "-e A=1 --env B= -e A=2 -e NOT_SET_ANYWHERE -e PATH web env",
    "-e A==b -e C=d=e web env",
    "--on-disconnect keep --grace 5m web x",
    f"--id {ID} web x",
    "--leave-processes web x",
    "--limit memory=1.5G,cpu=1m,processes=7 --limit=output=0,file-size=2MB,files=64,processes=8 web x",
    "--buffer block web x",
    "--buffer spool=64K web x",
    "--reconnect 0 --connect-timeout 5 -I key --identity=other web x",
]


def parsed(line: Sequence[str], default: str | None) -> tuple[str, m.RunRequest]:
    """Return HOST and the request that `farhand run` makes of a command line."""
    found: list[tuple[str, m.RunRequest]] = []

    def execute(typed: object, options: object, *others: object) -> int:
        command = cli_run.remote_command(typed.words, options)  # type: ignore[attr-defined,arg-type]
        assert isinstance(command.options, RunOptions)
        found.append((typed.host, command.options.request(command.args, stdin=command.stdin)))  # type: ignore[attr-defined,arg-type]
        return 0

    with (
        patch.object(cli_run, "_execute", execute),
        patch.object(cli_run, "default_host", lambda: default),
        patch.object(cli_run, "required_default", lambda parser: default),
    ):
        assert cli_run.run_command(line) == 0
    return found[0]


def same(line: Sequence[str], default: str | None = None) -> None:
    command = plain_command(line, lambda: default)
    host, request = parsed(line, default)
    mine = m.RunRequest(**command.request)
    mark = {"id": ID, "attachment": b"a" * 16}
    assert (command.host, mine.model_copy(update=mark)) == (host, request.model_copy(update=mark))


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_line_requests_what_the_parser_makes_of_it(line: str) -> None:
    same(line.split())


@pytest.mark.parametrize("line", ["-- ls -l", "-n -- ls", "web -- ls", "-- web -- ls", "-- -x"])
def test_a_default_host_takes_the_place_of_the_one_that_is_left_out(line: str) -> None:
    same(line.split(), "usual")


def test_arguments_arrive_byte_for_byte() -> None:
    same(["web", "printf", "", "a b", "\udcff", "new\nline", "é"])


WORDS = [
    "-i",
    "-n",
    "-e",
    "A=1",
    "--cwd",
    "d",
    "--timeout",
    "5",
    "--merge",
    "--shell",
    "--",
    "web",
    "x",
    "-t",
    "--nope",
]
WORDS += ["-in", "--cwd=e", "''", "-"]


@given(st.lists(st.sampled_from(WORDS), max_size=7), st.sampled_from([None, "usual"]))
def test_no_line_is_understood_otherwise_than_by_the_parser(line: list[str], default: str | None) -> None:
    try:
        plain_command(line, lambda: default)
    except NotDirectError:
        return
    same(line, default)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "web",
        "-- web",
        "--help",
        "-t web top",
        "--detach web x",
        "-in web x",
        "-eA=1 web x",
        "-e",
        "-e -x web x",
        "-e =x web x",
        "--cwd",
        "--cwd --merge web x",
        "--merge=yes web x",
        "--timeout 0 web x",
        "--timeout 1e-9 web x",
        "--timeout soon web x",
        "--timeout 4000d web x",
        "--on-disconnect stay web x",
        "--id 1 web x",
        "--shell web a b",
        "-i -n web x",
        "--buffer spool web x",
        "--buffer spool=1K web x",
        "--limit memory=0 web x",
        "--limit processes=0 web x",
        "--limit cpu=0 web x",
        "--limit output=soon web x",
        "--limit output=9223372036854775808 web x",
        "--limit memory web x",
        "--limit threads=1 web x",
        "--status-json - web x",
        "--unknown web x",
        "--un=known web x",
    ],
)
def test_whatever_is_rare_or_wrong_is_left_to_the_parser(line: str) -> None:
    with pytest.raises(NotDirectError):
        plain_command(line.split(), lambda: None)


def test_what_is_not_part_of_the_request() -> None:
    command = plain_command(["-n", "-I", "a", "-I", "b", "--connect-timeout", "2", "web", "x"], lambda: None)
    assert (command.identities, command.connect_timeout, command.says_unread) == (["a", "b"], 2.0, False)
    assert (command.stdin, command.kept, command.kill_after) == (False, False, 5.0)
    command = plain_command(["-i", "--on-disconnect", "keep", "--kill-after", "1", "web", "x"], lambda: None)
    assert (command.stdin, command.kept, command.kill_after) == (True, True, 1.0)
