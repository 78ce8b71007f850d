"""Whatever the arguments, the environment and the limits are: no traceback, and no exit code that is not ours to give.

Cases are made from a seed, which is in the name of the test and in what a failure prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from farhand_client.cli.commands import COMMANDS
from farhand_protocol.outcome import Exited
from tests.support import warm
from tests.support.client import TIMEOUT
from tests.support.fake_listing import info
from tests.support.fake_runs import ID
from tests.support.fake_service import FakeConnection, FakeRun, FakeService, nothing_found
from tests.support.parents import parent
from tests.support.service import Service, environment, running_service
from tests.support.warm import FARHAND, FARHANDD

SEEDS: Final = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 10))]
CASES: Final = 24
"""Cases of each seed: together they take a second."""

AT_ONCE: Final = 4
"""Programs that run at the same time."""

CODE: Final = 7
"""How every run ends."""

BYTES: Final = [os.fsdecode(each) for each in (b"\xff", b"\x1b[2J", "日".encode(), b"", b" ", b"a\nb", b"x" * 3000)]
NUMBERS: Final = ["0", "-1", "1e999", "nan", "1", "0.01", "9" * 30, "1h", "٣", "64K", "80x24"]
WORDS: Final = ["ls", "--", "-", "-x", "--help", "--json", "--nope", "=", "A=b", "/nonexistent/x", "/dev/full", "."]
OPTIONS: Final = [
    *("--timeout", "--cwd", "-e", "--limit", "--id", "--detach", "-i", "-t", "-T", "--shell", "--merge", "--size"),
    *("--status-json", "--buffer", "--grace", "--on-disconnect", "-I", "--accept-new", "--connect-timeout", "--all"),
    *("--tail", "--from", "--stderr", "--read-only", "--pattern", "--idle", "--asciicast", "--title", "--escape"),
    *("--predict", "-c"),
]
FILES: Final = {
    "config.toml": [
        b"\xff",
        b"a = " + b"[" * 5000,
        b"a = " + b"9" * 5000,
        b"[hosts.web]\naddress = 7",
        b"default_host = ''",
    ],
    "farhandd.toml": [
        b"\xff",
        b"a = " + b"[" * 5000,
        b"a = " + b"9" * 5000,
        b"[policy]\nfile = '/etc/passwd'",
        b"listen=7",
    ],
}
"""Configuration files of the client and the service, each with a mistake."""

HOSTS: Final = [
    "unix:/nonexistent/s",
    "unix:",
    "a..b",
    "[::1",
    "127.0.0.1:1",
    "x@127.0.0.1:1",
    "ssh://h",
    "",
    "\udcff",
]
IDS: Final = [ID, ID[:13], "0189", "zz", "", "\udcff"]

SERVICE: Final = [
    ["check"],
    ["check", "--config", "WORD"],
    ["check", "--state-dir", "WORD"],
    ["host-key"],
    ["host-key", "--state-dir", "WORD"],
    ["example", "config"],
    ["authorize", "WORD"],
    ["authorize", "-"],
    ["audit", "verify", "WORD"],
    ["upgrade"],
    ["explain", "--user", "root", "--local", "--", "WORD"],
    ["explain", "--json", "--user", "WORD", "--", "ls"],
    ["explain", "--user", "root", "--cwd", "WORD", "--env", "WORD", "--", "ls"],
    ["explain", "--user", "root", "--key", "WORD", "--shell", "WORD"],
    ["edge", "--key", "WORD", "--listen", "127.0.0.1:0"],
    ["edge", "--child", "--listen", "WORD"],
    ["serve", "--listen", "a..b:1"],
    ["serve", "--listen", "WORD"],
    ["serve", "--config", "WORD", "--nope"],
    ["serve", "--check-resume", "NUMBER"],
    ["--version"],
    ["--help"],
    ["WORD"],
    [],
]
"""Commands of `farhandd` that end by themselves."""


@dataclass
class Case:
    """How a program is started."""

    line: list[str]
    env: dict[str, str | None]
    """The changed variables; None for those that are removed."""
    limits: dict[int, int] = field(default_factory=dict)
    closed: list[int] = field(default_factory=list)
    full: list[int] = field(default_factory=list)
    """The standard files that are /dev/full."""


@dataclass
class Found:
    """How a program ended."""

    code: int
    stdout: bytes
    stderr: bytes


class Maker:
    """Makes cases from a seed. The fake service is at `host`, and files are below `directory`."""

    def __init__(self, seed: str, host: str, directory: Path) -> None:
        self._choose = random.Random(seed)
        self._host = host
        self._directory = directory

    def client(self) -> Case:
        """Return a case for `farhand`."""
        return self._case(self._client_line())

    def service(self) -> Case:
        """Return a case for `farhandd`."""
        line = self._choose.choice(SERVICE)
        made = {"WORD": self._word, "NUMBER": self._number}
        return self._case([made[word]() if word in made else word for word in line])

    def _client_line(self) -> list[str]:
        choose = self._choose
        # `local` starts a service and is tested elsewhere; here only how it refuses.
        command = choose.choice([*(name for name in COMMANDS if name != "local"), "--version", "--help", "local"])
        if command == "local":
            return ["local", choose.choice(["--help", "-x", "-\udcff"])]
        line = [self._word() if choose.random() < 0.03 else command]
        if command in ("run", "logs", "attach", "wait", "kill", "signal", "replay", "export"):
            line += ["--reconnect", "0"]
        while choose.random() < 0.4:
            line.append(choose.choice(OPTIONS))
            if choose.random() < 0.6:
                line.append(choose.choice([self._word(), self._number()]))
        if choose.random() < 0.9:
            line.append(self._host if choose.random() < 0.7 else choose.choice(HOSTS))
        while choose.random() < 0.6:
            line.append(choose.choice(IDS) if choose.random() < 0.5 else self._word())
        return line

    def _word(self) -> str:
        return self._choose.choice([*BYTES, *WORDS, str(self._directory)])

    def _number(self) -> str:
        return self._choose.choice(NUMBERS)

    def _case(self, line: list[str]) -> Case:
        choose = self._choose
        env: dict[str, str | None] = {}
        for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR", "TERM", "COLUMNS"):
            if choose.random() < 0.15:
                env[name] = choose.choice([*BYTES[:-1], "/nonexistent", "/etc/passwd", "/proc/1", "0", "-1", "99999"])
        if choose.random() < 0.2:
            env["SSH_AUTH_SOCK"] = choose.choice(["/nonexistent", "/etc/passwd", "", "\udcff"])
        if choose.random() < 0.2:
            env["XDG_CONFIG_HOME"] = str(self._directory / f"broken-{choose.randrange(5)}")
        for name in ("HOME", "TERM", "PATH"):
            if choose.random() < 0.1:
                env[name] = None
        case = Case(line, env)
        if choose.random() < 0.3:
            which = choose.choice(
                [resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_STACK, resource.RLIMIT_AS]
            )
            case.limits[which] = {
                resource.RLIMIT_AS: choose.randint(2, 40) << 20,  # a thread needs 8 MiB
                resource.RLIMIT_NOFILE: choose.randint(8, 16),  # below, Python does not find its own modules
                resource.RLIMIT_FSIZE: choose.choice([0, 1, 100]),
                resource.RLIMIT_STACK: 1 << choose.randint(18, 22),
            }[which]
        for fd in range(3):
            if choose.random() < 0.1:
                case.closed.append(fd)
            elif fd and choose.random() < 0.1:
                case.full.append(fd)
        return case


async def answered(case: Case, program: tuple[str, ...], directory: Path) -> Found:
    """Run the program and wait for its end."""
    env = {**environment(directory), "HOME": str(directory), **case.env, "FARHAND_DEBUG": None}
    with contextlib.ExitStack() as stack:
        streams = {
            name: stack.enter_context(Path("/dev/full").open("wb")) if fd in case.full else asyncio.subprocess.PIPE
            for fd, name in ((1, "stdout"), (2, "stderr"))
        }
        process = await warm.start(
            *program,
            *case.line,
            env={name: value for name, value in env.items() if value is not None},
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            limits=case.limits,
            closed=case.closed,
            **streams,
        )
    try:
        async with asyncio.timeout(TIMEOUT):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return Found(process.returncode, stdout or b"", stderr or b"")


def complaints(case: Case, found: Found, allowed: set[int], name: str) -> list[str]:
    """Return what is wrong with how a program ended."""
    wrong = []
    text = found.stderr.decode(errors="replace")
    if found.code not in allowed:
        wrong.append(f"exit code {found.code}")
    for sign in ("Traceback", "Exception", "Warning", "fault in Farhand", "never awaited", "codec can"):
        if sign in text:
            wrong.append(f"{sign!r} on stderr")
    if found.code in (1, 255) and not text and 2 not in (*case.closed, *case.full):
        wrong.append("fails without a word")
    own = "rsh" in case.line or any(line.startswith(f"{name}: ") for line in text.splitlines())  # rsh has ssh's words
    if found.code == 255 and not own and text:
        wrong.append("says nothing of its own")
    return wrong


async def run_cases(maker: Maker, name: str, directory: Path) -> list[str]:
    """Run cases of one seed, several at a time, and return a line for each that ended in a wrong way."""
    program = FARHAND if name == "farhand" else FARHANDD
    cases = [maker.client() if name == "farhand" else maker.service() for _ in range(CASES)]
    wrong = []
    waiting = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with waiting:
            try:
                found = await answered(case, program, directory)
            except TimeoutError:
                wrong.append(f"{case}: hangs")
                return
        allowed = client_codes(case, found) if name == "farhand" else service_codes(case, found)
        if bad := complaints(case, found, allowed, name):
            wrong.append(f"{', '.join(bad)}: {case}\n  {found}")

    async with asyncio.TaskGroup() as tasks:
        for case in cases:
            tasks.create_task(one(case))
    return wrong


def client_codes(case: Case, found: Found) -> set[int]:
    """Return the codes that `farhand` may end with: the run's, its own, and 1 only where that is an answer."""
    allowed = {0, 2, 124, 255, CODE}
    if case.line[:1] == ["wait"]:
        allowed.add(1)
    if 1 in (*case.closed, *case.full) and found.code == CODE and case.line[:1] == ["run"]:
        allowed.remove(CODE)  # it writes to stdout, so something was lost
    return allowed


def service_codes(case: Case, found: Found) -> set[int]:
    """Return the codes that `farhandd` may end with; 1 for `explain` only if it has said why."""
    if case.line[:1] == ["explain"]:
        return {0, 2, 255, *({1} if b"denied" in found.stdout else ())}
    return {0, 1, 2, 255}


async def behave(run: FakeRun) -> None:
    """Write to both streams and end."""
    run.started()
    await run.write_rest("stdout", b"out\xff\n")
    await run.write_rest("stderr", b"farhand: from the run\n")
    run.ended(Exited(code=CODE))


def answer(fake: FakeConnection, channel: int, question: object) -> None:
    """List one run; know nothing else."""
    from farhand_protocol import messages as m

    if isinstance(question, m.List):
        fake.send(m.Runs(runs=(info(command="echo 日"),)), channel)
    nothing_found(fake, channel, question)  # type: ignore[arg-type]  # any message


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeService]:
    async with FakeService(behave).on_socket(tmp_path) as service:
        service.answer = answer
        yield service


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["farhand", "farhandd"])
async def test_no_start_ends_in_a_traceback_or_with_a_wrong_code(
    fake: FakeService, tmp_path: Path, name: str, seed: int
) -> None:
    directory = tmp_path / "own"
    (directory / "run").mkdir(parents=True, mode=0o700)
    for file, contents in FILES.items():
        for number, content in enumerate(contents):
            broken = directory / f"broken-{number}" / "farhand"
            broken.mkdir(parents=True, exist_ok=True)
            (broken / file).write_bytes(content)
    wrong = await run_cases(Maker(f"{name} {seed}", fake.host, directory), name, directory)
    assert not wrong, f"with seed {seed}:\n" + "\n".join(wrong)


NAMELESS: Final = (
    *("setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"),
    *("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"),
)
"""A command prefix that becomes a user without an account, who may read the interpreter's files; it needs root."""

HOMELESS: Final = (*NAMELESS, "env", "-i", "PATH=/usr/bin:/bin")


@pytest.fixture
async def nameless_service(tmp_path: Path) -> AsyncIterator[Service]:
    """A service of a user without an account and without a home."""
    for path in (tmp_path, tmp_path / "run", tmp_path / "run/farhand"):
        path.mkdir(exist_ok=True)
        os.chown(path, 54321, 54321)
    for above in tmp_path.parents:
        if above.stat().st_mode & 0o711 != 0o711:
            above.chmod(above.stat().st_mode | 0o711)
    paths = ("--state-dir", str(tmp_path / "own"), "--socket", str(tmp_path / "run/farhand/farhandd.sock"))
    async with running_service(tmp_path, *paths, prefix=HOMELESS) as service:
        yield service


async def started_as(prefix: tuple[str, ...], *line: str) -> Found:
    """Run `farhand` behind a prefix."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *prefix, *FARHAND, *line, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    async with asyncio.timeout(TIMEOUT):
        stdout, stderr = await process.communicate()
    return Found(process.returncode or 0, stdout, stderr)


@pytest.mark.needs("root", "setpriv")
async def test_a_user_without_home_and_account_can_serve_and_run(nameless_service: Service) -> None:
    found = await started_as(HOMELESS, "run", nameless_service.host, "--", "sh", "-c", "id -u; exit 3")
    assert found == Found(3, b"54321\n", b"")
    remote = await started_as(HOMELESS, "run", "127.0.0.1:1", "--", "true")
    assert (remote.code, remote.stdout) == (255, b"")
    assert remote.stderr.startswith(b"farhand: no home directory is known: HOME is not set, and the user id 54321 ")


@pytest.mark.needs("root", "setpriv")
async def test_without_a_thread_the_command_does_not_run(nameless_service: Service, tmp_path: Path) -> None:
    marker = tmp_path / "run/ran"
    few = parent("import resource; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))")  # it counts threads
    found = await started_as((*HOMELESS, *few), "run", nameless_service.host, "--", "touch", str(marker))
    sentence = b"farhand: cannot write to stdout: no thread can be started; a limit on processes or memory is too low"
    assert (found.code, found.stdout, found.stderr[: len(sentence)]) == (255, b"", sentence)
    assert not marker.exists()
