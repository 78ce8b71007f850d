"""An entry is encoded as the JSON encoder would do it, in ASCII and on one line, whatever its texts contain."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.values import bytes_to_json
from farhand_server.audit.entry import MAX_ARGV, MAX_AUDIT_TEXT, AuditEntry, argv_sha256, timestamp

TEXTS = st.none() | st.text(max_size=20) | st.just("x" * 2 * MAX_AUDIT_TEXT)
ENTRIES = st.builds(
    AuditEntry,
    st.sampled_from(["start", "end", "login"]),
    st.just(1_800_000_000.125),
    user=TEXTS,
    how=st.none() | st.just("key"),
    key=TEXTS,
    peer=TEXTS,
    run=TEXTS,
    argv=st.none() | st.tuples(st.binary(max_size=5), st.binary(max_size=5)) | st.just((b"x" * (MAX_ARGV + 1),)),
    commands=st.sampled_from(["argv", "hash"]),
    argv0=st.none() | st.binary(max_size=5),
    terminal=st.none() | st.text(max_size=5),
    recorded=st.sampled_from([(), ("output",), ("output", "stdin")]),
    outcome=TEXTS,
    detail=TEXTS,
    count=st.none() | st.integers(0, 1000),
    since=st.none() | st.just(1_700_000_000.5),
    transfer=st.none() | st.just({"files": 1, "bytes": (1 << 63) - 1, "digest": "ab" * 32}),
    forward=st.none() | st.sampled_from([{"flows": 1}, {"kind": "connect", "target": "db:1", "address": "x:1"}]),
)


def members(entry: AuditEntry) -> dict[str, object]:
    """Return what the members of an entry are documented to be."""
    texts = {
        name: value[:MAX_AUDIT_TEXT]
        for name in ("user", "how", "key", "peer", "run", "outcome", "detail")
        if (value := getattr(entry, name)) is not None
    }
    found: dict[str, object] = {"time": "2027-01-15T08:00:00.125Z", "event": entry.event}
    found |= {name: value for name, value in texts.items() if name not in {"outcome", "detail"}}
    if entry.argv is not None:
        shown = entry.commands == "argv" and sum(map(len, entry.argv)) + len(entry.argv) <= MAX_ARGV
        found |= {"argv": [bytes_to_json(each) for each in entry.argv]} if shown else {}
        found |= {} if shown else {"argv_sha256": argv_sha256(entry.argv)}
    found |= {} if entry.argv0 is None else {"argv0": bytes_to_json(entry.argv0)}
    found |= {} if entry.terminal is None else {"terminal": entry.terminal}
    found |= {"recorded": list(entry.recorded)} if entry.recorded else {}
    found |= {} if entry.count is None else {"count": entry.count}
    found |= {} if entry.since is None else {"since": "2023-11-14T22:13:20.500Z"}
    found |= {} if entry.transfer is None else {"transfer": dict(entry.transfer)}
    if entry.forward is not None:
        hidden = {"kind": "connect", "target_sha256": hashlib.sha256(b"db:1").hexdigest()}
        found["forward"] = hidden if entry.commands == "hash" and "target" in entry.forward else dict(entry.forward)
    if entry.event == "flow" and entry.commands == "hash":
        texts.pop("detail", None)
    return found | {name: texts[name] for name in ("outcome", "detail") if name in texts}


@given(ENTRIES)
def test_an_entry_is_encoded_as_the_json_encoder_does_it(entry: AuditEntry) -> None:
    assert f"{{{entry.encode('argv')}}}" == json.dumps(members(entry), separators=(",", ":"))
    assert entry.encode("hash") == replace(entry, commands="hash").encode("argv")


def test_a_log_without_arguments_does_not_name_a_target_in_a_sentence_either() -> None:
    sentence = "cannot connect to db:1: nothing listens there"
    entry = AuditEntry("flow", 0.0, detail=sentence, forward={"kind": "connect", "target": "db:1"})
    assert "db:1" in entry.encode("argv")
    assert "db:1" not in entry.encode("hash")
    assert "db:1" not in replace(entry, commands="hash").encode("argv")
    assert "left" in AuditEntry("end", 0.0, detail="left", forward={"flows": 1}).encode("hash")


@pytest.mark.parametrize("time", [0.0, 0.9994, 0.9996, 1.0, 1_800_000_000.0005, 1_800_000_000.9999999, 4e9 + 0.001])
def test_a_time_is_that_of_the_calendar_in_utc(time: float) -> None:
    expected = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert timestamp(time) == expected


@given(st.integers(0, 4 * 10**12))
def test_every_millisecond_is_written_as_it_is(milliseconds: int) -> None:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
    assert timestamp(milliseconds / 1000) == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
