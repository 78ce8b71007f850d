"""stdin, stdout and stderr of `Client.run` are those of `subprocess.run`; what cannot be used is refused beforehand."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client import DEVNULL, PIPE, STDOUT
from farhand_client.redirection import Redirections, check_pipes
from farhand_client.text_codec import TextCodec
from tests.support.fake_runs import echo, printing, run
from tests.support.fake_service import client_of

TEXT = TextCodec("utf-8", "strict", newlines=False)


def redirections(**given: Any) -> Redirections:
    names = ("input", "stdin", "stdout", "stderr", "capture_output", "codec")
    return Redirections.of(**{name: given.get(name) for name in names})


@pytest.fixture
def descriptors() -> Iterator[dict[str, int]]:
    reading, writing = os.pipe()
    directory = os.open("/", os.O_RDONLY)
    yield {"reading": reading, "writing": writing, "directory": directory}
    for number in (reading, writing, directory):
        os.close(number)


def test_the_constants_are_those_of_subprocess() -> None:
    assert (PIPE, STDOUT, DEVNULL) == (subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL)


def test_output_is_captured_unless_it_is_redirected() -> None:
    for given in ({}, {"stdout": PIPE, "stderr": PIPE}, {"capture_output": True}):
        found = redirections(**given)
        assert (found.stdout, found.stderr, found.merge_stderr) == ("capture", "capture", False)
    assert redirections(stdout=DEVNULL).stdout == "discard"
    assert redirections(stderr=STDOUT).merge_stderr


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"input": b"", "stdin": DEVNULL}, ValueError, "input and stdin cannot be combined"),
        ({"capture_output": True, "stdout": PIPE}, ValueError, "capture_output cannot be combined"),
        ({"capture_output": True, "stderr": STDOUT}, ValueError, "capture_output cannot be combined"),
        ({"input": "text"}, TypeError, "input is str; pass bytes, or set text or encoding"),
        ({"input": 7}, TypeError, "input is int; it must be bytes, or str with text or encoding"),
        ({"input": ["a"], "codec": TEXT}, TypeError, "input is list; it must be bytes"),
        ({"stdout": STDOUT}, ValueError, "stdout cannot be STDOUT"),
        ({"stdin": STDOUT}, ValueError, "stdin cannot be STDOUT"),
        ({"stdin": PIPE}, ValueError, "use start, or pass input"),
        ({"stdin": "/tmp"}, TypeError, r"stdin is str; to use a file, open it: open\(path, 'rb'\)"),
        ({"stdin": Path("/tmp")}, TypeError, "stdin is PosixPath; to use a file, open it"),
        ({"stdout": "/tmp/x"}, TypeError, r"stdout is str; to use a file, open it: open\(path, 'wb'\)"),
        ({"stdin": b"data"}, TypeError, "stdin is bytes; pass bytes as input"),
        ({"stdin": [b"data"]}, TypeError, "stdin is list; pass bytes as input"),
        ({"stdin": True}, TypeError, "stdin is bool; it must be PIPE, DEVNULL, or have a file descriptor"),
        ({"stdin": 1.5}, TypeError, "stdin is float"),
        ({"stdin": io.StringIO("x")}, TypeError, "stdin is StringIO, which has no bytes"),
        ({"stdout": io.BytesIO()}, TypeError, "stdout is BytesIO; it must be PIPE, DEVNULL, or have a file descriptor"),
        ({"stderr": print}, TypeError, "stderr is builtin_function_or_method"),
        ({"stdin": 99_999}, ValueError, "stdin is 99999, which is not an open file descriptor"),
        ({"stdin": 2**70}, ValueError, "which is not an open file descriptor"),
        ({"stdout": -7}, ValueError, "stdout is -7, which is not an open file descriptor"),
    ],
)
def test_what_cannot_be_used_is_refused(given: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        redirections(**given)


def test_a_descriptor_must_be_open_for_what_it_is_used_for(descriptors: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stdin is a directory"):
        redirections(stdin=descriptors["directory"])
    with pytest.raises(ValueError, match="stdout is a directory"):
        redirections(stdout=descriptors["directory"])
    with pytest.raises(ValueError, match="was not opened for reading"):
        redirections(stdin=descriptors["writing"])
    with pytest.raises(ValueError, match="was not opened for writing"):
        redirections(stdout=descriptors["reading"])
    with (tmp_path / "file").open("wb") as file, pytest.raises(ValueError, match="not opened for reading"):
        redirections(stdin=file)
    with pytest.raises(ValueError, match="stdin is a closed file"):
        redirections(stdin=file)
    with pytest.raises(TypeError, match="stdout is BufferedWriter"):
        redirections(stdout=file)


async def chunks() -> AsyncIterator[bytes]:
    yield b"from "
    yield b"a file"


@pytest.mark.parametrize("kind", ["number", "binary", "text", "socket", "pipe", "bytesio", "temporary", "async"])
async def test_stdin_is_whatever_has_bytes(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    with (
        ours,
        theirs,
        (tmp_path / "file").open("rb") as binary,
        (tmp_path / "file").open() as text,
        tempfile.NamedTemporaryFile() as temporary,
        os.fdopen(reading, "rb") as pipe,
    ):
        os.write(writing, b"from a file")
        os.close(writing)
        theirs.sendall(b"from a file")
        theirs.shutdown(socket.SHUT_WR)
        temporary.write(b"from a file")
        temporary.seek(0)
        sources: dict[str, Any] = {
            "number": binary.fileno(),
            "binary": binary,
            "text": text,
            "socket": ours,
            "pipe": pipe,
            "bytesio": io.BytesIO(b"from a file"),
            "temporary": temporary,
            "async": chunks(),
        }
        assert (await run(tmp_path, echo, ["cat"], stdin=sources[kind])).stdout == b"from a file"


async def test_output_goes_to_files_and_descriptors(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("w") as err:
        done = await run(tmp_path, printing(b"o" * 300_000, b"e"), stdout=out, stderr=err.fileno())
        assert (done.stdout, done.stderr, done.truncated) == (None, None, False)
    assert (tmp_path / "out").read_bytes() == b"o" * 300_000
    assert (tmp_path / "err").read_bytes() == b"e"


async def test_output_is_thrown_away_or_returned_as_asked_for(tmp_path: Path) -> None:
    done = await run(tmp_path, printing(b"out", b"err"), stdout=DEVNULL, stderr=PIPE, text=True)
    assert (done.stdout, done.stderr, done.truncated) == (None, "err", False)
    async with client_of(tmp_path, printing(b"both")) as (client, service):
        merged = await client.run(["true"], stderr=STDOUT)
        assert (merged.stdout, merged.stderr) == (b"both", None)
        assert service.runs[0].request.merge_stderr
        with pytest.raises(ValueError, match="merge_stderr and stderr contradict each other"):
            await client.run(["true"], merge_stderr=True, stderr=DEVNULL)


def test_without_capturing_output_goes_where_the_scripts_own_goes(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from tests.support.fake_runs import printing, run\n"
        "done = asyncio.run(run(Path(sys.argv[1]), printing(b'out', b'err'), capture_output=False))\n"
        "assert (done.stdout, done.stderr) == (None, None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out", b"err")


async def test_start_connects_pipes_or_nothing(tmp_path: Path) -> None:
    async with client_of(tmp_path, printing(b"out", b"err")) as (client, service):
        async with client.start(["true"], stdout=DEVNULL, stderr=PIPE) as run:
            assert run.stderr is not None
            assert (await run.stdout.read(), await run.stderr.read()) == (b"", b"err")
            assert (await run.wait()).stdout == 3
        service.behave = printing(b"both")
        async with client.start(["true"], stderr=STDOUT) as merged:
            assert (merged.stderr, await merged.stdout.read()) == (None, b"both")
        assert [each.request.merge_stderr for each in service.runs] == [False, True]
    for wrong in ({"stdin": 0}, {"stdout": 1}, {"stdout": STDOUT}, {"stderr": 2}):
        with pytest.raises(ValueError, match="start accepts"):
            check_pipes(**{"stdin": None, "stdout": None, "stderr": None, **wrong})
