"""`farhand rsh` is ssh's command line over Farhand."""

from __future__ import annotations

import pytest

from tests.support.command import farhand
from tests.support.service import Service


@pytest.mark.parametrize(
    ("words", "code", "stdout"),
    [
        (["echo", "a  b", "'c  d'", "$((1+1))"], 0, b"a b c  d 2\n"),
        (["cat; echo $?"], 0, b"in0\n"),
        (["exit 7"], 7, b""),
        (["kill -9 $$"], 255, b""),
        (["no-such-program-at-all 2>&1 | grep -c such; exit 127"], 127, b"1\n"),
        ([], 3, b"hello\n"),
    ],
)
async def test_a_command_runs_as_over_ssh(service: Service, words: list[str], code: int, stdout: bytes) -> None:
    given = b"in" if words else b"echo hello; exit 3\n"
    done = await farhand("rsh", "-T", service.host, *words, input=given, env=service.environment)
    assert (done.code, done.stdout, done.stderr) == (code, stdout, b"")
