"""`farhand repl` starts the REPL with a connection as its options say."""

from __future__ import annotations

from farhand_protocol.outcome import Exited
from tests.support.command import farhand
from tests.support.fake_service import FakeRun, FakeService


async def test_stdin_is_run_as_a_script_if_it_is_not_a_terminal(service: FakeService) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"hi\n")
        run.ended(Exited(code=3))

    service.behave = behave
    done = await farhand("repl", service.host, input=b"echo hi\n")
    assert (done.code, done.stdout, done.stderr) == (3, b"hi\n", b"")


async def test_a_failed_connection_exits_with_255() -> None:
    done = await farhand("repl", "unix:/nowhere/s", input=b"echo hi\n")
    assert (done.code, done.stdout, done.stderr.count(b"\n")) == (255, b"", 1)


async def test_a_host_is_required() -> None:
    assert (await farhand("repl")).code == 2
