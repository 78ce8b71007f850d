"""A parsed file is remembered until it changes; nothing that was removed from it is found again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from farhand_protocol.sshformat import PublicKey, format_public_key_line, pack_string, parse_public_key
from farhand_server.auth import key_cache
from farhand_server.auth.authorized_keys import AuthorizedKeysError
from farhand_server.auth.key_cache import KeyCache
from farhand_server.credentials import Credentials
from farhand_server.worker.keyfile import FileIdentity, KeyFileContents, open_key_file

NOW_NS = 1_900_000_000_000_000_000
LATER_NS = NOW_NS + 60_000_000_000


def key(number: int) -> PublicKey:
    return parse_public_key(pack_string(b"ssh-ed25519") + pack_string(number.to_bytes(32, "big")))


def contents(data: bytes | None, inode: int = 1) -> KeyFileContents:
    return KeyFileContents(FileIdentity(1, inode, len(data or b""), NOW_NS, NOW_NS), data)


def lines(*numbers: int) -> bytes:
    return "".join(f"{format_public_key_line(key(number))}\n" for number in numbers).encode()


def test_the_lines_with_a_key_are_found_in_order_and_no_others() -> None:
    index = KeyCache().parse(None, contents(lines(1, 2, 1) + b"nonsense\n"), LATER_NS)
    assert [line.line for line in index.lines_with(key(1))] == [1, 3]
    assert index.lines_with(key(3)) == ()
    assert [line.line for line in index.refused] == [4]


def test_a_file_is_found_by_its_identity_alone() -> None:
    cache = KeyCache()
    first = contents(lines(1))
    assert first.identity not in cache.known_to(None)
    index = cache.parse(None, first, LATER_NS)
    assert first.identity in cache.known_to(None)
    assert cache.get(None, first.identity) is index
    for field in FileIdentity._fields:
        assert cache.get(None, first.identity._replace(**{field: 77})) is None


def test_what_one_reader_has_read_is_never_taken_for_what_another_would_read() -> None:
    """The identity is what a user's worker says, so a worker that lies must not replace another account's keys."""
    cache, file = KeyCache(), contents(lines(1))
    games, mail = (Credentials(name, uid, uid, ()) for name, uid in (("games", 5), ("mail", 8)))
    cache.parse(games, file, LATER_NS)
    assert [file.identity in cache.known_to(reader) for reader in (games, mail, None)] == [True, False, False]
    assert [cache.get(reader, file.identity) is None for reader in (games, mail, None)] == [False, True, True]


@pytest.mark.parametrize("age_ns", [-60_000_000_000, 0, 1_999_999_999])
def test_a_file_that_has_just_changed_is_not_remembered(age_ns: int) -> None:
    cache = KeyCache()
    cache.parse(None, contents(lines(1)), NOW_NS + age_ns)
    assert len(cache) == 0


def test_the_files_remembered_are_bounded_and_the_one_not_used_for_longest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_cache, "MAX_CACHED_BYTES", 3 * 1024)
    cache = KeyCache()
    files = [contents(lines(1), inode) for inode in range(4)]
    for file in files[:3]:
        cache.parse(None, file, LATER_NS)
    cache.get(None, files[0].identity)
    cache.parse(None, files[3], LATER_NS)
    assert [file.identity in cache.known_to(None) for file in files] == [True, False, True, True]


def test_a_file_that_cannot_be_used_is_not_remembered() -> None:
    cache = KeyCache()
    with pytest.raises(AuthorizedKeysError):
        cache.parse(None, contents(b"\n" * 3000), LATER_NS)
    with pytest.raises(ValueError, match="was not read"):
        cache.parse(None, contents(None), LATER_NS)
    assert len(cache) == 0


def test_a_known_file_is_checked_and_not_read(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(lines(1))
    file.chmod(0o600)
    cache = KeyCache()

    def opened() -> KeyFileContents:
        found = open_key_file(file, uid=os.getuid(), home=tmp_path, max_size=1000, known=cache.known_to(None))
        assert found is not None
        return found

    cache.parse(None, opened(), time.time_ns() + 60_000_000_000)
    assert opened().data is None
    file.write_bytes(lines(2))
    assert opened().data == lines(2)


def test_a_thousand_attempts_on_a_large_file_cost_less_than_parsing_it_ten_times() -> None:
    cache = KeyCache()
    large = contents(lines(*range(2000)))
    began = time.process_time()
    cache.parse(None, large, LATER_NS)
    parsing = time.process_time() - began
    began = time.process_time()
    for number in range(1000):
        found = cache.get(None, large.identity)
        assert found is not None
        assert len(found.lines_with(key(number))) == 1
    assert time.process_time() - began < 10 * parsing
