"""The core's end of a worker gives each answer to who waits for it, and believes nothing else."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator

import pytest

from farhand_server.worker.channel import ANSWERS_PER_TURN, WaitingAnswer, WorkerChannel, WorkerGone
from farhand_server.worker.messages import (
    LookedUp,
    LookUp,
    NotAnswered,
    StartOpened,
    WorkerAnswer,
    decode,
    encode,
    receive,
)
from tests.support.processes import own_descriptors

QUESTION = encode(0, LookUp(b"", b"", b"/", b"", ()))


class Core:
    """A channel, the worker's end of it, and what was answered to whom."""

    def __init__(self) -> None:
        ours, self.worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.changes = 0
        self.answers: dict[int, tuple[WorkerAnswer | Exception, int | None]] = {}
        self.channel = WorkerChannel(1, ours, self._changed)

    def _changed(self, channel: WorkerChannel) -> None:
        self.changes += 1

    def ask(self, number: int, packet: bytes = QUESTION, expected: type[WorkerAnswer] = LookedUp) -> None:
        self.channel.ask(number, WaitingAnswer(packet, expected, lambda *answer: self.answers.update({number: answer})))

    async def until(self, changes: int) -> None:
        async with asyncio.timeout(10):
            while self.changes < changes:  # noqa: ASYNC110  # it waits for iterations of the loop
                await asyncio.sleep(0)


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    core = Core()
    yield core
    core.channel.close()
    core.worker.close()


async def test_answers_arrive_in_any_order(core: Core) -> None:
    core.ask(1)
    core.ask(2)
    for number in (2, 1):
        assert receive(core.worker)[0] == QUESTION
        core.worker.send(encode(number, NotAnswered(number)))
    await core.until(2)
    assert core.answers == {1: (NotAnswered(1), None), 2: (NotAnswered(2), None)}
    assert core.channel.waiting == {}


async def test_several_answers_are_dealt_with_in_one_turn_but_not_all(core: Core) -> None:
    for number in range(2 * ANSWERS_PER_TURN + 1):
        core.ask(number)
        core.worker.send(encode(number, NotAnswered(0)))
    seen = [0]
    while len(core.answers) < 2 * ANSWERS_PER_TURN + 1:
        await asyncio.sleep(0)
        seen.append(len(core.answers))
    steps = [after - before for before, after in itertools.pairwise(seen) if after > before]
    assert steps == [ANSWERS_PER_TURN, ANSWERS_PER_TURN, 1]


async def test_a_descriptor_goes_with_its_answer_or_is_closed_if_nobody_waits(core: Core) -> None:
    core.ask(1, expected=StartOpened)
    before = len(own_descriptors())
    for number in (7, 1):
        socket.send_fds(core.worker, [encode(number, StartOpened(0, 0, b"/", b"/"))], [0])
    await core.until(2)
    _, fd = core.answers[1]
    assert fd is not None
    assert len(own_descriptors()) == before + 1
    os.close(fd)


@pytest.mark.parametrize("packet", [b"nonsense", encode(1, LookUp(b"", b"", b"", b"", ()))])
async def test_what_is_no_answer_ends_the_worker_for_all_who_wait(core: Core, packet: bytes) -> None:
    core.ask(1)
    core.ask(2)
    core.worker.send(packet)
    await core.until(1)
    assert core.channel.gone
    assert {type(answer) for answer, _ in core.answers.values()} == {WorkerGone}
    assert len(core.answers) == 2


async def test_an_answer_to_another_question_ends_the_worker_and_its_descriptor_is_closed(core: Core) -> None:
    core.ask(1)
    before = len(own_descriptors())
    socket.send_fds(core.worker, [encode(1, StartOpened(0, 0, b"/", b"/"))], [0])
    await core.until(1)
    assert core.channel.gone
    assert isinstance(core.answers[1][0], WorkerGone)
    assert len(own_descriptors()) == before - 1  # without the channel's


async def test_a_descriptor_that_nobody_expects_ends_the_worker_and_is_closed(core: Core) -> None:
    core.ask(1)
    before = len(own_descriptors())
    socket.send_fds(core.worker, [encode(1, LookedUp(b"", ()))], [0])
    await core.until(1)
    assert core.channel.gone
    assert isinstance(core.answers[1][0], WorkerGone)
    assert len(own_descriptors()) == before - 1  # without the channel's


async def test_the_end_of_the_worker_is_told_to_all_who_wait(core: Core) -> None:
    core.ask(1)
    core.worker.close()
    await core.until(1)
    assert isinstance(core.answers[1][0], WorkerGone)
    core.channel.close()


async def test_a_question_to_a_worker_that_has_just_ended_is_told_so_later(core: Core) -> None:
    core.worker.close()
    core.ask(1)
    assert core.answers == {}
    await core.until(1)
    assert isinstance(core.answers[1][0], WorkerGone)


async def test_questions_wait_while_the_worker_reads_none(core: Core) -> None:
    large = encode(0, LookUp(b"", b"x" * 100_000, b"/", b"", ()))
    for number in range(20):
        core.ask(number, large)
    for number in range(20):
        async with asyncio.timeout(10):
            packet = await asyncio.to_thread(lambda: receive(core.worker)[0])
        assert packet == large
        core.worker.send(encode(number, LookedUp(b"", ())))
    await core.until(20)
    assert len(core.answers) == 20
    assert decode(QUESTION)[0] == 0
