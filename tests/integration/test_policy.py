"""Each request is decided by the policy in force at that moment: what it allows is done, and nothing else."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from farhand_client import PIPE, RequestRefused, Run, connect
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, Killed
from tests.support.client import RawClient
from tests.support.policy_service import ME, PolicyService, farhandd, policy_service
from tests.support.service import running_service

pytestmark = pytest.mark.needs("ssh-keygen")

POLICY = """
[[rules]]
name = "boss"
who = {{ users = ["{me}"], keys = ["{boss}"] }}
commands = [["*", "..."]]
shell = true
detach = true
others = ["see", "attach", "signal"]

[[rules]]
name = "deploy"
who = {{ users = ["{me}"], keys = ["{deploy}"] }}
commands = [["/bin/echo", "app-*"], ["/bin/pwd"], ["/bin/sleep", "*"], ["/usr/bin/printenv", "*"], ["/bin/cat"]]
environment = ["APP_*", "PATH"]
directories = ["/usr", "/etc"]
limits = {{ timeout = "1 min" }}

[[rules]]
name = "restricted"
who = {{ keys = ["{restricted}"] }}
shell = true

[[rules]]
name = "watch"
who = {{ keys = ["{watch}"] }}
others = ["attach"]
"""


@pytest.fixture
async def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PolicyService]:
    keys = {
        "boss": "",
        "deploy": "",
        "watch": "",
        "nobody": "",
        "restricted": "restrict",
        "forced": 'command="echo forced"',
    }
    async with policy_service(tmp_path, monkeypatch, POLICY, **keys) as running:
        yield running


async def refusal(asked: Awaitable[object]) -> str:
    """Return the reason why a request was denied."""
    with pytest.raises(RequestRefused) as caught:
        await asked
    assert caught.value.code == ErrorCode.DENIED
    return str(caught.value)


def feed(run: Run, data: bytes = b"", *, end: bool = False) -> None:
    """Send input to a run; with `end`, also the end of its stdin."""
    assert run.stdin is not None
    run.stdin.write(data)
    if end:
        run.stdin.close()


async def code(asked: Awaitable[object]) -> ErrorCode:
    """Return the code of a refusal."""
    with pytest.raises(RequestRefused) as caught:
        await asked
    return caught.value.code


async def test_requests_that_a_rule_allows_are_done_and_all_others_denied(guard: PolicyService) -> None:
    async with guard.client("deploy") as client:
        done = await client.run(["echo", "app-1"], cwd="/usr")
        assert (done.stdout, done.outcome) == (b"app-1\n", Exited(code=0))
        may_not = f"the policy does not let {ME}"
        assert f"{may_not} run 'echo' with these arguments" in await refusal(client.run(["echo", "db-1"], cwd="/usr"))
        assert f"{may_not} run 'id'" in await refusal(client.run(["id"], cwd="/usr"))
        assert f"{may_not} have a shell" in await refusal(client.run("echo app-1", shell=True, cwd="/usr"))
        assert f"{may_not} set the environment variable 'LD_PRELOAD'" in await refusal(
            client.run(["echo", "app-1"], cwd="/usr", env={"LD_PRELOAD": "/x.so"})
        )
        assert (await client.run(["printenv", "APP_MODE"], cwd="/usr", env={"APP_MODE": "on"})).stdout == b"on\n"
        assert f"{may_not} run this in the directory '/var'" in await refusal(client.run(["pwd"], cwd="/var"))
        assert f"{may_not} detach from this run" in await refusal(
            client.run(["sleep", "9"], cwd="/usr", on_disconnect="keep")
        )
    async with guard.client("nobody") as client:
        assert f"{may_not} run anything here" in await refusal(client.run(["true"]))


async def test_a_terminal_needs_permission_of_rule_and_key(guard: PolicyService) -> None:
    screen = m.TerminalRequest(name="xterm", size=m.WindowSize(columns=80, rows=24))
    async with guard.client("boss") as boss:
        run = await boss.start(["test", "-t", "0"], terminal=screen)
        assert (await run.wait()).outcome == Exited(code=0)
    async with guard.client("deploy") as deploy:
        denied = deploy.start(["cat"], terminal=screen, cwd="/usr")
        assert f"the policy does not let {ME} have a terminal for this" in await refusal(denied)
        assert f"the policy does not let {ME} have a shell" in await refusal(deploy.shell(screen, cwd="/usr"))
        allowed = POLICY.replace('name = "deploy"', 'name = "deploy"\nterminal = true')
        await guard.reload(allowed.format(me=ME, **guard.keys))
        run = await deploy.start(["cat"], terminal=screen, cwd="/usr")
        feed(run, b"\x04")
        assert (await run.wait()).outcome == Exited(code=0)
    async with guard.client("restricted") as client:
        sentence = "this key does not allow a terminal (restrict or no-pty in authorized_keys); run it without one"
        assert sentence in await refusal(client.shell(screen))
        run = await client.shell(None)
        feed(run, b"exit 7\n")
        assert (await run.wait()).outcome == Exited(code=7)


async def test_the_program_that_was_judged_is_the_one_executed(guard: PolicyService, tmp_path: Path) -> None:
    """Neither a different PATH nor a symbolic link makes the service run another program or use another directory."""
    (tmp_path / "echo").write_text("#!/bin/sh\necho wrong\n")
    (tmp_path / "echo").chmod(0o755)
    (tmp_path / "link").symlink_to("/usr")
    async with guard.client("deploy") as client:
        denied = client.run(["echo", "app-1"], cwd="/usr", env={"PATH": f"{tmp_path}:/usr/bin"})
        assert "run 'echo' with these arguments" in await refusal(denied)
        assert (await client.run(["pwd"], cwd=str(tmp_path / "link"))).stdout == b"/usr\n"


async def test_a_reload_applies_to_the_next_request_on_the_same_connection(guard: PolicyService) -> None:
    async with guard.client("deploy") as client:
        assert "have a shell" in await refusal(client.run("echo x", shell=True, cwd="/usr"))
        run = await client.start(["cat"], stdin=PIPE, cwd="/usr")
        with_shell = POLICY.replace('name = "deploy"', 'name = "deploy"\nshell = true')
        await guard.reload(with_shell.format(me=ME, **guard.keys))
        assert (await client.run("echo x", shell=True, cwd="/usr")).stdout == b"x\n"
        await guard.reload("rules = []")
        assert "run anything here" in await refusal(client.run(["echo", "app-1"], cwd="/usr"))
        # A run that was allowed when it started continues.
        feed(run, b"still here", end=True)
        assert (await run.wait()).outcome == Exited(code=0)


async def test_an_invalid_policy_prevents_a_start_and_is_refused_at_a_reload(guard: PolicyService) -> None:
    async with guard.client("deploy") as client:
        reported = await guard.reload('[[rules]]\nname = "deploy"\nwho = { users = ["x"] }\nshel = true\n')
        assert "refused" in reported
        assert (await client.run(["echo", "app-1"], cwd="/usr")).outcome == Exited(code=0)
    for command in (["check"], ["serve", "--socket", str(guard.directory / "another")]):
        exit_code, output = await farhandd(guard, *command)
        assert (exit_code, "did you mean 'shell'?" in output) == (1, True)
    guard.policy.unlink()
    exit_code, output = await farhandd(guard, "check")
    assert (exit_code, "the file does not exist" in output) == (1, True)


async def test_runs_of_others_are_invisible_without_a_rule(guard: PolicyService) -> None:
    async with guard.client("boss") as boss, guard.client("deploy") as deploy, guard.client("watch") as watch:
        run = await boss.start(["cat"], stdin=PIPE, cwd="/usr")
        assert await deploy.runs() == await deploy.runs(ended=True) == []
        for asked in (deploy.wait(run.id), deploy.signal(run.id, 15), deploy.wait_for(run.id, timeout=0.1)):
            assert await code(asked) == ErrorCode.UNKNOWN_RUN
        assert await code(deploy.start(["cat"], stdin=PIPE, run_id=run.id, cwd="/usr")) == ErrorCode.CONFLICT

        assert [seen.id for seen in await watch.runs()] == [run.id]
        async with watch.attach(run.id) as attached:
            feed(run, b"for both\n")
            assert await anext(aiter(attached.stdout)) == b"for both\n"
            attached.terminate()
            assert f"does not let {ME} signal this run" in await refusal(attached.wait())
        assert f"does not let {ME} signal this run" in await refusal(watch.signal(run.id, 15))

        theirs = await deploy.start(["sleep", "60"], cwd="/usr")
        assert {seen.id for seen in await boss.runs()} == {run.id, theirs.id}
        assert (await boss.stop(theirs.id)).outcome == Killed(reason="requested", signal=15)
        feed(run, end=True)
        assert (await run.wait()).outcome == Exited(code=0)


async def test_an_existing_run_can_be_attached_to_after_its_start_was_forbidden(
    guard: PolicyService,
) -> None:
    run_id = "01890a5d-ac96-474b-8cce-b302099a8057"
    async with guard.client("deploy") as client, guard.client("deploy") as again:
        run = await client.start(["cat"], stdin=PIPE, cwd="/usr", run_id=run_id)
        await guard.reload("rules = []")
        same = await again.start(["cat"], stdin=PIPE, cwd="/usr", run_id=run_id)
        assert same.pid == run.pid
        feed(run, end=True)
        assert (await same.wait()).outcome == Exited(code=0)


async def test_a_forced_command_is_judged_and_allows_nothing_else(guard: PolicyService) -> None:
    async with guard.client("forced") as client, guard.client("boss") as boss:
        assert "run anything here" in await refusal(client.run(["echo", "app-1"]))
        backup = '[[rules]]\nname = "backup"\nwho = {{ keys = ["{forced}"] }}\nothers = ["attach", "signal"]\n'
        shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
        backup += f'commands = [["{shell}", "-c", "echo forced"]]\n'
        await guard.reload((POLICY + backup).format(me=ME, **guard.keys))
        assert (await client.run(["echo", "app-1"])).stdout == b"forced\n"
        run = await boss.start(["cat"], stdin=PIPE)
        assert await client.runs() == []
        assert await code(client.signal(run.id, 15)) == ErrorCode.UNKNOWN_RUN
        feed(run, end=True)
        await run.wait()


@pytest.mark.needs("root")
async def test_rules_for_local_accounts_match_the_connecting_account(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        f'[[rules]]\nname = "root"\nwho = {{ users = ["root"] }}\ncommands = [["*", "..."]]\n'
        'others = ["see"]\n'
        f'[[rules]]\nname = "local"\nwho = {{ uids = [{nobody.pw_uid}] }}\ncommands = [["/usr/bin/id", "-un"]]\n'
        'environment = ["PATH"]\n'
    )
    async with running_service(tmp_path, config=f'[policy]\nfile = "{policy}"\n') as service, AsyncExitStack() as stack:
        for directory in service.socket.parents:
            if directory.stat().st_uid == 0 and not directory.stat().st_mode & stat.S_IXOTH:
                directory.chmod(0o711)
        os.seteuid(nobody.pw_uid)
        try:
            client = await stack.enter_async_context(RawClient.connect(service.socket))
        finally:
            os.seteuid(0)
        accepted = await client.wait_for_message(m.Accepted)
        assert isinstance(accepted, m.Accepted)
        assert accepted.user == "nobody"
        # A program that nobody's account cannot access is skipped by its search.
        (tmp_path / "closed").mkdir(mode=0o700)
        (tmp_path / "closed/id").symlink_to("/bin/true")
        _, run = await client.run("id", "-un", cwd="/", env=((b"PATH", os.fsencode(tmp_path) + b"/closed:/usr/bin"),))
        assert run.stdout == b"nobody\n"
        async with connect(service.host) as root:
            assert [(seen.id, seen.owner) for seen in await root.runs(ended=True)] == [(run.request.id, "nobody")]
        assert (await client.start("id", cwd="/").error()).code == "denied"
