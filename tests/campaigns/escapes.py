"""Text of others in messages of ours: no control character of it reaches the terminal, and it forges no line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import unicodedata
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.events import MessageReceived
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.states import Side
from tests.benchmarks.client import in_flight
from tests.support import warm
from tests.support.service import environment, running_service
from tests.support.warm import FARHAND, FARHANDD

from .harness import Campaign, Figure, Setting, none_of

TIMEOUT: Final = 40.0
AT_ONCE: Final = 4
SHORT: Final = 60
"""Commands of the short form: a quarter of them all."""

FORGED: Final = "farhand: all is well"

HOSTILE: Final = (
    "\x1b[31mred",
    "\x1b]0;title\x07",
    f"a\n{FORGED}",
    f"a\r{FORGED}",
    "\x9b2J",
    "\x85b",
    "\u202eevil\u202c",
    "\x7f\x08\x08",
    "\udcff\udcfe",
)
"""Sequences that colour, retitle, overwrite and reorder, or add a line of their own."""


async def measure(setting: Setting) -> Sequence[Figure]:
    """Give such text to the commands wherever they take text, and let a service send it."""
    directory = setting.subdirectory("service")
    bad: list[str] = []
    async with running_service(directory) as service:
        commands = [each for text in HOSTILE for each in _commands(service.host, text, setting.directory)]
        chosen = commands if setting.nightly else setting.chance.sample(commands, SHORT)
        await _judge_all(chosen, service.environment, bad)
        files = [path for path in directory.rglob("audit*") if path.is_file()]
        audit = "".join(path.read_text(errors="surrogateescape") for path in files)
        bad += [f"the log: {problem}" for problem in problems(service.log)]
        bad += [f"the audit log: {problem}" for problem in problems(audit)]
    async with _hostile_service(setting.directory / "hostile.sock") as socket:
        kinds = (["run", socket, "--", "true"], ["ps", socket], ["status", socket], ["wait", socket, "01a1fc79"])
        # The service answers with the next of the texts each time.
        answered = [[*FARHAND, *kinds[number % len(kinds)]] for number in range(setting.size(len(HOSTILE), 100))]
        await _judge_all(answered, environment(directory), bad)
    count = len(chosen) + len(answered) + 2
    for problem in bad:
        print(f"escapes: {problem}")
    return [
        none_of("outputs with control characters of others, or a forged line", len(bad), count, note="; ".join(bad))
    ]


def _commands(host: str, text: str, directory: Path) -> list[list[str]]:
    """Return commands with the text in each place where it can be."""
    other = f"unix:{directory}/{text}"
    return [
        *(
            [*FARHAND, *each]
            for each in (
                ["run", host, "--", text],
                ["run", host, "--", "/bin/echo", text],
                ["run", "--cwd", text, host, "--", "true"],
                ["run", "-e", f"{text}=x", host, "--", "true"],
                ["run", "--timeout", text, host, "--", "true"],
                ["run", "-I", text, host, "--", "true"],
                ["run", "--id", text, host, "--", "true"],
                ["run", other, "--", "true"],
                ["run", f"{text}.invalid", "--", "true"],
                ["ps", host],
                ["ps", "--all", host],
                ["ps", "--json", "--all", host],
                ["attach", host, text],
                ["kill", host, text],
                ["trust", text, text],
                [text],
                [f"--{text}"],
            )
        ),
        *(
            [*FARHANDD, *each]
            for each in (
                ["serve", "--config", text],
                ["explain", "--user", text, "--", text],
                ["authorize", text],
                ["audit", "verify", text],
                [text],
            )
        ),
    ]


async def _judge_all(commands: Sequence[Sequence[str]], env: dict[str, str], bad: list[str]) -> None:
    waiting = iter(commands)

    async def one() -> None:
        bad.extend(await _judged(next(waiting), env))

    await in_flight(len(commands), AT_ONCE, one)


async def _judged(command: Sequence[str], env: dict[str, str]) -> list[str]:
    """Run a command and return what is wrong with its output."""
    if any("\0" in word for word in command):
        return []
    process = await warm.start(
        *(os.fsencode(word) if word not in FARHAND else word for word in command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), TIMEOUT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    ours = [stderr] if "/bin/echo" in command else [stdout, stderr]  # what a program prints is its own
    text = "".join(each.decode(errors="surrogateescape") for each in ours)
    shown = " ".join(command[2:])
    return [f"{shown!a}: {problem}" for problem in problems(text)]


def problems(text: str) -> list[str]:
    """Return what in a text of ours must not be there."""
    found = {char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs")}
    result = [f"has {''.join(sorted(found))!a}"] if found else []
    if any(line.startswith(FORGED) for line in text.splitlines()):
        result.append("has a forged line")
    if "Traceback" in text:
        result.append("has a traceback")
    return result


@contextlib.asynccontextmanager
async def _hostile_service(path: Path) -> AsyncIterator[str]:
    """A service that accepts everybody and answers every request with an error in such words."""
    answers = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        connection = Connection(Side.SERVER)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                for event in connection.receive_data(data):
                    if not isinstance(event, MessageReceived):
                        continue
                    if isinstance(event.message, m.Hello):
                        limits = connection.announced_limits
                        welcome = m.Welcome(version=1, software="x", limits=limits, login=False, nonce=bytes(32))
                        connection.send(0, welcome)
                        connection.send(0, m.Accepted(user="u", host="h"))
                    elif event.channel:
                        text = HOSTILE[answers % len(HOSTILE)]
                        answers += 1
                        error = {"type": "error", "code": "denied", "message": text}
                        payload = json.dumps(error, ensure_ascii=False).encode(errors="replace")
                        writer.write(encode_frame(Kind.MESSAGE, event.channel, payload))
                writer.write(b"".join(connection.data_to_send()))
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield f"unix:{path}"
    finally:
        server.close()


CAMPAIGN = Campaign("escapes", "Control characters in text of others.", measure, short=150, nightly=600)
