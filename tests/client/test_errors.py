"""Errors say what a script needs to decide what to do."""

from __future__ import annotations

import pytest

from farhand_client import (
    AddressError,
    AmbiguousId,
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    FarhandError,
    HostKeyChanged,
    HostKeyRevoked,
    HostKeyUnknown,
    OutputIncomplete,
    RequestRefused,
    RunGoesOn,
    SpawnError,
)
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, SpawnFailed
from farhand_protocol.sshformat import PublicKey
from tests.support import openssh


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PublicKey:
    return openssh.make_key(tmp_path_factory.mktemp("key") / "id")


@pytest.mark.parametrize("kind", [HostKeyUnknown, HostKeyChanged, HostKeyRevoked])
def test_host_key_errors_are_connect_errors_with_the_key(kind: type[HostKeyUnknown], key: PublicKey) -> None:
    error = kind("no", name="[web]:7022", key=key)
    assert isinstance(error, ConnectError)
    assert (error.name, error.key, error.fingerprint) == ("[web]:7022", key, key.fingerprint)
    assert error.fingerprint.startswith("SHA256:")


def test_a_lost_connection_says_whether_a_command_may_have_run() -> None:
    assert (ConnectionLost("cut").run_id, ConnectionLost("cut").may_have_run) == (None, False)
    assert (ConnectionLost("cut", run_id="7").run_id, ConnectionLost("cut", run_id="7").may_have_run) == ("7", True)


def test_errors_of_runs_have_its_id() -> None:
    refused = RequestRefused(ErrorCode.DENIED, "no", run_id="7")
    assert (str(refused), refused.code, refused.run_id) == ("no", ErrorCode.DENIED, "7")
    assert RunGoesOn("it goes on", run_id="7").run_id == "7"
    incomplete = OutputIncomplete("gap", run_id="7", outcome=Exited(code=0))
    assert (incomplete.run_id, incomplete.outcome) == ("7", Exited(code=0))
    outcome = SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no nope")
    spawn = SpawnError(outcome, run_id="7")
    assert (str(spawn), spawn.outcome, spawn.errno, spawn.run_id) == ("there is no nope", outcome, 2, "7")


def test_errors_that_a_wrong_argument_causes_are_value_errors() -> None:
    ambiguous = AmbiguousId("several", candidates=("01", "02"))
    assert ambiguous.candidates == ("01", "02")
    assert isinstance(ambiguous, ValueError)
    assert issubclass(AddressError, ValueError)


def test_all_are_farhand_errors() -> None:
    for kind in (AddressError, AmbiguousId, AuthenticationError, ConnectError, ConnectionLost, SpawnError):
        assert issubclass(kind, FarhandError)
