"""`farhand_client.sync` is the same API with blocking calls, usable from any thread, and Ctrl-C interrupts them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from farhand_client import CommandError, ConnectError, Remote, RequestRefused, sync
from farhand_protocol import messages as m
from farhand_protocol.features import FILES
from farhand_protocol.outcome import Exited, Killed
from tests.support.fake_service import FakeRun
from tests.support.fake_transfer_worker import agree
from tests.support.serving import serving


async def shell(run: FakeRun) -> None:
    """Behave as the first argument says: cat, sleep, or print it and two more lines and exit with 3."""
    assert run.request.argv is not None
    run.started()
    match run.request.argv[0]:
        case b"cat":
            await run.until(m.End)
            await run.write("stdout", run.stdin)
            run.ended()
        case b"sleep":
            await run.until(m.Stop)
            run.ended(Killed(reason="requested", signal=15))
        case name:
            await run.write_rest("stdout", name + b"\n1\n2")
            run.ended(Exited(code=3))


def test_run_works_as_with_asyncio(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service, sync.connect(service.host) as client:
        assert (client.user, client.host, client.name) == ("ann", "fake", service.host)
        assert client.run(["cat"], input=b"x").stdout == b"x"
        assert client.run(["fail"]).returncode == 3
        with pytest.raises(CommandError):
            client.run(["fail"], check=True)
        with pytest.raises(ValueError, match="args is empty"):
            client.run([])
        assert client.ping() > 0


def test_connect_raises_the_same_errors(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="there is no socket"):
        sync.connect(f"unix:{tmp_path}/none")


def test_streams_can_be_looped_over(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service, sync.connect(service.host) as client:
        with client.start(["prog"]) as run:
            assert list(run.stdout.lines()) == [b"prog\n", b"1\n", b"2"]
            assert run.wait().outcome == Exited(code=3)
            assert (run.returncode, run.pid) == (3, 4711)
        with client.start(["prog"]) as run:
            assert b"".join(run.stdout) == b"prog\n1\n2"
        with client.start(["prog"]) as run:
            assert (run.stdout.read(2), run.stdout.read()) == (b"pr", b"og\n1\n2")


def test_stdin_is_written_to(tmp_path: Path) -> None:
    with (
        serving(tmp_path, shell) as service,
        sync.connect(service.host) as client,
        client.start(["cat"], stdin=sync.PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(b"one ")
        run.stdin.write(b"two")
        run.stdin.close()
        assert run.stdout.read() == b"one two"


def test_leaving_the_context_stops_the_run(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service, sync.connect(service.host) as client:
        with client.start(["sleep"]) as run:
            run.send_signal(signal.SIGUSR1)
            run.terminate()
            run.kill()
        assert run.result is not None
        assert run.result.outcome == Killed(reason="requested", signal=15)
        signals = [one.number for one in service.runs[0].messages if isinstance(one, m.Signal)]
        assert signals == [signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL]


def test_threads_share_a_client(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service, sync.connect(service.host) as client, ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda n: client.run(["cat"], input=b"%d" % n).stdout, range(50)))
        assert outputs == [b"%d" % n for n in range(50)]
        assert len(service.connections) == 1


def test_files_are_moved_by_calls_that_wait(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service, sync.connect(service.host) as client:
        with pytest.raises(TypeError, match="unexpected keyword argument 'recursive'"):
            client.put("a", "b", recursive=True)  # type: ignore[call-arg]  # as for scp
        for call in (client.put, client.get):
            with pytest.raises(RequestRefused, match="cannot transfer files: its farhandd is older"):
                call(tmp_path / "a", "b")
        with pytest.raises(RequestRefused, match="cannot transfer files"):
            client.sync("a", Remote("b"), delete=True)


SCRIPT = """
import sys, farhand_client.sync as farhand
with farhand.connect(sys.argv[1]) as client:
    print("connected", flush=True)
    try:
        client.run(["sleep"])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_ctrl_c_stops_the_run_and_then_interrupts_the_script(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service:
        script = subprocess.Popen([sys.executable, "-c", SCRIPT, service.host], stdout=subprocess.PIPE)
        assert script.stdout is not None
        assert script.stdout.readline() == b"connected\n"
        while not service.runs:
            os.sched_yield()
        script.send_signal(signal.SIGINT)
        assert script.stdout.read() == b"interrupted\n"
        assert script.wait(30) == 0
        script.stdout.close()
    assert m.Stop() in service.runs[0].messages


TRANSFER = """
import sys, farhand_client.sync as farhand
with farhand.connect(sys.argv[1]) as client:
    print("connected", flush=True)
    try:
        client.put(sys.argv[2], "there")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_ctrl_c_stops_a_transfer(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(16 << 20))
    agreed = threading.Event()

    async def behave(run: FakeRun) -> None:
        await agree(run)
        agreed.set()
        await run.until(m.Stop)
        run.ended(Killed(reason="requested", signal=15))

    with serving(tmp_path, behave) as service:
        service.features = (FILES,)
        script = subprocess.Popen(
            [sys.executable, "-c", TRANSFER, service.host, str(tmp_path / "big")], stdout=subprocess.PIPE
        )
        assert script.stdout is not None
        assert script.stdout.readline() == b"connected\n"
        assert agreed.wait(30)
        script.send_signal(signal.SIGINT)
        assert script.stdout.read() == b"interrupted\n"
        assert script.wait(30) == 0
        script.stdout.close()


FORKING = """
import os, sys, farhand_client.sync as farhand
with farhand.connect(sys.argv[1]) as client:
    client.run(["cat"], input=b"x")
    child = os.fork()
    if child == 0:
        with farhand.connect(sys.argv[1]) as own:
            os._exit(own.run(["fail"]).returncode)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_can_connect(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service:
        done = subprocess.run([sys.executable, "-c", FORKING, service.host], timeout=30, check=False)
        assert done.returncode == 3


def test_existing_runs_are_handled_as_with_asyncio(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service, sync.connect(service.host) as client:
        with client.start(["sleep"], on_disconnect="keep") as kept:
            assert (kept.new, kept.kept, kept.connected, client.connected) == (True, True, True, True)
        with client.attach(kept.id) as run:
            assert (run.id, run.new) == (kept.id, False)
        assert client.stop(kept.id).outcome == Killed(reason="requested", signal=15)
        assert client.runs() == []
        with client.start(["print"]) as run:
            items = list(run.output())
            assert b"".join(item.data for item in items if isinstance(item, sync.Chunk)) == b"print\n1\n2"
            assert client.wait(run.id).returncode == 3
            run.stdout.discard()
            run.wait()
            assert run.outcome == Exited(code=3)
            run.detach()
        for call in (lambda: client.signal(kept.id, 15), lambda: client.wait_for(kept.id, "x")):
            with pytest.raises(sync.RequestRefused, match="no such run"):
                call()


FORKED = """
import os, sys, time, farhand_client.sync as farhand
with farhand.connect(sys.argv[1]) as client, client.start(["sleep"], stdin=farhand.PIPE) as run:
    output = run.output()
    child = os.fork()
    if child == 0:
        calls = [
            lambda: client.run(["cat"]), client.ping, client.runs, lambda: client.start(["cat"]), run.wait, run.stop,
            run.kill, run.detach, lambda: run.stdin.write(b"x"), run.stdin.close, run.stdout.read, run.stdout.discard,
            lambda: list(run.stdout), lambda: next(output),
        ]
        for call in calls:
            try:
                call()
            except farhand.NotUsableHere as error:
                assert "connect again here, in the child" in str(error), error
            else:
                os._exit(1)
        assert not client.connected
        client.close()
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert client.run(["cat"], input=b"x").stdout == b"x"
    assert run.returncode is None
"""


def test_a_forked_child_cannot_use_the_client_of_its_parent_and_does_it_no_harm(tmp_path: Path) -> None:
    with serving(tmp_path, shell) as service:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", FORKED, service.host],
            timeout=30,
            check=False,
            capture_output=True,
            text=True,
        )
        # Debug mode (-X dev) reports each callback that took more than 0.1 s, as any does on a busy machine.
        reported = re.sub(r"(?m)^Executing <.*\n", "", done.stderr)
        assert (done.returncode, reported) == (0, "")
