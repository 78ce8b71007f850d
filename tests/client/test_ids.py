"""Run ids are UUIDs of version 7, which sort by time; they and their prefixes are checked strictly."""

from __future__ import annotations

import time
import uuid

import pytest

from farhand_client.ids import checked_id, checked_prefix, is_run_id, new_key, uuid7

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_run_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(100)]
    after = time.time_ns() // 1_000_000
    for text in ids:
        number = uuid.UUID(text)
        assert (number.version, number.variant, str(number)) == (7, uuid.RFC_4122, text)
        assert before <= number.int >> 80 <= after
    assert len(set(ids)) == 100


def test_a_complete_id_is_accepted() -> None:
    assert is_run_id(ID)
    assert checked_id(ID) == ID
    assert is_run_id(str(uuid.uuid4())), "an id may be of any version"


@pytest.mark.parametrize("text", ["", ID[:-1], ID.upper(), ID.replace("-", ""), f"{ID}\n", f"{{{ID}}}"])
def test_an_incomplete_id_is_refused(text: str) -> None:
    assert not is_run_id(text)
    with pytest.raises(ValueError, match="is not a run id"):
        checked_id(text)


def test_the_beginning_of_an_id_is_a_prefix() -> None:
    for length in range(1, len(ID) + 1):
        assert checked_prefix(ID[:length]) == ID[:length]
    for wrong in ("", "x", "0189*", ID + "0"):
        with pytest.raises(ValueError, match="no run id begins with"):
            checked_prefix(wrong)


def test_keys_are_16_bytes_and_differ() -> None:
    assert {len(new_key()) for _ in range(9)} == {16}
    assert len({new_key() for _ in range(9)}) == 9
