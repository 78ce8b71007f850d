"""The messages of an ssh-agent, without one."""

from __future__ import annotations

import pytest

from farhand_client.trust import AgentError
from farhand_client.trust.agent_messages import (
    LIST_REQUEST,
    MAX_AGENT_MESSAGE,
    answer_size,
    listed_keys,
    sign_request,
    signature_of,
)
from farhand_protocol.sshformat import pack_string, pack_u32, parse_public_key

KEY = parse_public_key(pack_string(b"ssh-ed25519") + pack_string(bytes(32)))
SIGNATURE = pack_string(b"ssh-ed25519") + pack_string(bytes(64))


def listing(*keys: tuple[bytes, bytes]) -> bytes:
    entries = b"".join(pack_string(blob) + pack_string(comment) for blob, comment in keys)
    return b"\x0c" + pack_u32(len(keys)) + entries


def test_keys_are_told_from_those_that_cannot_be_used() -> None:
    assert LIST_REQUEST == b"\0\0\0\1\x0b"
    usable, unusable = listed_keys("/a", listing((KEY.blob, b"mine"), (pack_string(b"ssh-dss"), b"\xffold")))
    assert [(each.public_key, each.comment) for each in usable] == [(KEY, "mine")]
    assert [each.comment for each in unusable] == ["\ufffdold"]
    assert "ssh-dss" in unusable[0].reason


def test_a_signature_is_asked_for_and_taken_out() -> None:
    request = sign_request(KEY, b"data")
    assert request == pack_string(b"\x0d" + pack_string(KEY.blob) + pack_string(b"data") + pack_u32(0))
    assert signature_of("/a", KEY, b"\x0e" + pack_string(SIGNATURE)) == SIGNATURE
    assert answer_size("/a", pack_u32(5)) == 5


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"\x05", "the ssh-agent at /a refused to sign; a touch or confirmation may be missing"),
        (b"", "sent an invalid answer: the answer has the wrong type"),
        (b"\x0e\0", "sent an invalid answer: the data is cut off"),
        (b"\x0e" + pack_string(SIGNATURE) + b"x", "sent an invalid answer: 1 bytes follow"),
        (b"\x0e" + pack_string(pack_string(b"ssh-rsa")), "it signed with 'ssh-rsa' instead of 'ssh-ed25519'"),
    ],
)
def test_any_other_answer_is_an_error_that_names_the_agent(answer: bytes, sentence: str) -> None:
    with pytest.raises(AgentError, match=sentence):
        signature_of("/a", KEY, answer)


def test_lists_are_checked_too() -> None:
    for answer in (b"\x05", b"\x0c\0", listing() + b"x", b"\x0c" + pack_u32(2)):
        with pytest.raises(AgentError):
            listed_keys("/a", answer)
    with pytest.raises(AgentError, match="the maximum is"):
        answer_size("/a", pack_u32(MAX_AGENT_MESSAGE + 1))
