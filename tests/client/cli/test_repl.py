"""`farhand repl` starts the REPL with a connection as its options say."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client import caller
from farhand_client.cli.repl import repl_command
from farhand_client.connection.reconnecting import RECONNECT_TIMEOUT, Outage
from farhand_client.errors import ConnectionLost
from farhand_client.repl.host_connection import HostOpener
from farhand_client.repl.script import ask_directly
from farhand_client.repl.transfer_words import ParseTransfer
from farhand_client.times import KEEPALIVE_INTERVAL
from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT
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
    assert (done.code, done.stdout) == (3, b"hi\n")
    assert done.stderr.endswith(b"its service is older than this program\n")


async def test_a_failed_connection_exits_with_255() -> None:
    done = await farhand("repl", "unix:/nowhere/s", input=b"echo hi\n")
    assert (done.code, done.stdout, done.stderr.count(b"\n")) == (255, b"", 1)


async def test_a_host_is_required() -> None:
    assert (await farhand("repl")).code == 2


@pytest.mark.parametrize(
    ("attended", "given", "expected"),
    [
        (False, [], {"keepalive": KEEPALIVE_INTERVAL, "reconnect": RECONNECT_TIMEOUT}),
        (True, [], {"keepalive": ATTENDED_KEEPALIVE, "reconnect": ATTENDED_RECONNECT}),
        (True, ["--reconnect", "7m"], {"keepalive": ATTENDED_KEEPALIVE, "reconnect": 420.0}),
    ],
)
def test_options_reach_the_repl_and_each_connection(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    attended: bool,
    given: list[str],
    expected: dict[str, float | None],
) -> None:
    outages: list[Outage | None] = []
    calls: list[tuple[tuple[object, ...], dict[str, Any]]] = []
    monkeypatch.setattr("farhand_client.connector.connect", lambda *words, **options: calls.append((words, options)))
    monkeypatch.setattr("farhand_client.repl.main.is_attended", lambda: attended)

    async def main(
        first: str,
        opener: HostOpener,
        escape: int | None,
        predict: str,
        *,
        private: bool,
        parse_transfer: ParseTransfer,
    ) -> int:
        assert (first, escape, predict, private) == ("web", ord("%"), "auto", False)
        parsed = parse_transfer("put", ["-n", "a"])
        assert parsed is not None
        assert parsed.words == ("a",)
        opener("db", ask_directly)(outages.append)
        assert await calls[0][1]["confirm"](None) is False
        assert await calls[0][1]["passphrase"]("Passphrase: ") is None
        calls[0][1]["touch"]("touch it")
        for outage in (Outage(ConnectionLost("cut"), 1.0), None):
            calls[0][1]["watch"](outage)
            calls[0][1]["touch"](f"touch it, {outage is None}")
        return 7

    async def nobody(question: object) -> None:
        return None

    monkeypatch.setattr("farhand_client.repl.main.main", main)
    monkeypatch.setattr("farhand_client.ui.prompts.can_ask", lambda: False)
    monkeypatch.setattr("farhand_client.ui.prompts.ask_passphrase", nobody)
    assert repl_command(["-e", "%", "--accept-new", "--connect-timeout", "5", *given, "web"]) == 7
    assert [outage is None for outage in outages] == [False, True]
    # A program may have the terminal during an outage.
    assert capsys.readouterr().err == "farhand: touch it\nfarhand: touch it, True\n"
    ((words, options),) = calls
    assert words == ("db",)
    assert options.items() >= {"accept_new": True, "timeout": 5.0, "helper": "offer", **expected}.items()


@pytest.mark.parametrize(("host", "abandoned"), [("ssh:web", True), ("unix:/nowhere/s", False), ("not/a/host", False)])
def test_a_host_that_ssh_leads_to_is_left_to_a_process_whose_terminal_ssh_can_use(
    monkeypatch: pytest.MonkeyPatch, host: str, abandoned: bool
) -> None:
    class Abandoned(Exception):
        pass

    class Ran(Exception):
        pass

    def abandon() -> None:
        raise Abandoned

    def ran(*_: object) -> None:
        raise Ran

    monkeypatch.setattr("os.isatty", lambda fd: True)
    monkeypatch.setattr(caller, "_job", caller.FrontJob())
    monkeypatch.setattr(caller, "_abandon", abandon)
    monkeypatch.setattr("farhand_client.cli.repl.run_repl", ran)
    with pytest.raises(Abandoned if abandoned else Ran):
        repl_command([host])
