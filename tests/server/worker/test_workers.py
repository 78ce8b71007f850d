"""A user's worker answers, may hang or be killed, and costs its own user alone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_server.credentials import Credentials
from farhand_server.worker import workers
from farhand_server.worker.messages import LookedUp, LookUp, NotAnswered, OpenStart, StartOpened
from farhand_server.worker.workers import NoAnswer, Workers
from tests.support.processes import children, fields, own_descriptors, wait_for_end

TRUE = OpenStart(b"true", b"/usr/bin:/bin", b"/", b"")
GAMES = Credentials("games", 5, 60, (60, 4711))
TIMEOUT = 10.0


@pytest.fixture
async def pool() -> AsyncIterator[Workers]:
    await workers.current().close()  # ends those of earlier tests, whose loops are closed
    before, open_before = set(children(os.getpid())), len(own_descriptors())
    pool = Workers()
    yield pool
    await pool.close()
    for killed in set(children(os.getpid())) - before:  # on a busy machine the spawner does not wait for all of them
        wait_for_end(killed)
    assert len(own_descriptors()) <= open_before


async def asked(pool: Workers, who: Credentials | None = None, question: OpenStart = TRUE) -> int:
    """Return the errno with which `question` is answered."""
    async with asyncio.timeout(TIMEOUT):
        answer, directory = await pool.ask(who, question)
    assert isinstance(answer, StartOpened)
    if directory is not None:
        assert not os.get_inheritable(directory)
        os.close(directory)
    return answer.errno


def processes() -> list[int]:
    """Return the pids of all workers."""
    (spawner,) = (pid for pid in children(os.getpid()) if b"spawner" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return children(spawner)


async def stopped(pid: int) -> None:
    """Stop a process, and wait until each of its threads has stopped."""
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(TIMEOUT):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            while not fields((thread / "status").read_text())["State"].startswith("T"):  # noqa: ASYNC110  # the kernel
                await asyncio.sleep(0.01)


async def test_one_worker_answers_all_questions_of_a_user(pool: Workers) -> None:
    answers = await asyncio.gather(*(asked(pool) for _ in range(100)))
    assert answers == [0] * 100
    assert (await asked(pool, question=OpenStart(b"gone", b"/bin", b"/", b""))) == errno.ENOENT
    assert (pool.started, pool.hung, len(pool)) == (1, 0, 1)


@pytest.mark.needs("root")
async def test_a_worker_is_its_user_irrevocably_and_has_nothing_of_the_service(pool: Workers) -> None:
    assert await asked(pool, GAMES) == 0
    (pid,) = processes()
    status = fields(Path(f"/proc/{pid}/status").read_text())
    assert [status[name].split() for name in ("Uid", "Gid", "Groups")] == [["5"] * 4, ["60"] * 4, ["60", "4711"]]
    assert {status[name] for name in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    assert Path(f"/proc/{pid}/mem").stat().st_uid == 0  # it is not dumpable, so its user can neither trace nor read it
    expected = {"0": "socket", "1": "/dev/null", "2": "/dev/null"}
    async with asyncio.timeout(TIMEOUT):
        while opened_by(pid) != expected:  # noqa: ASYNC110  # it may not have closed what it has just sent
            await asyncio.sleep(0.01)


def opened_by(pid: int) -> dict[str, str]:
    return {entry.name: os.readlink(entry).partition(":")[0] for entry in os.scandir(f"/proc/{pid}/fd")}  # noqa: PTH115


@pytest.mark.needs("root")
async def test_it_sees_what_its_user_sees(pool: Workers, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    closed = OpenStart(b"true", b"/bin", bytes(tmp_path), b"")
    assert await asked(pool, None, closed) == 0
    assert await asked(pool, GAMES, closed) == errno.EACCES


@pytest.mark.needs("root")
async def test_a_stopped_worker_costs_its_user_one_answer_and_nobody_else_anything(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await asked(pool, GAMES) == 0
    (pid,) = processes()
    assert await asked(pool) == 0
    await stopped(pid)
    hung: list[Credentials | None] = []
    pool.on_hung = hung.append
    with monkeypatch.context() as patched:
        patched.setattr(workers, "ANSWER_TIMEOUT", 1.0)
        hanging = pool.ask(GAMES, TRUE)
        assert await asked(pool) == 0
        assert not hanging.done()
        with pytest.raises(NoAnswer, match="has not answered for 1 s") as caught:
            await hanging
    assert caught.value.errno == errno.ETIMEDOUT
    assert await asked(pool, GAMES) == 0
    assert (hung, pool.hung, pool.started, len(pool)) == ([GAMES], 1, 3, 2)
    async with asyncio.timeout(TIMEOUT):
        while pid in processes():  # noqa: ASYNC110  # another process ends it
            await asyncio.sleep(0.01)


@pytest.mark.needs("root")
async def test_in_a_hurry_a_user_cannot_let_one_question_hang_after_the_other(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ANSWER_TIMEOUT", 1.0)
    assert await asked(pool, GAMES) == 0
    (pid,) = processes()
    await stopped(pid)
    pool.hurry()
    hanging = [pool.ask(GAMES, TRUE) for _ in range(3)]
    done, _ = await asyncio.wait(hanging, timeout=TIMEOUT)
    assert len(done) == 3
    later = pool.ask(GAMES, TRUE)
    assert later.done()
    monkeypatch.setattr(workers, "HURRIED_TIMEOUT", TIMEOUT)
    for question in (*hanging, later):
        with pytest.raises(NoAnswer, match="does not answer, and the service is stopping"):
            await question
    assert await asked(pool) == 0
    pool.take_time()
    assert await asked(pool, GAMES) == 0


async def test_a_question_is_asked_once_more_if_the_worker_is_killed(pool: Workers) -> None:
    assert await asked(pool) == 0
    (pid,) = processes()
    await stopped(pid)
    waiting = pool.ask(None, TRUE)
    os.kill(pid, signal.SIGKILL)
    answer, directory = await waiting
    assert isinstance(answer, StartOpened)
    os.close(directory or -1)
    assert (pool.started, pool.hung) == (2, 0)


async def test_a_program_with_a_lease_on_it_is_not_waited_for(pool: Workers, tmp_path: Path) -> None:
    program = tmp_path / "x"
    program.write_bytes(Path("/usr/bin/true").read_bytes())
    program.chmod(0o755)
    with program.open("r+b") as file:
        fcntl.fcntl(file.fileno(), fcntl.F_SETLEASE, fcntl.F_WRLCK)
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        assert await asked(pool, question=OpenStart(bytes(program), b"", b"/", b"")) == 0
        fcntl.fcntl(file.fileno(), fcntl.F_SETLEASE, fcntl.F_UNLCK)
    signal.signal(signal.SIGIO, signal.SIG_DFL)


async def test_an_answer_that_nobody_waits_for_any_more_leaves_no_descriptor(pool: Workers) -> None:
    assert await asked(pool) == 0
    before = own_descriptors()
    pool.ask(None, TRUE).cancel()
    assert await asked(pool) == 0
    assert own_descriptors() == before


async def test_idle_workers_are_ended(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_TIME", 0.0)
    assert await asked(pool) == 0
    async with asyncio.timeout(TIMEOUT):
        while len(pool):  # noqa: ASYNC110  # a timer ends it
            await asyncio.sleep(0.01)
        while processes():  # noqa: ASYNC110  # another process ends it
            await asyncio.sleep(0.01)
    assert await asked(pool) == 0
    assert pool.started == 2


@pytest.mark.needs("root")
async def test_there_are_only_so_many_workers_and_an_idle_one_gives_way(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MAX_WORKERS", 2)
    users = [Credentials(str(uid), uid, uid, ()) for uid in (4001, 4002, 4003)]
    for user in users:
        assert await asked(pool, user) == 0
    assert (pool.started, len(pool)) == (3, 2)
    busy = [pool.ask(user, TRUE) for user in users[1:]]
    with pytest.raises(NoAnswer, match="busy with 2 other users"):
        await pool.ask(users[0], TRUE)
    for waiting in busy:
        _, directory = await waiting
        os.close(directory or -1)


async def test_the_spawner_is_started_again_if_it_is_killed(pool: Workers) -> None:
    assert await asked(pool) == 0
    (spawner,) = (pid for pid in children(os.getpid()) if b"spawner" in Path(f"/proc/{pid}/cmdline").read_bytes())
    (worker,) = processes()
    os.kill(spawner, signal.SIGKILL)
    async with asyncio.timeout(TIMEOUT):
        while spawner in children(os.getpid()):  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
    with contextlib.suppress(ChildProcessError):  # its worker has ended with it, and this process may have adopted it
        await asyncio.to_thread(os.waitpid, worker, 0)
    assert await asked(pool) == 0


async def test_a_close_fails_what_is_waiting_and_the_next_question_starts_everything_again(pool: Workers) -> None:
    waiting = pool.ask(None, TRUE)
    await pool.close()
    with pytest.raises(NoAnswer, match="stopping or being upgraded") as caught:
        await waiting
    assert caught.value.errno == errno.ECANCELED
    assert await asked(pool) == 0


async def test_a_question_that_is_too_long_or_for_which_no_descriptor_is_left_fails(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoAnswer, match="the PATH is too long"):
        await pool.ask(None, OpenStart(b"x", b"y" * (1 << 20), b"/", b""))

    def none_left(*args: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("socket.socketpair", none_left)
    with pytest.raises(NoAnswer, match="Too many open files"):
        await pool.ask(None, TRUE)


async def test_a_question_that_cannot_be_dealt_with_is_answered_with_its_errno(pool: Workers) -> None:
    answer, _ = await pool.ask(None, LookUp(b"x", b"/bin", b"gone\0", b"", (b"a\0",)))
    assert isinstance(answer, LookedUp | NotAnswered)
    assert await asked(pool) == 0
