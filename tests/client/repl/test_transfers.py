"""`:put` and `:get` move files between the directory here and that of the remote shell."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from farhand_client.errors import FarhandError
from farhand_client.repl.actions import perform
from farhand_client.repl.commands import parse_command
from farhand_client.repl.host_connection import HostConnection
from farhand_client.repl.runner import Interrupted, InterruptGroup
from farhand_client.repl.session import ReplSession
from farhand_client.repl.transfers import STOPPED_TRANSFER
from farhand_client.transferred import Transferred
from farhand_files.events import Finished, Trouble
from tests.support.fake_transfers import FakeTransferClient


@pytest.fixture
def transfers(session: ReplSession, home: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTransferClient:
    """What the session's hosts are connected to, in a directory with some files."""
    fake = FakeTransferClient()

    async def connect(self: HostConnection) -> FakeTransferClient:
        fake.hosts.append(self.name)
        return fake

    monkeypatch.setattr(HostConnection, "connect", connect)
    monkeypatch.chdir(home)
    for name in ("a.log", "b.log", ".hidden"):
        (home / name).touch()
    (home / "sub").mkdir()
    return fake


async def command(session: ReplSession, line: str) -> int | None:
    with session.interrupts_to_command():
        return await perform(session, parse_command(line))


async def test_files_are_put_into_the_directory_of_the_shell(
    session: ReplSession, transfers: FakeTransferClient
) -> None:
    assert await command(session, ":put a.log") == 0
    session.hosts.active[0].state.directory = b"/srv"
    assert await command(session, ":put *.log") == 0
    assert await command(session, ":put a.log 'b c' sub/") == 0
    assert [call[1] for call in transfers.calls] == [
        ([b"a.log"], b"."),
        ([b"a.log", b"b.log"], b"/srv/."),
        ([b"a.log", b"b c"], b"/srv/sub/"),
    ]


async def test_files_are_got_into_the_directory_here(session: ReplSession, transfers: FakeTransferClient) -> None:
    session.hosts.active[0].state.directory = b"/srv"
    assert await command(session, ":get *.gz") == 0
    assert await command(session, ":get ~/x /etc/hosts ~/logs") == 0
    assert [call[1] for call in transfers.calls] == [
        ([b"/srv/*.gz"], b"."),
        ([b"x", b"/etc/hosts"], bytes(Path("~/logs").expanduser())),
    ]


async def test_files_are_put_to_all_active_hosts_and_got_from_one(
    session: ReplSession, transfers: FakeTransferClient
) -> None:
    await command(session, ":host +db")
    transfers.hosts.clear()
    assert await command(session, ":put a.log") == 0
    assert transfers.hosts == ["web", "db"]
    with pytest.raises(ValueError, match="from one host; :host NAME switches to it"):
        await command(session, ":get a.log")


async def test_failures_are_named(
    session: ReplSession, transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]
) -> None:
    transfers.events = [Trouble(b"/srv/a", 13, "permission denied", True)]
    transfers.transferred = Transferred(failed=1)
    assert await command(session, ":put a.log") == 1
    assert capfd.readouterr().err == "farhand: web:/srv/a: permission denied\nfarhand: 1 file failed\n"
    transfers.events = [Trouble(b"a.log", 13, "permission denied", True)]
    assert await command(session, ":put a.log dir/") == 1
    assert "web:dir/a.log: permission denied\n" in capfd.readouterr().err


async def test_an_error_of_this_machine_leaves_the_repl(session: ReplSession, transfers: FakeTransferClient) -> None:
    transfers.error = OSError(28, "No space left on device")
    with pytest.raises(FarhandError, match="No space left on device"):
        await command(session, ":get a.log")
    with pytest.raises(ValueError, match="a path is empty"):
        await command(session, ":get ''")


@pytest.mark.parametrize(
    "line", ["put -n --exclude *.o a.log", "put a.log --exclude *.o -n", "get -n --exclude *.o a ."]
)
async def test_the_options_are_those_of_the_command_line(
    line: str, session: ReplSession, transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]
) -> None:
    transfers.events = [Finished(b"a.log", 5, 0, 0, bytes(32))]
    assert await command(session, f":{line}") == 0
    assert capfd.readouterr().out == f"would {'send' if 'put' in line else 'get'} a.log\n"
    ((_, _, keywords),) = transfers.calls
    assert (keywords["dry_run"], keywords["excludes"]) == (True, ["*.o"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("put --dryrun a.log", ":put: unrecognized arguments: --dryrun; did you mean --dry-run?"),
        ("put -j a.log", ":put: unrecognized arguments: -j"),
        ("put -q -v a.log", ":put: -q prints less and -v more; they cannot be combined"),
        ("get --reconnect 5m a.log", ":get: unrecognized arguments: --reconnect"),
        ("get -n", ":get needs SRC; :get -h describes it"),
    ],
)
async def test_a_wrong_option_is_refused_before_anything_is_sent(
    line: str, said: str, session: ReplSession, transfers: FakeTransferClient
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        await command(session, f":{line}")
    assert not transfers.calls


async def test_a_file_whose_name_begins_with_a_hyphen_is_sent(
    session: ReplSession, transfers: FakeTransferClient
) -> None:
    assert await command(session, ":put ./-n") == 0
    assert await command(session, ":put -- -n .") == 0
    assert [call[1][0] for call in transfers.calls] == [[b"./-n"], [b"-n"]]


async def test_help_describes_the_options(
    session: ReplSession, transfers: FakeTransferClient, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await command(session, ":put -h") == 0
    assert capfd.readouterr().out.startswith("usage: :put [OPTION…] SRC… [DEST]")
    assert not transfers.calls


async def test_ctrl_c_stops_the_transfer_only(
    session: ReplSession,
    transfers: FakeTransferClient,
    interrupts: InterruptGroup,
    capfd: pytest.CaptureFixture[str],
) -> None:
    transfers.endless = True
    transfers.on_endless = lambda: asyncio.get_running_loop().call_soon(interrupts)
    with pytest.raises(Interrupted):
        await command(session, ":put a.log")
    assert capfd.readouterr().err == f"farhand: {STOPPED_TRANSFER}\n"
