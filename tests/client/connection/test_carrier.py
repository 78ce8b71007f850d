"""A program carries a connection, says what went wrong, and never outlives it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from farhand_client.connection import carrier as module
from farhand_client.connection.carrier import MAX_CARRIER_NOISE, MAX_CARRIER_WORDS, Carrier
from farhand_client.errors import CarrierFailed
from tests.support.processes import end_of, own_descriptors, signal_set, status

TIMEOUT = 30.0
READY = b"ready to carry\n"


def script(text: str, **options: bool) -> Carrier:
    return Carrier(["/bin/sh", "-c", text], **options)


async def ended(carrier: Carrier) -> int | None:
    carrier.end()
    async with asyncio.timeout(TIMEOUT):
        await carrier.ended()
    return carrier.code


async def test_what_comes_before_the_line_is_passed_over_and_nothing_after_it() -> None:
    before = own_descriptors()
    carrier = script("echo Welcome to this machine; printf 'ready to ready to carry\\nthe bytes'; exec cat")
    near = await carrier.ready(READY)
    with near:
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(near, 100) == b"the bytes"
        await loop.sock_sendall(near, b"echo")
        assert await loop.sock_recv(near, 100) == b"echo"
    assert await ended(carrier) in (0, -signal.SIGTERM)
    assert own_descriptors() == before


@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_the_line_may_arrive_in_chunks(size: int) -> None:
    code = f"""import os, time
data = b'noise' * 1000 + {READY!r} + b'rest'
for at in range(0, len(data), {size}): os.write(1, data[at : at + {size}])
os.read(0, 1)"""
    carrier = Carrier([sys.executable, "-c", code])
    near = await carrier.ready(READY)
    with near:
        data = b""
        while len(data) < 4:
            data += await asyncio.get_running_loop().sock_recv(near, 100)
        assert data == b"rest"
    await ended(carrier)


async def test_a_program_that_ends_first_is_reported_with_its_words() -> None:
    carrier = script("echo 'no route\x1b[1m' >&2; echo >&2; echo 'to host' >&2; exit 255")
    with pytest.raises(CarrierFailed) as caught:
        await carrier.ready(READY)
    assert (caught.value.code, caught.value.output) == (255, "no route\\x1b[1m\nto host")


async def test_only_the_end_of_its_words_is_kept() -> None:
    carrier = script("head -c 300000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 1")
    with pytest.raises(CarrierFailed) as caught:
        await carrier.ready(READY)
    assert len(caught.value.output) <= MAX_CARRIER_WORDS
    assert caught.value.output.endswith("xxx\nthe end".replace("\n", "")[-7:])


async def test_a_program_that_writes_something_else_without_end_is_given_up() -> None:
    carrier = script("exec yes")
    with pytest.raises(CarrierFailed, match=r"it has written [0-9]+ bytes of something else") as caught:
        await carrier.ready(READY)
    assert caught.value.code is None
    assert int(str(caught.value).split()[3]) <= MAX_CARRIER_NOISE + (1 << 16)
    await ended(carrier)


async def test_a_program_that_cannot_be_executed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)  # setpriv would be executed first
    before = own_descriptors()
    with pytest.raises(CarrierFailed, match="cannot execute /nowhere/ssh: No such file or directory"):
        Carrier(["/nowhere/ssh"])
    assert own_descriptors() == before


async def test_it_has_a_clean_start_in_a_session_of_its_own() -> None:
    carrier = script("echo ready to carry; exec sleep 1000")
    near = await carrier.ready(READY)
    found = status(carrier.pid)
    assert (signal_set(found, "SigBlk"), signal_set(found, "SigIgn")) == (set(), set())
    assert os.getsid(carrier.pid) == carrier.pid
    near.close()
    assert await ended(carrier) == -signal.SIGTERM


async def test_at_the_terminal_it_is_deaf_to_the_keys_meant_for_the_command() -> None:
    carrier = script("echo ready to carry; exec sleep 1000", at_terminal=True)
    near = await carrier.ready(READY)
    found = status(carrier.pid)
    assert signal_set(found, "SigBlk") == {signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP}
    assert os.getpgid(carrier.pid) == os.getpgrp()
    near.close()
    assert await ended(carrier) == -signal.SIGTERM


async def test_at_the_terminal_its_words_are_shown_until_it_is_ready(capfd: pytest.CaptureFixture[str]) -> None:
    carrier = script("echo touch your key >&2; echo ready to carry; read x; echo later >&2; read x", at_terminal=True)
    near = await carrier.ready(READY)
    await asyncio.get_running_loop().sock_sendall(near, b"\n")
    async with asyncio.timeout(TIMEOUT):
        while "later" not in carrier.words:  # noqa: ASYNC110  # the loop reads it
            await asyncio.sleep(0.001)
    near.close()
    await ended(carrier)
    assert capfd.readouterr().err == "touch your key\n"


async def test_one_that_ignores_the_end_is_killed_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CARRIER_END_TIMEOUT", 0.05)
    carrier = script("trap '' TERM; sh -c 'trap \"\" TERM; sleep 1000' & echo ready to carry $! >&2; wait; wait; wait")
    async with asyncio.timeout(TIMEOUT):
        while not carrier.words:  # noqa: ASYNC110  # the loop reads it
            await asyncio.sleep(0.001)
    child = int(carrier.words.split()[-1])
    assert await ended(carrier) == -signal.SIGKILL
    await end_of(child)


async def test_ending_it_twice_is_harmless_and_so_is_waiting() -> None:
    carrier = script("exec sleep 1000")
    carrier.end()
    assert await ended(carrier) == -signal.SIGTERM
    await carrier.ended()


async def test_a_forked_child_leaves_it_alone() -> None:
    carrier = script("exec sleep 1000")
    child = os.fork()
    if not child:
        carrier.end()
        os._exit(len(carrier.words))
    assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222  # it ends at once
    assert status(carrier.pid)["State"][:1] != "Z"
    assert await ended(carrier) == -signal.SIGTERM


async def test_it_ends_if_the_client_is_killed(tmp_path: Path) -> None:
    code = """
import asyncio, signal, os
from farhand_client.connection.carrier import Carrier
async def main():
    carrier = Carrier(["/bin/sh", "-c", "echo ready; exec sleep 1000"])
    near = await carrier.ready(b"ready\\n")
    print(carrier.pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert client.stdout is not None
    pid = int(await client.stdout.readline())
    client.kill()
    await client.wait()
    await end_of(pid)
