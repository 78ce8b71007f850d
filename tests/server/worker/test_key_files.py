"""Files with keys are read with their user's rights, a few at a time, and one that hangs holds up only its user."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Container, Iterator
from pathlib import Path

import pytest

from farhand_server.credentials import Credentials
from farhand_server.worker import key_files
from farhand_server.worker.key_files import MAX_READERS, AcceptedKeyFile, KeyFiles
from farhand_server.worker.keyfile import SEALS, FileIdentity, KeyFileError, KeyFileUnavailable
from farhand_server.worker.messages import KeyFileRead, NotAnswered, ReadKeyFile, WorkerAnswer
from farhand_server.worker.workers import NoAnswer, current

GAMES = Credentials("games", 5, 60, (60,))


@pytest.fixture
async def files() -> AsyncIterator[KeyFiles]:
    yield KeyFiles()
    await current().close()


@pytest.fixture
def home() -> Iterator[Path]:
    """A home directory of the user games, for whom root can read more than the user can."""
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, GAMES.uid, GAMES.gid)
        yield Path(directory)


async def opened(
    files: KeyFiles, path: Path, reader: Credentials | None = GAMES, known: Container[FileIdentity] = ()
) -> AcceptedKeyFile | None:
    async with asyncio.timeout(10):
        return await files.open(path, reader=reader, uid=GAMES.uid, home=path.parent, max_size=100, known=known)


@pytest.mark.needs("root")
async def test_a_users_own_file_is_read_with_the_users_rights(files: KeyFiles, home: Path) -> None:
    file = home / "authorized_keys"
    file.write_bytes(b"games'")
    file.chmod(0o600)
    os.chown(file, GAMES.uid, GAMES.gid)
    found = await opened(files, file)
    assert found is not None
    assert (found.contents.data, found.by_user) == (b"games'", True)
    again = await opened(files, file, known=[found.contents.identity])
    assert again is not None
    assert again.contents == (found.contents.identity, None)
    assert await opened(files, home / "nothing") is None


@pytest.mark.needs("root")
async def test_a_link_to_a_file_that_the_user_may_not_read_is_refused(files: KeyFiles, home: Path) -> None:
    """Root can read it and owns it: without the user's rights it would count as the user's keys."""
    with tempfile.TemporaryDirectory() as secret:
        Path(secret, "keys").write_bytes(b"root's")
        (home / "authorized_keys").symlink_to(Path(secret, "keys"))
        with pytest.raises(KeyFileError, match="Permission denied"):
            await opened(files, home / "authorized_keys")


def memory_file(data: bytes) -> int:
    """Return a sealed file, as a worker's answer has it."""
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


class Pool:
    """Workers that answer when they are told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Credentials | None, bytes, bool]] = []
        self.waiting: list[asyncio.Future[tuple[WorkerAnswer, int | None]]] = []

    def ask(
        self, credentials: Credentials | None, question: ReadKeyFile, *, before_login: bool
    ) -> asyncio.Future[tuple[WorkerAnswer, int | None]]:
        self.asked.append((credentials, question.path, before_login))
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    pool = Pool()
    monkeypatch.setattr(key_files, "current", lambda: pool)
    return pool


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_only_so_many_files_are_read_at_once_and_logins_to_one_account_share_a_reading(pool: Pool) -> None:
    files = KeyFiles()
    users = [Credentials(str(uid), uid, uid, ()) for uid in range(4000, 4000 + 3 * MAX_READERS)]
    logins = [asyncio.create_task(opened(files, Path("/keys"), user)) for user in users for _ in range(10)]
    await turns()
    assert len(pool.asked) == MAX_READERS
    assert pool.asked[0] == (users[0], b"/keys", True)
    for number in range(len(users)):
        pool.waiting[number].set_result((NotAnswered(13), None))
        await turns()
    refused = await asyncio.gather(*logins, return_exceptions=True)
    assert {str(each) for each in refused} == {"/keys: cannot be read: Permission denied"}
    assert len(pool.asked) == len(users)


@pytest.mark.parametrize("code", [24, 110])
async def test_that_a_file_could_not_be_read_says_nothing_about_the_key(pool: Pool, code: int) -> None:
    files = KeyFiles()
    login = asyncio.create_task(opened(files, Path("/keys")))
    await turns()
    pool.waiting[0].set_exception(NoAnswer(code, "nothing happened"))
    with pytest.raises(KeyFileUnavailable, match="/keys: cannot be read: nothing happened"):
        await login
    again = asyncio.create_task(opened(files, Path("/proc/keys"), None))
    await turns()
    assert [(asked[0], asked[2]) for asked in pool.asked] == [(GAMES, True), (None, False)]
    again.cancel()


async def test_an_answer_is_shared_only_by_logins_to_the_same_account(pool: Pool) -> None:
    """Whose the file must be depends on the account."""
    files, path = KeyFiles(), Path("/proc/keys")
    for uid in (5, 9, 9):
        opening = files.open(path, reader=None, uid=uid, home=path.parent, max_size=100, known=())
        asyncio.create_task(opening).add_done_callback(lambda task: task.cancelled() or task.exception())
    await turns()
    assert len(pool.asked) == 2
    for waiting in pool.waiting:
        waiting.set_result((NotAnswered(13), None))
    await turns()


@pytest.mark.parametrize("lie", ["nothing", "too long", "no memory file"])
async def test_a_worker_that_lies_about_the_contents_is_not_believed(pool: Pool, lie: str) -> None:
    fd = None
    if lie != "nothing":
        fd = memory_file(b"x" * 101) if lie == "too long" else os.open(__file__, os.O_RDONLY)
    login = asyncio.create_task(opened(KeyFiles(), Path("/keys")))
    await turns()
    pool.waiting[0].set_result((KeyFileRead(1, b"", b"", 0, (1, 2, 3, 4, 5)), fd))
    with pytest.raises(KeyFileError, match="/keys: cannot be read: "):
        await login
    if fd is not None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


async def test_a_login_that_is_given_up_does_not_take_the_reading_from_the_others(pool: Pool) -> None:
    files = KeyFiles()
    first, second = (asyncio.create_task(opened(files, Path("/keys"))) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    pool.waiting[0].set_result((NotAnswered(13), None))
    with pytest.raises(KeyFileError, match="Permission denied"):
        await second
