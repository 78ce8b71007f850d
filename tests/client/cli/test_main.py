"""`farhand` gives help, and every mistake a sentence and a code."""

from __future__ import annotations

import pytest

from tests.support.command import farhand
from tests.support.fake_service import FakeService


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (["run", "unix:/nowhere/s", "ls"], 255, b"there is no socket at /nowhere/s"),
        (["run", "a:b:c", "ls"], 2, b"in brackets"),
        (["run", "--status-json", "/nowhere/s", "unix:/nowhere/s", "ls"], 255, b"the status cannot be written"),
        (["run"], 2, b"HOST is missing"),
        (["nope"], 2, b"there is no command 'nope'"),
        ([], 2, b"a command is needed"),
        (["ping", "unix:/nowhere/s"], 255, b"there is no socket"),
        (["trust", "unix:/nowhere/s"], 2, b"has no key; the kernel vouches for it"),
        (["local", "-x"], 2, b"there is no option -x"),
    ],
)
async def test_mistakes_get_a_sentence_and_no_traceback(line: list[str], code: int, sentence: bytes) -> None:
    done = await farhand(*line)
    assert (done.code, done.stdout) == (code, b"")
    assert sentence in done.stderr
    assert b"Traceback" not in done.stderr


async def test_help_and_version_are_for_stdout() -> None:
    assert (await farhand("--version")).stdout.startswith(b"farhand 0.")
    for line in (["--help"], ["run", "--help"], ["ping", "--help"], ["trust", "--help"], ["local", "--help"]):
        done = await farhand(*line)
        assert (done.code, done.stderr) == (0, b"")
        assert b"usage: farhand" in done.stdout


async def test_ping_says_who_answers(service: FakeService) -> None:
    done = await farhand("ping", "-c", "2", service.host)
    assert done.code == 0
    first, second, *times, summary = done.stdout.decode().splitlines()
    assert first == f"{service.host}: ann on fake"
    assert second == "fake/1, protocol 1, features: none"
    assert [line.split()[:2] for line in times] == [["round", "trip"]] * 2
    assert summary.startswith("least ")
