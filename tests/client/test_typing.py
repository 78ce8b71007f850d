"""Type checkers know what the API returns: under mypy --strict nothing of it is Any, and the README's examples pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CHECKED = """
import asyncio
import subprocess
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any, Literal, assert_type

import farhand_client
from farhand_client import (
    DEVNULL, PIPE, STDOUT, Client, CommandError, CommandTimeout, Completed, Outcome, Run, RunInfo, RunOptions,
    Event, Remote, RunWithStdin, TerminalRequest, Transfer, Transferred, connect, sync,
)
from farhand_client import Chunk, Gap, Result
from farhand_client.stdin import InputStream

connected = farhand_client.connect("web")


async def output(client: Client, text: bool, out: Path, size: TerminalRequest) -> None:
    assert_type(await client.run(["true"]), Completed[bytes])
    done = await client.run(["true"], RunOptions.of(cwd="/"), check=True, timeout=3, input=b"x", env={"A": "1"})
    assert_type(done.stdout, bytes)
    assert_type(done.stderr, bytes)
    assert_type(await client.run("true", capture_output=True, stdin=DEVNULL), Completed[bytes])
    assert_type(await client.run("true", stdout=PIPE, stderr=PIPE), Completed[bytes])
    assert_type(await client.run("true", text=False, encoding=None), Completed[bytes])
    assert_type(await client.run("true", text=True, input="x"), Completed[str])
    assert_type((await client.run("true", text=True)).stdout, str)
    assert_type(await client.run("true", encoding="latin-1"), Completed[str])
    assert_type(await client.run("true", errors="replace"), Completed[str])
    assert_type(await client.run("true", universal_newlines=True), Completed[str])
    assert_type(await client.run("true", text=text), Completed[Any])
    assert_type(await client.run("true", merge_stderr=True), Completed[bytes | None])
    assert_type(await client.run("true", stderr=STDOUT, text=True), Completed[str | None])
    assert_type(await client.run("true", stderr=subprocess.STDOUT, encoding="ascii"), Completed[str | None])
    assert_type(await client.run("true", capture_output=False, errors="ignore"), Completed[str | None])
    with out.open("wb") as file:
        assert_type(await client.run("true", stdout=file, stderr=DEVNULL), Completed[bytes | None])
        assert_type(await client.run("true", stdout=file, universal_newlines=True), Completed[str | None])
    process: subprocess.CompletedProcess[Any] = done
    either: Completed[bytes | None] = done
    plain: Completed = done
    await client.run("true", bufsize=-1)  # type: ignore[call-overload]
    await client.run(None)  # type: ignore[call-overload]


async def files(client: Client, out: Path) -> None:
    assert_type(await client.put("a", "b"), Transferred)
    with out.open("wb") as file:
        assert_type(client.get("a", file, check=False), Transfer)
    async with client.sync(Remote("a"), out, delete=True) as transfer:
        async for event in transfer:
            assert_type(event, Event)
    client.put("a", "b", delete=True)  # type: ignore[call-arg]


async def runs(client: Client, text: bool, terminal: TerminalRequest) -> None:
    async with client.start(["cat"], stdin=PIPE) as fed:
        assert_type(fed, RunWithStdin)
        assert_type(fed.stdin, InputStream)
        fed.stdin.write(b"x")
    async with client.start(["cat"]) as run:
        assert_type(run, Run)
        assert_type(run.stdin, InputStream | None)
        assert_type(await run.wait(), Result)
        assert_type(run.outcome, Outcome | None)
        assert_type(run.output(), AsyncGenerator[Chunk | Gap, None])
    assert_type(await client.start("cat", terminal=terminal), RunWithStdin)
    assert_type(await client.start("cat", stdin=PIPE if text else None), Run)
    assert_type(await client.shell(None), RunWithStdin)
    assert_type(await client.attach("7"), Run)
    assert_type(await client.attach("7", stdin=True, offset=3), RunWithStdin)
    assert_type(await client.runs(), list[RunInfo])
    both: list[Run] = [fed, run]


def blocking(client: sync.Client, out: Path) -> None:
    assert_type(client.run("true").stdout, bytes)
    assert_type(client.run("true", text=True, check=True), Completed[str])
    assert_type(client.run("true", stdout=DEVNULL), Completed[bytes | None])
    assert_type(client.run("true", encoding="ascii", stderr=STDOUT), Completed[str | None])
    assert_type(client.put(["a", b"b"], Path("c"), excludes=["*.o"]), Transferred)
    assert_type(client.sync("a", Remote("b"), delete=True), Transferred)
    assert_type(client.ping(), float)
    with client.start(["cat"], stdin=PIPE) as fed:
        fed.stdin.write(b"x")
        assert_type(fed, sync.RunWithStdin)
    with client.start(["cat"]) as run:
        assert_type(run, sync.Run)
        assert_type(run.wait(), Result)
        assert_type(run.output(), Generator[Chunk | Gap, None, None])
        assert_type(run.stdout.read(), bytes)
        for line in run.stdout.lines():
            assert_type(line, bytes)
    assert_type(client.shell(None), sync.RunWithStdin)
    assert_type(client.attach("7", stdin=True), sync.RunWithStdin)
    assert_type(client.attach("7"), sync.Run)


async def errors() -> None:
    try:
        async with connect("web") as client:
            assert_type(client, Client)
    except CommandError as error:
        assert_type(error.returncode, int)
        assert_type(error.run_id, str)
        assert_type(error.outcome, Outcome)
    except CommandTimeout as late:
        assert_type(late.timeout, float)
    with sync.connect("web") as blocking_client:
        assert_type(blocking_client, sync.Client)
"""


def test_mypy_knows_the_types_of_the_api_and_of_the_readmes_examples(tmp_path: Path) -> None:
    examples = [
        example
        for readme in (ROOT / "client/README.md", ROOT / "README.md")
        for example in re.findall(r"^```python\n(.*?)^```$", readme.read_text(), re.DOTALL | re.MULTILINE)
    ]
    assert len(examples) >= 4
    files = [tmp_path / "checked.py", *(tmp_path / f"example{number}.py" for number in range(len(examples)))]
    for file, text in zip(files, [CHECKED, *examples], strict=True):
        file.write_text(text)
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "mypy",
                "--strict",
                "--warn-unreachable",
                "--config-file=",
                "--scripts-are-modules",
            ),
            *("--cache-dir", ROOT / ".mypy_cache/test_typing", "--follow-imports=silent"),
            *files,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": ":".join(str(ROOT / part) for part in ("protocol", "client"))},
    )
    assert done.stdout + done.stderr == f"Success: no issues found in {len(files)} source files\n"
