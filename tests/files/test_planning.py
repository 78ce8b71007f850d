"""Planning: what the receiver decides for each entry, given what is in its place."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from farhand_files import wire
from farhand_files.options import TransferOptions
from farhand_files.planning import (
    DELTA_MIN,
    DEVICE,
    SPECIAL,
    WANTED,
    Action,
    EntryDecision,
    Existing,
    decide,
    may_delete,
    mode_of,
    surplus,
)

KINDS = {
    "regular": wire.REGULAR,
    "directory": wire.DIRECTORY,
    "symlink": wire.SYMLINK,
    "hardlink": wire.HARDLINK,
    "device": DEVICE,
    "other": SPECIAL,
}


def options(**values: Any) -> TransferOptions:
    return TransferOptions("put", (b"x",), **values)


def entry(kind: str = "regular", path: bytes = b"a", **values: Any) -> wire.Entry:
    told: dict[str, Any] = {"mode": 0o644, "uid": 0, "gid": 0, "mtime": 5, "size": 10, "target": b""} | values
    return wire.Entry(0, KINDS[kind], path=path, **told)


def existing(kind: str = "regular", **values: Any) -> Existing:
    told: dict[str, Any] = {"size": 10, "mtime": 5, "mode": 0o644} | values
    return Existing(KINDS[kind], **told)


@pytest.mark.parametrize(
    ("kind", "there", "action"),
    [
        ("regular", None, Action.WANT_ALL),
        ("regular", "regular", Action.SKIP),
        ("regular", "symlink", Action.WANT_ALL),
        ("regular", "directory", Action.REFUSE),
        ("regular", "device", Action.REFUSE),
        ("regular", "other", Action.REFUSE),
        ("directory", None, Action.MAKE),
        ("directory", "directory", Action.SKIP),
        ("directory", "regular", Action.REFUSE),
        ("directory", "symlink", Action.REFUSE),
        ("directory", "device", Action.REFUSE),
        ("directory", "other", Action.REFUSE),
        ("symlink", None, Action.MAKE),
        ("symlink", "regular", Action.MAKE),
        ("symlink", "symlink", Action.SKIP),
        ("symlink", "directory", Action.REFUSE),
        ("symlink", "device", Action.REFUSE),
        ("symlink", "other", Action.REFUSE),
        ("hardlink", None, Action.MAKE),
        ("hardlink", "regular", Action.MAKE),
        ("hardlink", "symlink", Action.MAKE),
        ("hardlink", "directory", Action.REFUSE),
        ("hardlink", "device", Action.REFUSE),
        ("hardlink", "other", Action.REFUSE),
    ],
)
def test_files_and_links_replace_each_other_and_nothing_else_is_replaced(
    kind: str, there: str | None, action: Action
) -> None:
    assert decide(entry(kind), (there and existing(there)) or None, options()).action is action


@pytest.mark.parametrize(
    ("kind", "there", "sentence"),
    [
        ("directory", "regular", "there is a file, and a directory does not replace it; remove or rename it"),
        ("directory", "symlink", "there is a symbolic link, and a directory does not replace it; remove or rename it"),
        ("regular", "directory", "there is a directory, and a file does not replace it; remove or rename it"),
        ("symlink", "directory", "there is a directory, and a symbolic link does not replace it; remove or rename it"),
        (
            "regular",
            "other",
            "there is no regular file (a FIFO or a socket), and a file does not replace it; remove or rename it",
        ),
        ("regular", "device", "there is a device; only --in-place writes to it"),
    ],
)
def test_a_refusal_says_what_is_there_and_what_to_do(kind: str, there: str, sentence: str) -> None:
    assert decide(entry(kind), existing(there), options()).sentence == sentence


@pytest.mark.parametrize(
    ("there", "chosen", "decision"),
    [
        ({}, {}, EntryDecision(Action.SKIP)),
        ({"mode": 0o600}, {}, EntryDecision(Action.SKIP, attributes=True, told=True)),
        ({"mode": 0o4644}, {}, EntryDecision(Action.SKIP, attributes=True, told=True)),
        ({}, {"mode": 0o4644}, EntryDecision(Action.SKIP, attributes=True, told=True)),
        ({"mode": 0o644}, {"mode": 0o600}, EntryDecision(Action.SKIP, attributes=True, told=True)),
        ({"size": 11}, {}, EntryDecision(Action.WANT_ALL)),
        ({"mtime": 6}, {}, EntryDecision(Action.WANT_ALL)),
        ({"mtime": 4}, {}, EntryDecision(Action.WANT_ALL)),
        ({}, {"checksum": True}, EntryDecision(Action.WANT_CHANGED)),
        ({"size": 11}, {"checksum": True}, EntryDecision(Action.WANT_ALL)),
        ({"size": 11}, {"in_place": True}, EntryDecision(Action.WANT_CHANGED)),
        ({}, {"in_place": True}, EntryDecision(Action.SKIP)),
        ({"size": 0}, {"in_place": True}, EntryDecision(Action.WANT_ALL)),
    ],
)
def test_a_file_is_up_to_date_if_size_and_time_or_its_digest_are_equal(
    there: dict[str, Any], chosen: dict[str, Any], decision: EntryDecision
) -> None:
    assert decide(entry(), existing(**there), options(**chosen)) == decision


def test_an_empty_file_needs_no_digest_to_be_up_to_date() -> None:
    assert decide(entry(size=0), existing(size=0, mtime=6), options(checksum=True)) == EntryDecision(
        Action.SKIP, attributes=True, told=True
    )


@pytest.mark.parametrize("in_place", [True, False])
def test_a_dry_run_compares_digests_and_requests_no_content(in_place: bool) -> None:
    chosen = options(checksum=True, dry_run=True, in_place=in_place)
    assert decide(entry(), existing(), chosen) == EntryDecision(Action.COMPARE)
    assert decide(entry(), existing(mode=0o600), chosen) == EntryDecision(Action.COMPARE, told=True)


def test_a_device_is_written_to_only_in_place() -> None:
    assert decide(entry(), existing("device"), options(in_place=True)).action is Action.WANT_ALL
    assert decide(entry(), existing("other"), options(in_place=True)).action is Action.REFUSE


@pytest.mark.parametrize("there", [None, existing(size=11), existing("symlink")])
def test_the_rest_is_requested_where_an_earlier_attempt_has_left_a_part(there: Existing | None) -> None:
    assert decide(entry(), there, options(), partial=5).action is Action.WANT_REST


@pytest.mark.parametrize(
    ("there", "size", "chosen", "delta", "action"),
    [
        (DELTA_MIN, DELTA_MIN, True, True, Action.WANT_DELTA),
        (DELTA_MIN - 1, DELTA_MIN, True, True, Action.WANT_ALL),
        (DELTA_MIN, DELTA_MIN - 1, True, True, Action.WANT_ALL),
        (DELTA_MIN, DELTA_MIN, False, True, Action.WANT_ALL),
        (DELTA_MIN, DELTA_MIN, True, False, Action.WANT_ALL),
        (DELTA_MIN, -1, True, True, Action.WANT_ALL),
    ],
)
def test_a_delta_is_requested_of_large_files_where_both_sides_can(
    there: int, size: int, chosen: bool, delta: bool, action: Action
) -> None:
    old = existing(size=there, mtime=1)
    assert decide(entry(size=size), old, options(delta=chosen), delta=delta).action is action


def test_an_unknown_size_is_never_up_to_date() -> None:
    assert decide(entry(size=-1), existing(), options()).action is Action.WANT_ALL


@pytest.mark.parametrize("there", [None, existing(size=3), existing("directory")])
@pytest.mark.parametrize("chosen", [{"max_size": 9}, {"newer_than": 5}])
def test_what_is_too_large_or_too_old_is_left_as_it_is(there: Existing | None, chosen: dict[str, Any]) -> None:
    assert decide(entry(), there, options(**chosen)) == EntryDecision(Action.LEAVE)


@pytest.mark.parametrize(
    ("path", "there", "chosen", "attributes"),
    [
        (b"d", {"mode": 0o755}, {}, False),
        (b"d", {"mode": 0o700}, {}, True),
        (b"d", {"mode": 0o1755}, {}, True),
        (b"d", {"mode": 0o2755}, {}, False),  # inherited
        (b"d", {"mtime": 4}, {}, True),
        (b"d", {"mtime": 4}, {"times": False}, False),
        (b"d", {}, {"mode": 0o600}, False),  # it is for regular files
        (b"", {"mode": 0o700, "mtime": 4}, {}, False),  # the destination is the user's own
    ],
)
def test_a_directory_that_exists_gets_mode_and_time_but_for_the_destination_itself(
    path: bytes, there: dict[str, int], chosen: dict[str, Any], attributes: bool
) -> None:
    decision = decide(
        entry("directory", path, mode=0o755), existing("directory", **{"mode": 0o755} | there), options(**chosen)
    )
    assert decision == EntryDecision(Action.SKIP, attributes=attributes, told=attributes and "mode" in there)


@pytest.mark.parametrize("there", ["regular", "symlink"])
def test_with_delete_a_directory_replaces_a_file_or_link(there: str) -> None:
    assert decide(entry("directory", b"d"), existing(there), options(delete=True)).action is Action.MAKE
    assert decide(entry("directory", b""), existing(there), options(delete=True)).action is Action.REFUSE
    assert decide(entry("directory", b"d"), existing("other"), options(delete=True)).action is Action.REFUSE


def test_a_symbolic_link_to_elsewhere_is_replaced() -> None:
    there = existing("symlink", target=b"old")
    assert decide(entry("symlink", target=b"new"), there, options()).action is Action.MAKE
    assert decide(entry("symlink", target=b"old"), there, options()).action is Action.SKIP


def test_setuid_and_setgid_are_kept_only_if_requested_and_the_sticky_bit_by_directories() -> None:
    assert mode_of(entry(mode=0o7755), options()) == 0o755
    assert mode_of(entry("directory", mode=0o7775), options()) == 0o1775
    assert mode_of(entry(mode=0o600), options(mode=0o4755)) == 0o4755
    assert mode_of(entry("directory", mode=0o700), options(mode=0o644)) == 0o700


def test_each_request_for_content_says_what_is_there_already() -> None:
    assert {action for action in Action if action.name.startswith("WANT")} | {Action.COMPARE} == WANTED.keys()
    assert WANTED[Action.WANT_ALL] == wire.NOTHING


@pytest.mark.parametrize(
    ("chosen", "walked_all", "failed"), set(itertools.product((True, False), (True, False), (0, 1)))
)
def test_nothing_is_deleted_unless_requested_and_all_else_has_worked(
    chosen: bool, walked_all: bool, failed: int
) -> None:
    assert may_delete(options(delete=chosen), walked_all, failed) == (chosen and walked_all and not failed)


def test_deleted_is_what_the_sender_does_not_have_and_nothing_excluded_or_temporary() -> None:
    there = [
        (b"kept", False),
        (b"gone", False),
        (b"gone.d", True),
        (b"log", True),
        (b".farhand-0123456789abcdef-00ff00ff.part", False),
    ]
    asked = []

    def excludes(path: bytes, is_directory: bool) -> bool:
        asked.append((path, is_directory))
        return path == b"top/log"

    assert list(surplus(b"top", there, {b"kept"}, excludes)) == [(b"gone", False), (b"gone.d", True)]
    assert asked == [(b"top/gone", False), (b"top/gone.d", True), (b"top/log", True)]
    assert list(surplus(b"", [(b"gone", False)], set(), lambda path, _: path == b"gone")) == []
