"""A request for a connection says everything that decides where it leads and as whom, whatever bytes that takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.mux.request import CONNECT, ConnectionRequest, absolute, frame
from farhand_protocol.frames import FrameDecoder

names = st.binary(max_size=8).map(lambda value: value.replace(b"\0", b""))
FIELDS = ("identity", "host", "port", "user", "socket", "known_hosts", "config", "home", "agent", "state")


@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, names)), st.lists(names, max_size=3))
def test_a_request_arrives_as_it_was_made(fields: dict[str, bytes], identities: list[bytes]) -> None:
    made = ConnectionRequest(**fields, identities=identities)
    arrived = ConnectionRequest.decode(made.encode())
    assert {name: getattr(arrived, name) for name in FIELDS} == fields
    assert arrived.identities == tuple(identities)


@pytest.mark.parametrize("field", [name for name in FIELDS if name != "identity"])
def test_requests_that_differ_are_not_served_by_one_connection(field: str) -> None:
    request = ConnectionRequest()
    setattr(request, field, b"x")
    assert request.key != ConnectionRequest().key


def test_the_key_that_was_accepted_makes_no_difference() -> None:
    assert ConnectionRequest(host=b"h", identity=b"FILE:/k").key == ConnectionRequest(host=b"h").key
    assert ConnectionRequest(identities=[b"/k"]).key != ConnectionRequest().key


def test_a_request_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        ConnectionRequest.decode(b"a\0b")


def test_frames_have_the_header_of_the_protocol() -> None:
    decoder = FrameDecoder(lambda *_: None)
    assert list(decoder.frames(frame(CONNECT, b"abc"))) == [(CONNECT, 0, b"abc")]


def test_a_relative_path_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute(b"key") == os.fsencode(tmp_path.resolve() / "key")
    assert absolute(b"/key") == b"/key"


def test_a_removed_working_directory_is_needed_for_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = tmp_path / "removed"
    removed.mkdir()
    monkeypatch.chdir(removed)
    removed.rmdir()
    assert absolute(b"/key") == b"/key"
    assert absolute(b"key") == b"key"
