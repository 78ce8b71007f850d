"""The spawner forks workers on order, and takes all of them with it when the core is gone."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_server.worker.messages import KillWorker, LookedUp, LookUp, StartWorker, decode, encode, receive
from farhand_server.worker.spawner import start_spawner
from tests.support.processes import children, wait_for_end

NEVER = (1 << 63) - 1
ROOT = encode(1, LookUp(b"", b"", b"/", b"", (), NEVER))


@pytest.fixture
def spawner() -> Iterator[tuple[int, socket.socket]]:
    """The pid of a spawner, and the core's end of its socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        pid = start_spawner(theirs.fileno())
    ours.settimeout(10)
    yield pid, ours
    before = children(pid)
    ours.close()
    assert os.waitpid(pid, 0) == (pid, 0)
    for killed in before:  # on a busy machine the spawner does not wait for all of them
        wait_for_end(killed)


@pytest.fixture
def control(spawner: tuple[int, socket.socket]) -> socket.socket:
    return spawner[1]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def worker(control: socket.socket, number: int) -> socket.socket:
    """Order a worker with the service's own ids; return the core's end of its socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(10)
    with theirs:
        socket.send_fds(control, [encode(number, StartWorker(-1, -1, ()))], [theirs.fileno()])
    return ours


def test_each_order_is_a_worker_and_a_question_may_be_sent_before_it_runs(
    spawner: tuple[int, socket.socket],
) -> None:
    pid, control = spawner
    workers = [worker(control, number) for number in range(3)]
    for each in workers:
        each.send(ROOT)
    for each in workers:
        assert decode(receive(each)[0]) == (1, LookedUp(b"", (b"/",)))
    assert name_of(pid) == "farhand-spawner"
    assert [name_of(each) for each in children(pid)] == ["farhand-worker"] * 3
    for each in workers:
        each.close()


def test_a_worker_is_killed_on_order_and_the_others_go_on(control: socket.socket) -> None:
    one, other = worker(control, 1), worker(control, 2)
    control.send(encode(1, KillWorker()))
    control.send(encode(9, KillWorker()))
    assert receive(one)[0] == b""
    other.send(ROOT)
    assert decode(receive(other)[0])[0] == 1
    one.close()
    other.close()


def test_what_is_no_order_is_ignored(control: socket.socket) -> None:
    control.send(b"nonsense")
    control.send(ROOT)
    control.send(encode(3, StartWorker(-1, -1, ())))  # without a socket
    last = worker(control, 4)
    last.send(ROOT)
    assert decode(receive(last)[0])[0] == 1
    last.close()


@pytest.mark.needs("root")
def test_a_worker_that_cannot_become_its_user_ends(control: socket.socket) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(control, [encode(1, StartWorker(5, (1 << 32) - 1, ()))], [theirs.fileno()])
    assert select.select([ours], [], [], 10)[0]
    assert receive(ours)[0] == b""
    ours.close()
