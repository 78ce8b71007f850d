"""The owner of a run can find, follow, await, signal and end it, from any client and from several at once."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from farhand_client import AmbiguousId, Exited, Killed, RequestRefused, Signaled, connect
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, MiB
from tests.support.client import RawClient, new_id
from tests.support.command import farhand, running
from tests.support.processes import command_line
from tests.support.service import Service


async def test_runs_are_listed_while_they_run_and_afterwards(service: Service) -> None:
    async with connect(service.host) as client:
        assert await client.runs(ended=True) == []
        async with client.start(["sh", "-c", "echo out; echo err >&2; exec sleep 60"]) as run:
            await client.wait_for(run.id, "out\n")
            await client.wait_for(run.id, "err\n", stream="stderr")
            (one,) = await client.runs()
            assert (one.id, one.pid, one.stdout, one.stderr, one.attachments) == (run.id, run.pid, 4, 4, 1)
            assert (one.outcome, one.on_disconnect, one.stdin) == (None, "kill", None)
        assert await client.runs() == []
        (one,) = await client.runs(ended=True)
        assert isinstance(one.outcome, Killed)
        assert (one.command, one.pid) == ("sh -c 'echo out; echo err >&2; exec sleep 60'", None)
        for _ in range(3):
            await client.run(["true"])
        newest_first = [each.id for each in await client.runs(ended=True)]
        assert newest_first == sorted(newest_first, reverse=True)
        assert newest_first[-1] == run.id
        assert [each.id for each in await client.runs(ended=True, prefix=run.id[:20])] == [run.id]
        assert (await client.info(run.id[:20])).outcome == one.outcome
        with pytest.raises(AmbiguousId):
            await client.info(run.id[:5])


async def test_a_thousand_unread_listings_delay_no_other_client(service: Service) -> None:
    async with connect(service.host) as client:
        long = "x" * 900
        for _ in range(150):
            await client.run(["true", long])
        async with RawClient.connect(service.socket) as rude:
            rude.stop_reading()
            for _ in range(1024):
                rude.connection.open(m.List(ended=True))
            rude.flush()
            for _ in range(20):
                assert (await client.run(["echo", "hi"])).stdout == b"hi\n"
            status = Path(f"/proc/{service.process.pid}/status").read_text()
            (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
            assert peak < 200 * KiB


async def test_a_wait_ends_with_the_first_of_its_conditions(service: Service) -> None:
    async with connect(service.host) as client:
        script = "printf 'login: '; read name; echo hello $name; read again; exit 4"
        async with client.start(["sh", "-c", script], stdin=-1) as run:
            assert run.stdin is not None
            found = await run.wait_for("login: ", timeout=30)
            assert (found.reason, found.start, found.end) == ("pattern", 0, 7)
            run.stdin.write(b"ada\n")
            found = await run.wait_for("hello (\\w+)$", offset=found.end, timeout=30)
            assert (found.reason, found.start, found.end) == ("pattern", 7, 16)
            assert (await run.wait_for(idle=0.05, timeout=30)).reason == "idle"
            assert (await run.wait_for("never", timeout=0.05)).reason == "timeout"
            ending = asyncio.ensure_future(run.wait_for("never", timeout=30))
            run.stdin.write(b"\n")
            assert (await ending).reason == "ended"
            assert (await run.wait()).outcome == Exited(code=4)
        assert (await client.wait_for(run.id, "hello ada")).start == 7
        assert (await client.wait_for(run.id, "hello bob")).reason == "ended"


async def test_a_wait_sees_all_kept_output_however_fast_it_is_written(service: Service) -> None:
    async with connect(service.host) as client:
        script = "sleep 0.2; head -c 20000000 /dev/zero; echo here; head -c 20000000 /dev/zero"
        async with client.start(["sh", "-c", script], spool=64 * MiB) as run:
            wait = asyncio.ensure_future(run.wait_for("here\n"))
            total = sum([len(chunk) async for chunk in run.stdout])
            assert total == 40_000_005
            assert (await run.wait()).outcome == Exited(code=0)
            assert (await wait) == m.Matched(reason="pattern", start=20_000_000, end=20_000_005)


async def test_waits_on_one_connection_are_bounded(service: Service) -> None:
    async with connect(service.host) as client, client.start(["sleep", "60"]) as run:
        waits = [asyncio.ensure_future(run.wait_for("x")) for _ in range(64)]
        await client.ping()
        with pytest.raises(RequestRefused, match="is waiting for 64 runs") as caught:
            await run.wait_for("x")
        assert caught.value.code is ErrorCode.TOO_MANY_RUNS
        waits.pop().cancel()
        await client.ping()
        assert (await run.wait_for("x", timeout=0.01)).reason == "timeout"
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def test_runs_can_be_signalled_by_id(service: Service) -> None:
    async with connect(service.host) as client:
        async with client.start(["sh", "-c", "trap 'echo got' USR1; echo ready; while :; do sleep 0.01; done"]) as run:
            await run.wait_for("ready")
            await client.signal(run.id[:20], signal.SIGUSR1)
            assert (await run.wait_for("got", timeout=30)).reason == "pattern"
            await client.signal(run.id, signal.SIGKILL)
            assert (await run.wait()).outcome == Signaled(signal=9)
        with pytest.raises(RequestRefused) as ended:
            await client.signal(run.id, signal.SIGTERM)
        assert ended.value.code is ErrorCode.RUN_ENDED
        with pytest.raises(RequestRefused) as unknown:
            await client.signal(new_id(), signal.SIGTERM)
        assert unknown.value.code is ErrorCode.UNKNOWN_RUN


async def test_a_signal_right_behind_a_start_waits_for_the_program(service: Service) -> None:
    async with RawClient.connect(service.socket) as client:
        run = client.start("sleep", "60")
        client.connection.open(m.Deliver(id=run.request.id, number=signal.SIGTERM))
        client.flush()
        assert (await run.ended()).outcome == Signaled(signal=15)


# The commands


async def detached(service: Service, script: str, *options: str) -> str:
    done = await farhand("run", "--detach", "--shell", *options, service.host, script)
    assert (done.code, done.stderr) == (0, b"")
    return done.stdout.decode().strip()


async def test_logs_follow_a_run_that_was_left_and_wait_has_its_code(service: Service) -> None:
    run = await detached(service, "for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.1; done; exit 6")
    following, waiting = await asyncio.gather(
        farhand("logs", "-f", service.host, run), farhand("wait", service.host, run[:20])
    )
    assert (following.code, following.stdout, following.stderr) == (0, b"1\n2\n3\n", b"e1\ne2\ne3\n")
    assert (waiting.code, waiting.stdout, waiting.stderr) == (6, b"", b"")
    assert (await farhand("logs", "--from", "4", "--stdout", service.host, run)).stdout == b"3\n"
    assert (await farhand("logs", "--tail", "3", service.host, run)).stderr == b"e3\n"
    done = await farhand("logs", "--from", "7", "--stdout", service.host, run)
    assert (done.code, b"has 6 bytes" in done.stderr) == (255, True)


async def test_several_attach_and_one_of_them_feeds_the_run(service: Service) -> None:
    run = new_id()
    async with connect(service.host) as client:
        async with client.start(["cat"], stdin=-1, run_id=run, on_disconnect="keep") as first:
            assert first.stdin is not None
            first.stdin.write(b"one\n")
            await first.wait_for("one\n")
            done = await asyncio.gather(*(_watched(service, run) for _ in range(2)))
            assert done == [b"one\n", b"one\n"]
            async with running("attach", service.host, run, stdin=-1) as second:
                assert second.stdout is not None
                assert second.stderr is not None
                assert await second.stdout.readline() == b"one\n"
                assert b"another client sends this run's stdin" in await second.stderr.readline()
                second.send_signal(signal.SIGTERM)
                assert await second.wait() == 143
        attached = await farhand("attach", service.host, run, input=b"two\n")
        assert (attached.code, attached.stdout, attached.stderr) == (0, b"one\ntwo\n", b"")


async def _watched(service: Service, run: str) -> bytes:
    async with running("attach", "--read-only", service.host, run) as process:
        assert process.stdout is not None
        line = await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        return line


async def test_lost_output_is_reported_to_the_byte(service: Service) -> None:
    run = await detached(service, "head -c 300000 /dev/zero; echo end", "--buffer", "spool=64K")
    assert (await farhand("wait", service.host, run)).code == 0
    done = await farhand("logs", service.host, run)
    assert (done.code, len(done.stdout), done.stdout[-4:]) == (0, 64 * KiB, b"end\n")
    gone = 300_004 - 64 * KiB
    assert done.stderr == f"farhand: {gone} bytes of stdout from offset 0 on are no longer kept\n".encode()
    done = await farhand("attach", service.host, run)
    assert (done.code, len(done.stdout)) == (0, 64 * KiB)


async def test_kill_also_ends_processes_that_left_the_group(service: Service) -> None:
    run = await detached(service, "setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 987' & wait")
    assert (await farhand("wait", "--pattern", "\\d+\\n", service.host, run)).code == 0
    pid = int((await farhand("logs", service.host, run)).stdout)
    done = await farhand("kill", "--kill-after", "0.2", service.host, run)
    assert (done.code, done.stdout) == (0, f"{run} was stopped on request\n".encode())
    assert b"sleep" not in command_line(pid)


async def test_ps_shows_ids_that_the_other_commands_accept(service: Service) -> None:
    runs = [await detached(service, f"sleep {number}") for number in (91, 92)]
    done = await farhand("ps", service.host)
    heading, second, first = done.stdout.decode().splitlines()
    assert (done.code, heading.split()[:2]) == (0, ["ID", "STATE"])
    for run, line in zip(runs, (first, second), strict=True):
        short, state, *_ = line.split()
        assert (run.startswith(short), state) == (True, "running")
        assert (await farhand("kill", service.host, short)).code == 0
    assert (await farhand("ps", service.host)).stdout.count(b"\n") == 1
    done = await farhand("ps", "-a", "--json", service.host)
    assert [json.loads(line)["run_id"] for line in done.stdout.splitlines()] == runs[::-1]


async def test_a_kill_with_a_grace_longer_than_usual_waits_for_it(service: Service) -> None:
    run = await detached(service, "trap 'sleep 0.5; exit 9' TERM; echo up; while :; do sleep 0.01; done")
    assert (await farhand("wait", "--pattern", "up", service.host, run)).code == 0
    done = await farhand("kill", "--kill-after", "30", "--json", service.host, run)
    assert (done.code, json.loads(done.stdout)["code"]) == (0, 9)
