"""Each action and each denial is one line with user and address in the audit log of a real service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client import AuthenticationError, RequestRefused
from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from farhand_server.audit.entry import argv_sha256
from tests.support.client import TIMEOUT, RawClient
from tests.support.policy_service import ME, PolicyService, farhandd, policy_service

pytestmark = pytest.mark.needs("ssh-keygen")

POLICY = """
[[rules]]
name = "boss"
who = {{ users = ["{me}"], keys = ["{boss}"] }}
commands = [["/bin/echo", "..."], ["/bin/true"], ["/bin/cat"]]
others = ["attach", "signal"]

[[rules]]
name = "local"
who = {{ uids = [{uid}] }}
commands = [["*", "..."]]
shell = true
record = true

[[rules]]
name = "deploy"
who = {{ keys = ["{deploy}"] }}
commands = [["/bin/echo", "*"], ["/bin/cat"]]
environment = ["TOKEN"]
audit = "hash"
"""

CONNECT_AS_SOMEONE_ELSE = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.settimeout(20)
while s.recv(4096): pass
"""


@pytest.fixture
async def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PolicyService]:
    policy = POLICY.replace("{uid}", str(os.getuid()))
    async with policy_service(tmp_path, monkeypatch, policy, boss="", deploy="") as running:
        yield running


def without(entry: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an entry without its sequence number, hashes, time and these members."""
    return {name: value for name, value in entry.items() if name not in {"seq", "time", "prev", "hash", *names}}


async def whole(guard: PolicyService, count: int) -> None:
    """Check that the log has `count` entries and passes `farhandd audit verify`."""
    exit_code, output = await farhandd(guard, "audit", "verify")
    assert (exit_code, output.splitlines()[0]) == (0, f"{count} entries, chain unbroken")


async def test_a_login_and_a_run_by_key_are_logged_with_key_and_address(guard: PolicyService) -> None:
    async with guard.client("boss") as client:
        done = await client.run(["echo", "x"])
    login, start, end = guard.audited()
    who = {"user": ME, "how": "key", "key": guard.keys["boss"], "peer": login["peer"]}
    assert login["peer"].startswith("127.0.0.1:")
    assert without(login) == {"event": "login", **who}
    assert without(start, "run") == {"event": "start", **who, "argv": [f"{os.path.realpath('/bin')}/echo", "x"]}
    assert without(end, "run") == {"event": "end", **who, "outcome": "exited"}
    assert {start["run"], end["run"]} == {done.run_id}
    await whole(guard, 3)


async def test_a_local_client_is_logged_as_a_peer(guard: PolicyService) -> None:
    async with RawClient.connect(guard.service.socket) as client:
        await client.run("true")
    assert [without(entry, "run") for entry in guard.audited("login", "start")] == [
        {"event": "login", "user": ME, "how": "peer"},
        {"event": "start", "user": ME, "how": "peer", "argv": ["true"], "recorded": ["output"]},
    ]


async def test_a_login_shell_is_logged_with_name_terminal_and_recording(guard: PolicyService) -> None:
    screen = m.TerminalRequest(name="xterm", size=m.WindowSize(columns=80, rows=24))
    async with RawClient.connect(guard.service.socket) as client:
        run = client.start(login=True, terminal=screen, stdin=True, merge_stderr=True, record_input=True)
        await run.started()
        run.send(m.Stop(kill_after=0))
        await run.ended()
    shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    (start,) = guard.audited("start")
    assert without(start, "run", "user", "how") == {
        "event": "start",
        "argv": [shell],
        "argv0": f"-{Path(shell).name}",
        "terminal": "xterm",
        "recorded": ["output", "stdin"],
    }
    with contextlib.closing(sqlite3.connect(guard.state / "history.db")) as history:
        (text,) = history.execute("SELECT request FROM runs").fetchone()
    request = json.loads(text)
    assert (request["login"], request["terminal"]["name"], request["recorded"]) == (True, "xterm", True)


async def test_refused_logins_are_logged_with_their_cause(guard: PolicyService) -> None:
    (guard.directory / "config/farhand/authorized_keys").write_text("")
    with pytest.raises(AuthenticationError):
        async with guard.client("boss"):
            pass
    (entry,) = guard.audited()
    assert (entry["event"], entry["user"], entry["key"]) == ("login_refused", ME, guard.keys["boss"])
    assert (entry["outcome"], entry["how"]) == ("key_not_authorized", "key")
    assert entry["peer"].startswith("127.0.0.1:")
    await whole(guard, 1)


@pytest.mark.needs("root")
async def test_a_refused_local_account_is_logged(guard: PolicyService) -> None:
    for directory in guard.service.socket.parents:
        if directory.stat().st_uid == 0 and not directory.stat().st_mode & stat.S_IXOTH:
            directory.chmod(0o711)
    command = [sys.executable, "-I", "-c", CONNECT_AS_SOMEONE_ELSE, str(guard.service.socket)]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=TIMEOUT)
    (entry,) = guard.audited()
    assert (entry["event"], entry["user"], entry["how"]) == ("login_refused", "nobody", "peer")


async def test_a_denied_run_is_logged_with_its_request(guard: PolicyService) -> None:
    async with guard.client("boss") as client:
        with pytest.raises(RequestRefused):
            await client.run("rm -rf /srv", shell=True)
    _, denial = guard.audited()
    assert (denial["event"], denial["key"]) == ("denial", guard.keys["boss"])
    assert denial["argv"][1:] == ["-c", "rm -rf /srv"]
    assert denial["detail"] == f"the policy does not let {ME} have a shell"
    await whole(guard, 2)


async def test_the_policy_hides_arguments_in_audit_log_and_history(guard: PolicyService) -> None:
    async with guard.client("deploy") as client:
        done = await client.run(["echo", "hush"], env={"TOKEN": "hush too"})
        assert done.outcome == Exited(code=0)
        with pytest.raises(RequestRefused):
            await client.run(["echo", "hush", "hush"])
    start, denial = guard.audited("start", "denial")
    assert start["argv_sha256"] == argv_sha256((os.path.realpath("/bin").encode() + b"/echo", b"hush"))
    assert denial["argv_sha256"] == argv_sha256((b"echo", b"hush", b"hush"))
    await guard.service.stop()
    for file in guard.state.iterdir():
        if file.is_file():
            assert b"hush" not in file.read_bytes()


async def test_values_of_environment_variables_are_not_logged(guard: PolicyService) -> None:
    async with RawClient.connect(guard.service.socket) as client:
        await client.run("true", env=((b"LANG", b"hush"),))
    await guard.service.stop()
    for file in guard.state.iterdir():
        if file.is_file():
            assert b"hush" not in file.read_bytes()


async def test_attachments_signals_and_stops_are_logged_with_the_user(guard: PolicyService) -> None:
    async with guard.client("deploy") as deploy, guard.client("boss") as boss:
        run = await deploy.start(["cat"], stdin=subprocess.PIPE)
        await boss.signal(run.id, 18)
        async with boss.attach(run.id, read_only=True) as attached:
            attached.detach()
        async with boss.attach(run.id) as attached:
            attached.send_signal(10)
            await attached.wait()
        with pytest.raises(RequestRefused):
            await deploy.signal(run.id.replace("0", "1"), 15)
    reported = [without(entry, "peer", "how", "user") for entry in guard.audited("attach", "signal")]
    by = {"run": run.id, "key": guard.keys["boss"]}
    assert reported == [
        {"event": "signal", **by, "detail": "SIGCONT"},
        {"event": "attach", **by, "detail": "read-only"},
        {"event": "attach", **by},
        {"event": "signal", **by, "detail": "SIGUSR1"},
    ]


async def test_a_stop_is_logged(guard: PolicyService) -> None:
    async with RawClient.connect(guard.service.socket) as client:
        run = client.start("sleep", "60")
        await run.started()
        run.send(m.Stop())
        await run.ended()
    (entry,) = guard.audited("signal")
    assert (entry["run"], entry["detail"]) == (run.request.id, "stop")


async def test_attempts_on_runs_of_others_are_logged_as_denials(guard: PolicyService) -> None:
    async with guard.client("boss") as boss, guard.client("deploy") as deploy:
        run = await boss.start(["cat"], stdin=subprocess.PIPE)
        with pytest.raises(RequestRefused, match="no run"):
            await deploy.wait(run.id)
    (denial,) = guard.audited("denial")
    assert (denial["run"], denial["key"]) == (run.id, guard.keys["deploy"])
    assert denial["detail"] == f"the policy does not let {ME} see this run of {ME}"


async def test_the_same_request_again_is_logged_as_an_attachment(guard: PolicyService) -> None:
    async with RawClient.connect(guard.service.socket) as client, RawClient.connect(guard.service.socket) as again:
        run = client.start("cat", stdin=True)
        await run.started()
        same = again.start("cat", stdin=True, id=run.request.id)
        await same.started()
        run.send(m.End(stream="stdin"))
        await same.ended()
    assert [(entry["event"], entry["run"]) for entry in guard.audited("start", "attach")] == [
        ("start", run.request.id),
        ("attach", run.request.id),
    ]


async def test_the_audit_chain_continues_after_the_service_was_killed(guard: PolicyService) -> None:
    async with guard.client("boss") as client:
        await client.run(["true"])
        guard.service.process.kill()
        await guard.service.process.wait()
    await whole(guard, 3)
