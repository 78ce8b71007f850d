"""Errors: a code for programs, and one sentence for people."""

from __future__ import annotations

import pytest

from farhand_protocol.errors import ErrorCode, LocalProtocolError, ProtocolError, RemoteProtocolError


def test_a_remote_error_has_its_code_and_its_reason() -> None:
    error = RemoteProtocolError(ErrorCode.NOT_LEGAL, "a run on channel 0")
    assert (error.code, error.reason, str(error)) == (ErrorCode.NOT_LEGAL, "a run on channel 0", "a run on channel 0")


@pytest.mark.parametrize("kind", [LocalProtocolError, RemoteProtocolError])
def test_both_kinds_are_protocol_errors(kind: type[Exception]) -> None:
    assert issubclass(kind, ProtocolError)


@pytest.mark.parametrize("code", ErrorCode)
def test_a_code_is_its_name_in_lower_case(code: ErrorCode) -> None:
    assert code.value == code.name.lower()
