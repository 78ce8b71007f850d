"""System calls of the core that fail, each in turn, at the calls of a run's life."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import farhand_client
from farhand_client import FarhandError, Killed, Lost
from tests.support.service import Service, running_service

from .harness import Campaign, Figure, Setting, none_of

ERRORS: Final = ("ENOSPC", "EIO", "EMFILE", "ENOMEM", "EAGAIN")

LEFT_OUT: Final = {
    "close": "if the kernel does not close, no program can",
    "epoll_wait": "what fails is the loop itself",
    "epoll_pwait": "the same",
    "exit_group": "does not return",
    "futex": "fails inside the C library, which then ends the program",
    "rt_sigprocmask": "cannot fail: libraries end the program if it does",
    "rt_sigreturn": "does not return",
    "munmap": "fails inside the C library",
    "waitid": "fails only for what is no child",
    "wait4": "the same",
    "vfork": "restarted by strace as another call",
    "getpid": "cannot fail, and neither can the next ones",
    "getppid": "",
    "gettid": "",
    "getuid": "",
    "geteuid": "",
    "getgid": "",
    "getegid": "",
    "umask": "",
}

TIMEOUT: Final = 30.0
"""Seconds after which a run that has no outcome counts as one that never gets one."""

CONNECT: Final = 6.0
"""Seconds after which the client gives up a connection that the service has accepted and cannot serve."""

DATA: Final = bytes(range(256)) * 20
CODE: Final = 7


class Case(NamedTuple):
    """The `when`th call of this kind fails with this error."""

    call: str
    error: str
    when: int


async def measure(setting: Setting) -> Sequence[Figure]:
    """Find out which calls the core makes for a run, then let each of them fail in each way."""
    most = setting.size(20, 1_000_000)
    results: Counter[str] = Counter()
    bad: list[str] = []
    directory = setting.subdirectory("service")
    async with running_service(directory) as service:
        calls = await _calls(service, directory / "calls")
    cases = [
        Case(call, error, when)
        for call, count in sorted(calls.items())
        for error in ERRORS
        for when in range(1, min(count, setting.size(12, 30)) + 1)
        if call not in LEFT_OUT
    ]
    chosen = setting.chance.sample(cases, min(most, len(cases)))
    waiting = iter(chosen)
    case = next(waiting, None)
    while case is not None:
        async with running_service(directory) as service:
            while case is not None:
                result = await _with_fault(service, case)
                results[result] += 1
                if result not in ("right", "typed", "impossible"):
                    bad.append(f"{case.call} {case.error} at {case.when}: {result}")
                    print(f"faults: {bad[-1]}")
                alive = await _serves(service)
                results["dead"] += not alive
                if not alive:
                    bad.append(f"{case.call} {case.error} at {case.when}: no longer serves")
                    print(f"faults: {bad[-1]}\n{service.log[-1500:]}")
                case = next(waiting, None)
                if not alive:
                    break
    total = len(chosen)
    return [
        Figure("calls of a run's life", f"{len(calls)} kinds, {len(cases):,} faults to inject"),
        none_of("successes with another output", results["wrong"], total, note="; ".join(bad[:5])),
        none_of("runs without an outcome or a typed error", results["no answer"] + results["untyped"], total),
        none_of("faults after which the service does not serve", results["dead"], total),
        Figure("runs that ended as if nothing had happened", f"{results['right']}, {results['typed']} with an error"),
    ]


async def _calls(service: Service, trace: Path) -> Counter[str]:
    """Return how often the core makes each system call for a run."""
    async with _strace(service, "-o", str(trace)):
        assert await _run(service) == "right"
    return Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE))


async def _with_fault(service: Service, case: Case) -> str:
    fault = f"inject={case.call}:error={case.error}:when={case.when}"
    trace = service.directory / "trace"
    async with _strace(service, "-e", f"trace={case.call}", "-e", fault, "-o", str(trace)):
        result = await _run(service)
    # Python writes a signal's number to a descriptor that wakes the loop. That fails only if it is full of wake-ups.
    return "impossible" if re.search(rb'^write\(\d+, "\\21", 1\) .*INJECTED', trace.read_bytes(), re.M) else result


@contextlib.asynccontextmanager
async def _strace(service: Service, *options: str) -> AsyncIterator[None]:
    """Attach strace to the core's main thread alone: not to the programs that it starts."""
    process = await asyncio.create_subprocess_exec(
        *("strace", *options, "-p", str(service.process.pid)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(TIMEOUT):
            line = await process.stderr.readline()
        if b"attached" not in line:
            raise RuntimeError(f"strace cannot attach: {line.decode()}")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)  # it detaches
        await process.communicate()


async def _run(service: Service) -> str:
    """Run a command with input, output on both streams and a spool on disk; return what became of it."""
    try:
        async with asyncio.timeout(TIMEOUT):
            async with farhand_client.connect(service.host, reconnect=5, timeout=CONNECT) as client:
                script = "cat; echo done >&2; exit 7"
                done = await client.run(["sh", "-c", script], input=DATA, cwd="/tmp", spool=1 << 16)
    except FarhandError:
        return "typed"
    except TimeoutError:
        return "no answer"
    except Exception as error:  # noqa: BLE001  # whatever else it is, it is a finding
        return f"untyped: {type(error).__name__}: {error}"
    if isinstance(done.outcome, Killed | Lost):
        return "typed"
    return "right" if (done.stdout, done.stderr, done.returncode) == (DATA, b"done\n", CODE) else "wrong"


async def _serves(service: Service) -> bool:
    """Return whether the service runs a command now."""
    try:
        return service.process.returncode is None and await _run(service) == "right"
    except OSError:
        return False


CAMPAIGN = Campaign("faults", "System calls of the core that fail.", measure, short=150, nightly=3 * 3600)
