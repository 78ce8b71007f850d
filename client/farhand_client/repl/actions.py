"""What the REPL's own commands do.

Each action returns the exit code that the prompt shows, or None if it has recorded an outcome for each host itself.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from farhand_client.client import Client
from farhand_client.errors import RequestRefused
from farhand_client.ids import checked_prefix
from farhand_client.results import Result
from farhand_client.terminal.screen import MAX_TAIL
from farhand_client.ui.exitcodes import outcome_exit_code
from farhand_client.ui.printing import require_output
from farhand_client.ui.runs import MIN_ID_PREFIX, run_table
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.sentences import printable

from .commands import CommandCall, ExitRepl, help_text
from .hosts import ReplHost
from .jobs import SHARED_JOB_NAME_LENGTH, describe_outcome
from .lines import decode, encode
from .output import terminal_columns
from .runner import Interrupted
from .session import ReplSession
from .shell_state import SHELL_OWNED
from .transfers import get, put

VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
"""A name that a shell accepts for a variable (XCU 8.1)."""

Action: TypeAlias = Callable[[ReplSession, tuple[str, ...]], Awaitable[int | None]]


async def perform(session: ReplSession, call: CommandCall) -> int | None:
    """Perform `call`. Raises `FarhandError`, ValueError, `Interrupted`, OSError."""
    return await ACTIONS[call.name](session, call.words)


async def _help(session: ReplSession, words: tuple[str, ...]) -> int:
    await _print(session, help_text(words[0] if words else None, terminal_columns(), session.escape))
    return 0


async def _quit(session: ReplSession, words: tuple[str, ...]) -> int:
    raise ExitRepl(session.exit_code)


async def _host(session: ReplSession, words: tuple[str, ...]) -> int:
    if not words:
        await _print(session, "\n".join(_host_lines(session)))
        return 0
    hosts = session.hosts
    name = words[0].lstrip("+-")
    if not name:
        raise ValueError("usage: :host [[+|-]HOST]")
    if words[0].startswith("-"):
        private = name in hosts.known and hosts.known[name].private
        running = await hosts.remove(name)
        if running:
            until = " until the REPL ends" if private else ""
            session.print_message(f"still running on {name}{until}: {', '.join(running)}")
        return 0
    await session.request(hosts.add(name) if words[0].startswith("+") else hosts.switch(name))
    return 0


def _host_lines(session: ReplSession) -> list[str]:
    lines = []
    for host in session.hosts.known.values():
        connection = host.connection
        mark = "*" if host in session.hosts.active else " "
        account = f"{connection.user}@{connection.host}" if connection.user else "never connected"
        lost = "  connection lost" if connection.lost else ""
        lines.append(printable(f"{mark} {host.name}  {account}:{host.state.shown_directory}{lost}"))
    return lines


async def _cd(session: ReplSession, words: tuple[str, ...]) -> int | None:
    if words:
        await asyncio.gather(*(session.interpreter(host).change_directory(words[0]) for host in session.hosts.active))
        return None
    for host in session.hosts.active:
        await session.interpreter(host).learn_account()
        state = host.state
        directory = state.logical_directory or state.directory or state.home or b"~"
        await session.output(host).write(1, [encode(printable(decode(directory))) + b"\n"])
    return 0


async def _env(session: ReplSession, words: tuple[str, ...]) -> int:
    changes = [_parse_change(word) for word in words]
    for host in session.hosts.active:
        if changes:
            await session.interpreter(host).set_variables(changes)
        if not words:
            state = host.state
            lines = [f"{decode(name)}={_quoted(decode(value))}" for name, value in sorted(state.variables.items())]
            lines += [f"-{decode(name)}" for name in sorted(state.removed)]
            if lines:
                await session.output(host).write(1, [encode("\n".join(map(printable, lines))) + b"\n"])
    return 0


def _parse_change(text: str) -> tuple[bytes, bytes | None]:
    """Return the name and the value of `NAME=VALUE`, or the name and None of `-NAME`. Raises ValueError."""
    name, equals, value = text.partition("=")
    name = name if equals else name.removeprefix("-")
    if not VARIABLE_NAME.fullmatch(name) or (not equals and not text.startswith("-")):
        raise ValueError(f"{text!r} is neither NAME=VALUE nor -NAME; names consist of letters, digits and _")
    if encode(name) in SHELL_OWNED:
        raise ValueError(f"{name} is set by the shell itself; :cd changes the directory")
    return encode(name), encode(value) if equals else None


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


async def _jobs(session: ReplSession, words: tuple[str, ...]) -> int:
    with_ended = words == ("-a",)
    if words and not with_ended:
        raise ValueError("usage: :jobs [-a]")
    for host in session.hosts.active:
        client = await session.request(host.connection.connect())
        runs = await session.request(client.runs(ended=with_ended))
        shown = [run for run in runs if run.owner == client.user and _outlives_prompt(run, host)]
        if not shown:
            hint = "" if with_ended else "; :jobs -a also lists those that have ended"
            session.output(host).print_message(f"no runs in the background here{hint}")
            continue
        lines = run_table(shown, user=client.user, now=time.time(), columns=terminal_columns())
        await session.output(host).write(1, [encode("\n".join(lines)) + b"\n"])
    return 0


def _outlives_prompt(run: m.RunInfo, host: ReplHost) -> bool:
    """Return whether a user may want to return to a run: it is kept, has a terminal, or no client is attached."""
    if run.on_disconnect == "keep" or any(run.id == job.id for job in host.jobs.running):
        return True
    return run.outcome is None and (run.terminal is not None or not run.attachments)


async def _kill(session: ReplSession, words: tuple[str, ...]) -> int:
    found = [await _find_run(session, word) for word in words]

    async def stop() -> None:
        results = await asyncio.gather(*(client.stop(run_id) for _, client, run_id in found))
        for (host, _, run_id), result in zip(found, results, strict=True):
            host.jobs.forget(run_id)
            session.print_message(f"[{host.jobs.name(run_id)}] {describe_outcome(result.outcome)}")

    await session.request(stop())
    return 0


async def _detach(session: ReplSession, words: tuple[str, ...]) -> int:
    if not words:
        how = f"Enter {session.escape}d leaves it running" if session.escape else "no key leaves it running (see -e)"
        session.print_message(f"no program has the terminal; while one does, {how}")
        return 0
    host, _, run_id = await _find_run(session, words[0])
    was_job = host.jobs.forget(run_id)
    text = "its outcome will not be reported" if was_job else "is not a job here; its outcome would not be reported"
    session.print_message(f"[{host.jobs.name(run_id)}] {text}")
    return 0


async def _attach(session: ReplSession, words: tuple[str, ...]) -> int:
    host, client, run_id = await (_find_run(session, words[0]) if words else _last_job(session))
    info = await session.request(client.info(run_id))
    require_output(info)
    if info.terminal is not None:
        result = await session.terminal_runner(host).attach(client, info)
    else:
        session.print_message(f"{info.command}\nCtrl-C leaves it running")
        try:
            result = await session.request(_watch(session, host, client, info))
        except Interrupted:
            host.jobs.add(run_id, info.command, kept=info.on_disconnect == "keep")
            session.print_message(f"[{host.jobs.name(run_id)}] still running")
            return 0
    if result is None:
        return 0
    host.jobs.forget(run_id)
    session.print_message(f"[{host.jobs.name(run_id)}] {describe_outcome(result.outcome)}")
    return outcome_exit_code(result.outcome)


async def _watch(session: ReplSession, host: ReplHost, client: Client, info: m.RunInfo) -> Result:
    """Show the output of a run that has no terminal, from its last `MAX_TAIL` bytes to its end."""
    stdout, stderr = (max(0, size - MAX_TAIL) for size in (info.stdout, info.stderr))
    if stdout or stderr:
        session.print_message(
            f"showing only the last {MAX_TAIL // 1024} KiB of its output; farhand logs shows all that is kept"
        )
    runner = session.pipe_runner(host)
    attaching = client.attach(
        info.id, offset=(stdout, stderr), read_only=True, on_gap=lambda gap: session.print_message(str(gap))
    )
    async with attaching as run:
        await runner.deliver(run, session.output(host).deliver(run.stdout, 1))
        return await run.wait()


async def _last_job(session: ReplSession) -> tuple[ReplHost, Client, str]:
    """Return the job of an active host that was started last. Raises ValueError if there is none."""
    jobs = [(job.id, host) for host in session.hosts.active for job in host.jobs.running]
    if not jobs:
        raise ValueError("there is no job here; :jobs lists runs that others started")
    run_id, host = max(jobs, key=lambda job: job[0])  # ids begin with the time
    return host, await session.request(host.connection.connect()), run_id


async def _find_run(session: ReplSession, prefix: str) -> tuple[ReplHost, Client, str]:
    """Return the run of an active host whose id begins with `prefix`."""
    checked_prefix(prefix)
    if len(prefix) < MIN_ID_PREFIX:
        raise ValueError(f"{prefix!r} is too short for an id; {MIN_ID_PREFIX} characters are needed")
    found = []
    unknown: RequestRefused | None = None
    for host in session.hosts.active:
        client = await session.request(host.connection.connect())
        try:
            found.append((host, client, await session.request(host.jobs.find(client, prefix))))
        except RequestRefused as error:
            if error.code is not ErrorCode.UNKNOWN_RUN:
                raise
            unknown = error
    if not found:
        assert unknown is not None
        raise unknown
    if len(found) > 1:
        matches = " and ".join(f"{run_id[:SHARED_JOB_NAME_LENGTH]} on {host.name}" for host, _, run_id in found)
        raise ValueError(f"{prefix} matches {matches}")
    return found[0]


async def _print(session: ReplSession, text: str) -> None:
    await session.standard_output.write(1, [encode(text) + b"\n"])


ACTIONS: Final[dict[str, Action]] = {
    "attach": _attach,
    "cd": _cd,
    "detach": _detach,
    "env": _env,
    "get": get,
    "help": _help,
    "host": _host,
    "jobs": _jobs,
    "kill": _kill,
    "put": put,
    "quit": _quit,
}
"""The action of each command, by its name without the colon."""
