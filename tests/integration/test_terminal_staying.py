"""A terminal outlives its clients' connections: it can be reattached, shared and watched, and survives upgrades."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import TERMINAL_WINDOW, KiB, MiB
from farhand_protocol.outcome import Killed
from tests.support.client import RawClient, RemoteRun
from tests.support.processes import descriptors
from tests.support.service import Service, running_service
from tests.support.shown_sizes import SHOWS_SIZE
from tests.support.terminals import PROMPT, answer, on_terminal, shell, size, terminal
from tests.support.upgrades import upgraded

KEY, OTHER = b"k" * 16, b"o" * 16
GRACE = 60.0


@contextlib.asynccontextmanager
async def another(core: Service) -> AsyncIterator[RawClient]:
    """A second client of the service."""
    async with RawClient.connect(core.socket) as client:
        yield client


def attach(client: RawClient, run: RemoteRun, **fields: Any) -> RemoteRun:
    """Attach as an interactive client does, at the current end of the run's output."""
    given: dict[str, Any] = {
        "stdout": run.totals["stdout"], "stdin": 0, "hold": True, "size": size(80, 24), "window": TERMINAL_WINDOW,
    }  # fmt: skip
    return client.attach(run.request.id, **(given | fields))


async def lose_connection(run: RemoteRun) -> None:
    """Cut the connection of a run's client."""
    run.client.abort()
    await run.client.closed()


async def stop(run: RemoteRun) -> m.Ended:
    """Stop a run and wait for its end."""
    run.send(m.Stop(kill_after=0.0))
    return await run.ended()


# Lost connections


async def test_after_reconnecting_nothing_is_typed_or_shown_twice(core: Service) -> None:
    async with another(core) as first:
        run = await shell(first, attachment=KEY, grace=GRACE)
        await answer(run, "here=42", b"2> ", prompt=False)
        run.write(b"echo a")
        await run.match(b"echo a")
        typed = len(b"here=42\r" + b"echo a")
        await lose_connection(run)
    async with another(core) as second:
        returned = attach(second, run, attachment=KEY, stdin=typed - 3)
        await returned.started()
        assert returned.feeds
        returned.write(b"o agai")
        returned.write(b"n: $here\r")
        await returned.match(b"again: 42\r\n")
        assert b"o ago" not in returned.stdout
        await stop(returned)


async def test_output_without_a_client_is_kept_for_the_next_one(core: Service) -> None:
    async with another(core) as first:
        script = "echo ready; read -r go; seq 1 200000; echo all; read -r go"
        run = on_terminal(first, "sh", "-c", script, attachment=KEY, grace=GRACE)
        await run.match(b"ready")
        run.write(b"\r")
        await run.output(KiB)
        await lose_connection(run)
    async with another(core) as second:
        returned = attach(second, run, attachment=KEY, stdin=1)
        await returned.match(b"all\r\n")
        assert "gap" not in returned.transcript
        await stop(returned)
    seen = (run.stdout + returned.stdout).split()
    assert [int(number) for number in seen if number.isdigit()] == list(range(1, 200_001))


async def test_a_ring_that_has_wrapped_reports_the_gap(core: Service, tmp_path: Path) -> None:
    fifo = tmp_path / "done"
    os.mkfifo(fifo)
    script = f"read -r go; yes 0123456789 | head -n 100000; echo all; echo >{fifo}; read -r go"
    async with another(core) as first:
        run = on_terminal(first, "sh", "-c", script, attachment=KEY, grace=GRACE, spool=256 * KiB)
        await run.started()
        run.write(b"\r")
        await first.round_trip()
        await lose_connection(run)
    assert await asyncio.to_thread(fifo.read_bytes) == b"\n"
    async with another(core) as second:
        returned = attach(second, run, attachment=KEY, stdin=1)
        await returned.match(b"all\r\n")
        assert returned.transcript[:3] == ["started", "resize", "gap"]
        await stop(returned)


@pytest.mark.parametrize("how", ["lost", "left"])
async def test_a_shell_receives_sighup_if_no_client_returns(core: Service, how: str) -> None:
    async with another(core) as looking, another(core) as first:
        run = await shell(first, grace=0.1)
        watching = attach(looking, run, stdin=None, hold=False)
        await watching.started()
        if how == "lost":
            await lose_connection(run)
        else:
            run.close()
        outcome = (await watching.ended()).outcome
        assert outcome == Killed(reason="disconnected", signal=signal.SIGHUP)


# Several clients on one terminal


async def test_the_smaller_of_two_sizes_applies_and_both_clients_are_notified(core: Service, client: RawClient) -> None:
    run = on_terminal(client, *SHOWS_SIZE, shown=terminal(100, 30))
    await run.match(b"ready")
    async with another(core) as friend:
        sharing = attach(friend, run, share=True, size=size(120, 20))
        await sharing.started()
        assert (run.feeds, sharing.feeds) == (True, True)
        await run.match(b"20 100\r\n")
        await run.resized(100, 20)
        await sharing.resized(100, 20)
        sharing.send(m.Resize(columns=90, rows=50))
        await run.match(b"30 90\r\n")
        await run.resized(90, 30)
        sharing.close()
        await run.match(b"30 100\r\n")
        await run.resized(100, 30)
    await stop(run)


async def test_two_clients_type_into_one_shell(core: Service, client: RawClient) -> None:
    run = await shell(client)
    async with another(core) as friend:
        sharing = attach(friend, run, share=True)
        await answer(sharing, "who=friend", PROMPT, prompt=False)
        assert await answer(run, "echo my $who", rb"my friend\r") == b"my friend\r"
        await sharing.match(b"my friend")
    await stop(run)


async def test_a_client_that_does_not_share_loses_the_input_and_is_notified(core: Service, client: RawClient) -> None:
    run = await shell(client)
    async with another(core) as friend:
        second = attach(friend, run)
        await second.started()
        assert not second.feeds
        second.write(b"echo from nowhere\r")
        await friend.round_trip()
        assert await answer(run, "echo mine", b"mine\r") == b"mine\r"
        assert b"nowhere" not in run.stdout
        run.close()
        third = attach(friend, run)
        await third.started()
        assert third.feeds
        await stop(third)


async def test_a_read_only_client_cannot_type_or_resize(core: Service, client: RawClient) -> None:
    run = on_terminal(client, *SHOWS_SIZE)
    await run.match(b"ready")
    async with another(core) as friend:
        looking = friend.attach(run.request.id, stdout=0, read_only=True, size=size(10, 5))
        await looking.match(b"ready")
        assert looking.sizes == [size(80, 24)]
        run.send(m.Resize(columns=90, rows=30))
        await looking.resized(90, 30)
        await stop(run)


async def test_the_screen_is_redrawn_for_a_new_client_and_not_after_a_reconnect(core: Service) -> None:
    async with another(core) as first:
        run = on_terminal(first, *SHOWS_SIZE, attachment=KEY, grace=GRACE)
        await run.match(b"ready")
        await lose_connection(run)
    async with another(core) as second:
        returned = attach(second, run, attachment=KEY)
        returned.write(b"next\r")
        await returned.match(b"next\r\n")
        assert b"24 80" not in returned.stdout
        newcomer = attach(second, run, attachment=OTHER, share=True)
        await returned.match(b"24 80\r\n")
        await newcomer.match(b"24 80\r\n")
        await stop(returned)


async def test_a_stalled_connection_blocks_the_program_and_a_lost_one_does_not(core: Service) -> None:
    async with another(core) as first:
        script = "echo ready; read -r go; yes | head -c 1000000; echo all; read -r go"
        run = on_terminal(first, "sh", "-c", script, attachment=KEY, grace=GRACE, credit=False)
        await run.match(b"ready")
        run.write(b"\r")
        await run.output(TERMINAL_WINDOW)
        async with another(core) as looking:
            watching = looking.attach(run.request.id, stdout=0)
            await watching.output(TERMINAL_WINDOW)
            await looking.round_trip()
            assert watching.totals["stdout"] < 2 * TERMINAL_WINDOW
            await lose_connection(run)
            await watching.match(b"all\r\n")
            await stop(watching)


async def test_offsets_beyond_the_typed_input_are_refused(core: Service, client: RawClient) -> None:
    run = await shell(client, attachment=KEY)
    async with another(core) as friend:
        error = await attach(friend, run, attachment=OTHER, stdin=5).error()
        assert error.code == ErrorCode.BAD_OFFSET
        assert "has received 0 bytes from this attachment; it cannot continue at 5" in error.message
    await stop(run)


# Upgrades of the service


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Service]:
    """A service for this test alone."""
    async with running_service(tmp_path) as service:
        yield service


async def test_a_shell_survives_an_upgrade(own: Service) -> None:
    async with another(own) as first:
        run = await shell(first, attachment=KEY, grace=GRACE, shown=terminal(100, 30))
        run.send(m.Resize(columns=90, rows=20))
        await run.resized(90, 20)
        pid = await run.started()
        open_before = descriptors(own.process.pid)
        run.write(b"echo half")
        await run.match(b"echo half")
        await upgraded(own)
        await first.closed()
    async with another(own) as second:
        returned = attach(second, run, attachment=KEY, stdin=4, size=size(90, 20))
        assert await returned.started() == pid
        assert descriptors(own.process.pid) <= open_before
        assert returned.sizes[0] == size(90, 20)
        returned.write(b" half")
        returned.write(b"way $(stty size)\r")
        await returned.match(b"halfway 20 90\r\n")
        returned.write(b"exit 7\r")
        ended = await returned.ended()
        assert getattr(ended.outcome, "code", None) == 7


async def test_pasted_input_that_was_not_read_survives_an_upgrade(own: Service) -> None:
    paste = b"0123456789abcdef" * (MiB // 16)
    script = f"stty raw -echo; echo ready; kill -STOP $$; head -c {len(paste)} | sha256sum"
    async with another(own) as first:
        run = on_terminal(first, "sh", "-c", script, attachment=KEY, grace=GRACE)
        await run.match(b"ready")
        assert run.write(paste) == len(paste)
        await first.round_trip()
        pid = await run.started()
        await upgraded(own)
    async with another(own) as second:
        returned = attach(second, run, attachment=KEY, stdin=len(paste))
        await returned.started()
        os.kill(pid, signal.SIGCONT)
        await returned.match(hashlib.sha256(paste).hexdigest().encode())
        await returned.ended()
