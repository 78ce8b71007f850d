"""What happens in a forked child never reaches the connection of its parent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from tests.support.fake_runs import stoppable
from tests.support.fake_service import succeed
from tests.support.fake_tls import tls_service
from tests.support.serving import serving

UNWINDING = """
import asyncio, os, sys
from farhand_client import NotUsableHere, connect

async def main():
    async with connect(sys.argv[1]) as client, client.start(["sleep"]) as run:
        other = asyncio.create_task(client.run(["sleep"]))
        await asyncio.sleep(0)
        child = os.fork()
        if child == 0:
            assert not client.connected
            for call in (client.ping(), client.run(["true"]), run.wait(), run.stdout.read()):
                try:
                    await call
                except NotUsableHere as error:
                    assert "connect again here, in the child" in str(error), error
                else:
                    os._exit(1)
            sys.exit(7)  # leaves both contexts and cancels the task, as every exception does
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert await client.ping() > 0
        assert not other.done()
        print("going on", flush=True)
        sys.stdin.read()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    print(run.outcome.status, flush=True)

asyncio.run(main())
"""


def test_a_child_that_unwinds_leaves_the_parents_runs_alone(tmp_path: Path) -> None:
    with serving(tmp_path, stoppable) as service:
        script = subprocess.Popen(
            [sys.executable, "-c", UNWINDING, service.host], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert script.stdin is not None
        assert script.stdout is not None
        assert script.stdout.readline() == b"going on\n"
        assert [message for run in service.runs for message in run.messages if isinstance(message, m.Stop)] == []
        script.stdin.close()
        assert script.stdout.read() == b"killed\n"
        assert script.wait(30) == 0
        script.stdout.close()


LIVING_ON = """
import asyncio, os, sys
from farhand_client import connect

async def main():
    client = await connect(sys.argv[1])
    await client.run(["true"])
    if os.fork():
        os._exit(0)
    print("forked", flush=True)
    sys.stdin.read()
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_service_sees_the_end_of_a_parent_whose_child_lives_on(tmp_path: Path, loop: str) -> None:
    script = LIVING_ON.replace("asyncio.run", "uvloop.run").replace("import ", "import uvloop, ", 1)
    with serving(tmp_path, succeed) as service:
        command = [sys.executable, "-c", LIVING_ON if loop == "asyncio" else script, service.host]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
            assert parent.stdin is not None
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"forked\n"
            service.wait_until_closed()
            parent.stdin.close()  # only now may the child end


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_it_is_so_over_tls_and_on_either_loop(tmp_path: Path, loop: str) -> None:
    script = UNWINDING.replace("connect(sys.argv[1])", "connect(sys.argv[1], accept_new=True)")
    if loop == "uvloop":
        # A child that leaves a running uvloop in an orderly way crashes, with or without a client.
        script = script.replace("asyncio.run(", "import uvloop; uvloop.run(").replace("sys.exit(7)", "os._exit(7)")
    async with tls_service(tmp_path) as (service, _):
        service.behave = stoppable
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, service.host),
            env={**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"going on\n"
        assert [message for run in service.runs for message in run.messages if isinstance(message, m.Stop)] == []
        output, _ = await process.communicate(b"")
        assert (output, process.returncode) == (b"killed\n", 0)
