"""Starting the helper costs the command nothing, whatever is wrong. (That it serves then: tests/client/helper.)"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from farhand_client import caller
from farhand_client.mux import start
from farhand_client.mux.place import HelperPlace
from farhand_client.mux.request import OFFER, ConnectionRequest, frame
from tests.support.processes import own_descriptors

REQUEST = ConnectionRequest(host=b"h")


async def test_the_helper_is_detached_and_gets_the_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in place of Python writes down what it gets."""
    program, seen = tmp_path / "python", tmp_path / "seen"
    os.mkfifo(seen)
    program.write_text(f'#!/bin/sh\n{{ echo "$*"; pwd; echo "$A_SECRET$HOME"; cat; }} > {seen}\n')
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setenv("A_SECRET", "secret")
    monkeypatch.setenv("HOME", "/home/ada")
    start.offer_or_start(HelperPlace(bytes(tmp_path), b"/usr/bin"), REQUEST)
    lines = seen.read_bytes().split(b"\n", 3)
    assert lines == [b"-P -m farhand_client.helper /usr/bin", b"/", b"/home/ada", frame(OFFER, REQUEST.encode())]


def test_a_machine_without_processes_or_descriptors_has_no_helper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr("os.posix_spawn", fail)
    before = own_descriptors()
    start.offer_or_start(HelperPlace(bytes(tmp_path), b"/usr/bin"), REQUEST)
    assert len(own_descriptors()) == len(before)


def test_a_helper_that_notes_the_offer_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_client.mux.ask.offer", lambda place, request: True)
    monkeypatch.setattr("farhand_client.mux.start.start", lambda *_: pytest.fail("started"))
    start.offer_or_start(HelperPlace(b"/r", b"/usr/bin"), REQUEST)


@pytest.mark.parametrize(("there", "configured", "for_a_front"), [(1, 1, 0), (0, 0, 0), (0, 1, 1), (0, 1, 0)])
def test_a_helper_without_a_connection_is_started_only_where_there_is_none_and_it_is_wanted(
    there: bool, configured: bool, for_a_front: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    started: list[HelperPlace] = []
    monkeypatch.setattr("farhand_client.mux.ask.reach", lambda place: ours if there else None)
    monkeypatch.setattr("farhand_client.mux.start.start", started.append)
    monkeypatch.setattr("farhand_client.caller._job", caller.FrontJob() if for_a_front else None)
    place = HelperPlace(b"/r", b"/usr/bin")
    start.start_if_none(place, lambda: bool(configured))
    assert started == ([] if there or not configured or for_a_front else [place])
    ours.close()


def test_where_it_cannot_be_started_without_a_connection_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(place: HelperPlace) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr("farhand_client.mux.start.start", fail)
    start.start_if_none(HelperPlace(b"/r", b"/usr/bin"), lambda: True)
