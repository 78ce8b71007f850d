"""What the REPL's own commands do. Each returns the code that the prompt shows; None where hosts have their own."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from farhand_client.client import Client
from farhand_client.errors import RequestRefused
from farhand_client.ids import checked_prefix
from farhand_client.results import Result
from farhand_client.terminal.screen import MAX_TAIL
from farhand_client.ui.exitcodes import outcome_exit_code
from farhand_client.ui.runs import MIN_ID_PREFIX, run_table
from farhand_client.ui.text import printable
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode

from .commands import Call, help_text
from .hosts import Host
from .jobs import SHOWN_OF_SEVERAL, word
from .lines import decode, encode
from .runner import Interrupted
from .shell_state import PRIVATE

if TYPE_CHECKING:
    from .session import ReplSession

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
"""What a shell can name (XCU 8.1)."""

Action: TypeAlias = "Callable[[ReplSession, tuple[str, ...]], Awaitable[int | None]]"


async def act(session: ReplSession, call: Call) -> int | None:
    """Do what `call` asks for. Raises `FarhandError`, ValueError, `Interrupted`, OSError."""
    return await ACTIONS[call.name](session, call.words)


async def _help(session: ReplSession, words: tuple[str, ...]) -> int:
    await _print(session, help_text(*words[:1]))
    return 0


async def _host(session: ReplSession, words: tuple[str, ...]) -> int:
    hosts = session.hosts
    if not words:
        lines = []
        for host in hosts.known.values():
            mark = "*" if host in hosts.active else " "
            who = f"{host.link.user}@{host.link.host}" if host.link.user else "never connected"
            lines.append(f"{mark} {host.name}  {who}:{host.state.where}{'  line down' if host.link.down else ''}")
        await _print(session, "\n".join(map(printable, lines)))
        return 0
    name = words[0].lstrip("+-")
    if not name:
        raise ValueError("usage: :host [[+|-]HOST]")
    if words[0].startswith("-"):
        going = await hosts.drop(name)
        if going:
            session.files.say(f"going on at {name}: {', '.join(going)}")
        return 0
    connecting = hosts.add(name) if words[0].startswith("+") else hosts.switch(name)
    await session.asked(connecting)
    return 0


async def _cd(session: ReplSession, words: tuple[str, ...]) -> int | None:
    if words:
        await asyncio.gather(*(session.interpreter(host).directory(words[0]) for host in session.hosts.active))
        return None
    for host in session.hosts.active:
        await session.interpreter(host).learn()
        state = host.state
        shown = state.shown or state.directory or state.home or b"~"
        await session.output(host).write(1, [encode(printable(decode(shown))) + b"\n"])
    return 0


async def _env(session: ReplSession, words: tuple[str, ...]) -> int:
    changes = [_change(each) for each in words]
    for host in session.hosts.active:
        if any(value is None for _, value in changes):
            await session.interpreter(host).learn()  # which shell is to run without them
        for name, value in changes:
            host.state.set(name, value)
        if not words:
            state = host.state
            lines = [f"{decode(name)}={_quoted(decode(value))}" for name, value in sorted(state.variables.items())]
            lines += [f"-{decode(name)}" for name in sorted(state.removed)]
            if lines:
                await session.output(host).write(1, [encode("\n".join(map(printable, lines))) + b"\n"])
    return 0


def _change(text: str) -> tuple[bytes, bytes | None]:
    name, equals, value = text.partition("=")
    name = name if equals else name.removeprefix("-")
    if not NAME.fullmatch(name) or (not equals and not text.startswith("-")):
        raise ValueError(f"{text!r} is neither NAME=VALUE nor -NAME; names are of letters, digits and _")
    if encode(name) in PRIVATE:
        raise ValueError(f"{name} is the shell's own; :cd changes the directory")
    return encode(name), encode(value) if equals else None


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


async def _jobs(session: ReplSession, words: tuple[str, ...]) -> int:
    everything = words == ("-a",)
    if words and not everything:
        raise ValueError("usage: :jobs [-a]")
    for host in session.hosts.active:
        client = await session.asked(host.link.connect())
        runs = await session.asked(client.runs(ended=everything))
        kept = [run for run in runs if run.owner == client.user and _stays(run, host)]
        if not kept:
            session.output(host).say("no runs go on without you here" + ("" if everything else "; :jobs -a lists more"))
            continue
        columns = os.get_terminal_size(1).columns
        lines = run_table(kept, user=client.user, now=time.time(), columns=columns or None)
        await session.output(host).write(1, [encode("\n".join(lines)) + b"\n"])
    return 0


def _stays(run: m.RunInfo, host: Host) -> bool:
    """Whether a run is one that people come back to: kept, at a terminal, or left by all."""
    if run.on_disconnect == "keep" or any(run.id == job.id for job in host.jobs.going):
        return True
    return run.outcome is None and (run.terminal is not None or not run.attachments)


async def _kill(session: ReplSession, words: tuple[str, ...]) -> int:
    found = [await _find(session, text) for text in words]

    async def killed() -> None:
        results = await asyncio.gather(*(client.stop(run_id) for _, client, run_id in found))
        for (host, _, run_id), result in zip(found, results, strict=True):
            host.jobs.forget(run_id)
            session.files.say(f"[{host.jobs.name(run_id)}] {word(result.outcome)}")

    await session.asked(killed())
    return 0


async def _detach(session: ReplSession, words: tuple[str, ...]) -> int:
    if not words:
        session.files.say("nothing runs in front of you; while something does, Enter ~d leaves it going")
        return 0
    host, _, run_id = await _find(session, words[0])
    said = "its end is not told any more" if host.jobs.forget(run_id) else "its end was not to be told"
    session.files.say(f"[{host.jobs.name(run_id)}] {said}")
    return 0


async def _attach(session: ReplSession, words: tuple[str, ...]) -> int:
    host, client, run_id = await _find(session, words[0])
    info = await session.asked(client.info(run_id))
    if info.terminal is not None:
        result = await session.foreground(host).attach(client, info)
    else:
        session.files.say(f"{info.command}\nCtrl-C leaves it going")
        try:
            result = await session.asked(_watched(session, host, client, info))
        except Interrupted:
            host.jobs.add(run_id, info.command)
            session.files.say(f"[{host.jobs.name(run_id)}] goes on")
            return 0
    if result is None:
        return 0
    host.jobs.forget(run_id)
    session.files.say(f"[{host.jobs.name(run_id)}] {word(result.outcome)}")
    return outcome_exit_code(result.outcome)


async def _watched(session: ReplSession, host: Host, client: Client, info: m.RunInfo) -> Result:
    at = [max(0, count - MAX_TAIL) for count in (info.stdout, info.stderr)]
    if any(at):
        session.files.say(
            f"only the last {MAX_TAIL // 1024} KiB of what it has written; farhand logs shows all that is kept"
        )
    runner = session.runner(host)
    watching = client.attach(
        info.id, offset=(at[0], at[1]), read_only=True, on_gap=lambda gap: session.files.say(str(gap))
    )
    async with watching as run:
        await runner.delivered(run, session.output(host).deliver(run.stdout, 1))
        return await run.wait()


async def _find(session: ReplSession, text: str) -> tuple[Host, Client, str]:
    """Return the run whose id begins with `text`, of the hosts that are active."""
    checked_prefix(text)
    if len(text) < MIN_ID_PREFIX:
        raise ValueError(f"{text!r} is too short for an id; {MIN_ID_PREFIX} characters are needed")
    found = []
    refused: RequestRefused | None = None
    for host in session.hosts.active:
        client = await session.asked(host.link.connect())
        try:
            found.append((host, client, await session.asked(host.jobs.find(client, text))))
        except RequestRefused as error:
            if error.code is not ErrorCode.UNKNOWN_RUN:
                raise
            refused = error
    if not found:
        assert refused is not None
        raise refused
    if len(found) > 1:
        which = " and ".join(f"{run_id[:SHOWN_OF_SEVERAL]} at {host.name}" for host, _, run_id in found)
        raise ValueError(f"{text} is the beginning of {which}")
    return found[0]


async def _print(session: ReplSession, text: str) -> None:
    await session.files.write(1, [encode(text) + b"\n"])


ACTIONS: Final[dict[str, Action]] = {
    "attach": _attach,
    "cd": _cd,
    "detach": _detach,
    "env": _env,
    "help": _help,
    "host": _host,
    "jobs": _jobs,
    "kill": _kill,
}
